"""The comparison with the truth in the benchmark of over-fitting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import overfitting
import pytest
import yaml
from overfitting import HYPERPARAMETERS, SPLITS, Choice, Picture, Split, Withheld

from autotune.objective import Examines, Simulates
from autotune.study import StudyFile, load_study, plan_study

PIXELS = Withheld("pixels", 0.05)


def written(folder: Path, split: Split, electrons: float) -> StudyFile:
    """A study of the benchmark, its measurement simulated."""
    document = overfitting.study(3, electrons, split, 2, PIXELS)
    document["objective"]["simulate"]["scan_points"] = 8
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    file = load_study(path)
    assert isinstance(file.objective_type, Simulates)
    file.objective_type.simulate(file.settings, folder=folder, output=None)
    return file


@pytest.mark.parametrize(("split", "metric"), [("in_sample", "consistency"), ("held_out", "held_out_consistency")])
def test_each_split_tunes_its_metric_and_all_hyperparameters(tmp_path: Path, split: Split, metric: str) -> None:
    file = written(tmp_path, split, 1e3)
    plan = plan_study(file, file.open())
    assert plan.metric.name == metric
    assert {dimension.name for dimension in plan.space.dimensions} == set(HYPERPARAMETERS)


def test_a_reconstruction_of_many_electrons_lies_where_the_truth_does(tmp_path: Path) -> None:
    file = written(tmp_path, "in_sample", 1e6)
    picture = overfitting.reconstructed(file, {"iterations": 10}, "consistency")
    assert picture.correlation > 0.95
    # The objective's own look at it, which places the pixels by the detector's map.
    objective = file.open()
    assert isinstance(objective, Examines)
    examined = objective.examine({"defocus": overfitting.DEFOCUS_ANGSTROM, "iterations": 10}, seed=0)
    assert picture.correlation == pytest.approx(examined["truth_correlation"], abs=1e-5)
    assert picture.rms_error < 0.06
    assert picture.contrast == pytest.approx(1, abs=0.15)
    # Angstrom, 1 / (48 pixels of 2 mrad) at 80 kV: the window is padded from 32.
    assert picture.pixel == pytest.approx((0.435, 0.435), abs=1e-3)
    for shift in ((1, 0), (0, 1), (-1, 0), (0, -1)):
        moved, inner = np.roll(picture.phase, shift, (0, 1)), (slice(1, -1), slice(1, -1))
        assert np.corrcoef(moved[inner].ravel(), picture.truth[inner].ravel())[0, 1] < 0.9


def choice(correlation: float, as_tuned: float, error: float) -> Choice:
    truth = np.array([[0.0, 1.0], [0.0, 1.0]])
    shape = np.array([[1.0, 1.0], [-1.0, -1.0]])
    values = dict.fromkeys(HYPERPARAMETERS, 10 * correlation)
    return Choice(values, Picture(truth + error * shape, truth, (1.0, 1.0), correlation), as_tuned)


def test_the_summary_counts_wins_by_each_measure() -> None:
    pairs = [
        {"in_sample": choice(0.5, 0.6, 0.3), "held_out": choice(0.7, 0.5, 0.1)},
        {"in_sample": choice(0.6, 0.6, 0.1), "held_out": choice(0.8, 0.7, 0.2)},
        {"in_sample": choice(0.9, 0.8, 0.1), "held_out": choice(0.8, 0.9, 0.2)},
    ]
    lines = overfitting.summary(pairs).splitlines()
    assert "all counts: held_out is nearer to the truth in 2 of 3; median in_sample 0.6, held_out 0.8" in lines[0]
    assert "as tuned: held_out is nearer to the truth in 2 of 3; median in_sample 0.6, held_out 0.7" in lines[1]
    assert "held_out is nearer to the truth in 1 of 3; median in_sample 0.1, held_out 0.2" in lines[2]
    assert lines[4] == "iterations: median in_sample 6, held_out 8"


def test_a_tuning_gives_what_its_best_trial_had(tmp_path: Path) -> None:
    document = overfitting.study(0, 500.0, "held_out", 2, PIXELS)
    document["objective"]["simulate"]["scan_points"] = 6
    document["parameters"] = {**document["parameters"], "iterations": {"low": 2, "high": 4}}
    tuned = overfitting.tuned(document)
    assert set(tuned.values) == set(HYPERPARAMETERS)
    assert 2 <= tuned.values["iterations"] <= 4
    # Other counts, another reconstruction.
    assert tuned.as_tuned != tuned.of_all.correlation


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    pairs = [{split: choice(0.5 + 0.1 * i, 0.5, 0.1) for i, split in enumerate(SPLITS)}]
    picture = tmp_path / "new" / "overfitting.png"
    overfitting.draw(pairs, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
