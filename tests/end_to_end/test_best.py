"""best.yaml and best.h5: the answer as files to go on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import pytest
from pydantic import BaseModel

from autotune.results.best_files import best_text, keep_best
from autotune.results.document import StudyResult
from autotune.runs import finish as conclusion
from autotune.store.trials import TrialStore
from autotune.study import load_study
from autotune.study.kept_file import kept_file
from tests.autotune.results.example import documents
from tests.autotune.toy import BareToyType, ToySettings
from tests.end_to_end.studies import STUDY, Place, Quick, autotune

pytestmark = pytest.mark.usefixtures("in_memory")

TEXT = """\
name: toy
description: a toy
objective:
  name: tests.end_to_end.test_best:picky
  data: data/toy.json        # the measurement
  optimum: {shift: 0.25}
parameters:                  # wide
  shift: {low: -1, high: 1}  # at first
  rate: {}
  passes: 4
metric: {name: error, limits: {error: {below: 9}}}
search: {sampler: random, seed: 3}
budget: {trials: 3, seconds: 100}
execution: {executor: inline}
tracking: {enabled: false}
report: false
"""


class PickySettings(ToySettings):
    """Settings with a text that may name a file."""

    mask: str | None = None


class PickyType(BareToyType):
    """The quick toy as an objective type that wants its data."""

    settings = PickySettings

    def open(self, settings: BaseModel, *, folder: Path) -> Quick:
        assert isinstance(settings, PickySettings)
        super().open(settings, folder=folder)
        return Quick(settings)


picky = PickyType()


@pytest.fixture
def study(place: Place) -> Path:
    (place.folder / "data").mkdir()
    (place.folder / "data" / "toy.json").write_text("{}")
    path = place.folder / "toy.yaml"
    path.write_text(TEXT)
    return path


def test_it_evaluates_to_the_best_trials_metric_wherever_it_lies(
    place: Place, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert autotune("run", study, "--quiet") == 0
    best, text = place.result(), (place.home.study("toy") / "best.yaml").read_text()
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "next.yaml"
    moved.write_text(text)
    monkeypatch.chdir(moved.parent)
    assert autotune("check", moved) == 0
    assert "Nothing is tuned: a single evaluation" in capsys.readouterr().out
    assert autotune("run", moved) == 0
    again = place.result("toy-best")
    assert again["status"] == "finished" and again["trials"]["finished"] == 1 and again["parameters"] == {}
    assert again["metric"] == best["metric"] | {"estimate": None, "deviation": None}
    assert autotune("run", moved, "--quiet") == 0  # and again: it has ended
    assert len(place.trials("toy-best")) == 1


def test_it_says_what_it_is(place: Place, study: Path) -> None:
    assert autotune("run", study, "--quiet", "--trials", 5) == 0  # enough for an interval
    result, path = place.result(), place.home.study("toy") / "best.yaml"
    file = load_study(path)
    shift, rate = (result["parameters"][name]["best"] for name in ("shift", "rate"))
    assert file.spec.parameters == {"shift": shift, "rate": rate, "passes": 4}
    assert file.spec.metric is not None and file.spec.metric.limits["error"].below == 9
    assert (file.spec.search.seed, file.spec.budget.trials) == (3, 1)
    assert file.spec.execution.executor == "inline" and not file.spec.tracking.enabled
    lines = path.read_text().splitlines()
    assert lines[0] == f"# Trial {result['best_trial']} of study toy: error {result['metric']['best']:.6g}."
    assert "change objective.data, and the name" in lines[1]
    assert any("# the measurement" in line and str(place.folder / "data" / "toy.json") in line for line in lines)
    assert "# wide" not in path.read_text()  # what it was said of is gone
    (line,) = (line for line in lines if line.startswith("  shift: "))
    low, high = result["parameters"]["shift"]["interval"]
    assert f"# angstrom, estimate {result['parameters']['shift']['estimate']:.6g}" in line
    assert line.endswith(f"90 % interval {low:.6g} .. {high:.6g}")


def test_only_relative_paths_change(place: Place, study: Path) -> None:
    (place.folder / "mask.npy").write_text("")
    for mask, expected in {
        "mask.npy": f"{place.folder / 'mask.npy'}",
        "mask.npy::/a": f"{place.folder / 'mask.npy'}::/a",
        "gone.npy": "gone.npy",
        "none": "none",
    }.items():
        file = load_study(study, [f"objective.mask={mask}", f"objective.data={place.folder / 'data' / 'toy.json'}"])
        stored = documents()["untouched"]
        nothing = stored["parameters"]["step"]
        result = {
            "best_trial": 0,
            "metric": stored["metric"] | {"name": "error", "best": 0.5, "fraction_of_ceiling": None},
            "parameters": {name: nothing | {"unit": "1"} for name in ("shift", "rate")},
        }
        again = place.folder / "again.yaml"
        again.write_text(best_text(file, StudyResult.model_validate(stored | result)))
        settings = load_study(again).settings
        assert isinstance(settings, PickySettings)
        assert (settings.mask, settings.data) == (expected, place.folder / "data" / "toy.json")
        # Not used by the best trial: at its default, which is not stated.
        assert list(load_study(again).spec.parameters) == ["passes"]


def test_it_is_written_anywhere_on_demand(place: Place, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("run", study, "--quiet", "--trials", "2") == 0
    kept = place.home.study("toy") / "best.yaml"
    assert autotune("result", "toy", "--best", "mine.yaml") == 0
    assert (place.folder / "mine.yaml").read_text() == kept.read_text()
    assert capsys.readouterr().out == ""
    assert autotune("result", "toy", "--best", "mine.yaml", "--json") == 0
    assert json.loads(capsys.readouterr().out) == place.result()
    assert autotune("result", "toy", "--best", "no/mine.yaml") == 2
    assert "--best no/mine.yaml: cannot be written: No such file or directory" in capsys.readouterr().err
    (place.home.study("toy") / "study.yaml").unlink()
    assert autotune("result", "toy", "--best", "mine.yaml") == 2
    assert "study.yaml: is not there: the study was run with another home" in capsys.readouterr().err


def test_the_best_reconstruction_is_a_copy(place: Place, study: Path) -> None:
    assert autotune("run", study, "--quiet") == 0
    best, number = place.home.study("toy") / "best.h5", place.result()["best_trial"]
    kept = place.home.trial("toy", number) / "reconstruction.h5"
    assert best.read_bytes() == kept.read_bytes() and not best.samefile(kept)
    with h5py.File(best) as file:
        assert file.attrs["error"] == place.result()["metric"]["best"]
    assert not [path for path in best.parent.iterdir() if path.name.startswith(".")]
    kept.unlink()
    file = kept_file(TrialStore.open(place.home.store_url, "toy"), place.home)  # type: ignore[arg-type]
    keep_best(file, StudyResult.model_validate(place.result()), place.home)
    assert not best.exists()  # rather than that of another trial


def test_nothing_is_written_where_no_trial_is_the_answer(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    failing = {"name": "tests.end_to_end.studies:quick", "fail_above": -9}
    assert autotune("run", place.write(objective=failing), "--quiet") == 4
    assert not list(place.home.study("toy").glob("best.*"))
    assert autotune("result", "toy", "--best", "mine.yaml") == 2
    assert "study toy: has no best trial yet" in capsys.readouterr().err


def test_a_fault_in_it_does_not_lose_the_result(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> None:
        raise KeyError("oh")

    monkeypatch.setattr(conclusion, "keep_best", broken)
    assert autotune("run", place.write(), "--quiet") == 0
    assert place.result()["status"] == "finished"


def test_a_search_of_many_trials_needs_something_to_search(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write(STUDY | {"parameters": {"shift": 0.5}})
    assert autotune("run", study) == 2
    assert "every parameter is held fixed; give at least one a map" in capsys.readouterr().err
    for sampler in ("gp", "qmc", "tpe"):  # whatever would propose, there is nothing to
        arguments = ("--trials", 1, "--set", f"search.sampler={sampler}", "--set", f"name={sampler}")
        assert autotune("run", study, *arguments, "--quiet") == 0
        assert place.result(sampler)["trials"] == {"finished": 1, "failed": 0, "pruned": 0}
