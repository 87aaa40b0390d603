"""Withheld counts: how they are drawn, that no reconstruction sees them, and what the metric on them is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autotune.objective import Evaluation, InputError, Status, Value, complete_values
from objectives.diffraction.data.measurement import Measurement
from objectives.metrics import intensity_consistency
from objectives.ptychography.evaluation.data_share import Fidelity, Level, Levels, middle_positions
from objectives.ptychography.evaluation.held_out import Split, split_counts
from objectives.ptychography.evaluation.reconstruction import Reconstruction
from objectives.ptychography.model.forward import spectrum_of
from objectives.ptychography.model.misfit import Data
from objectives.ptychography.objective import PtychographyObjective
from objectives.ptychography.settings import HeldOutSettings, PtychographySettings
from tests.objectives.ptychography.scenes import (
    CPU,
    SINGLE,
    THICK_TRUTH,
    TRUTH,
    free,
    jittered,
    lens,
    model_of,
    near,
    thick,
)

SOLVERS = ("lbfgs", "lsqml", "epie", "rpie", "adam")
Of = Literal["pixels", "patterns"]
OFS: tuple[Of, ...] = ("pixels", "patterns")
HELD_OUT = "held_out_consistency"
each_of = pytest.mark.parametrize("of", OFS)


def drawn(of: Of = "pixels", positions: int = 40, **settings: Any) -> tuple[Split, np.ndarray[Any, Any]]:
    valid = np.random.default_rng(0).random((20, 30)) > 0.1
    return split_counts(valid, positions, HeldOutSettings(of=of, **settings)), valid


def withheld_counts(split: Split) -> np.ndarray[Any, Any]:
    """Which counts are withheld, (position, y, x)."""
    return split.withheld[split.mask_of]


@each_of
@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.5])
def test_parts_are_disjoint_complete_and_of_the_stated_size(of: Of, fraction: float) -> None:
    split, valid = drawn(of, fraction=fraction)
    assert not (split.seen & split.withheld).any()
    assert (split.seen[split.mask_of] | split.withheld[split.mask_of] == valid).all()
    assert withheld_counts(split).sum() == pytest.approx(fraction * 40 * valid.sum(), rel=0.02)


def test_pixels_differ_between_patterns_and_are_spread() -> None:
    split, valid = drawn(fraction=0.2, positions=160)
    assert len(np.unique(split.withheld.reshape(len(split.withheld), -1), axis=0)) == 16
    assert (np.bincount(split.mask_of) == 10).all()
    assert (np.diff(split.mask_of) != 1).sum() > 100  # neighbours in the scan are not neighbours among masks
    often = withheld_counts(split).sum(0)[valid]
    assert often.max() < 160 and 0.15 < often.mean() / 160 < 0.25


def test_patterns_are_withheld_whole() -> None:
    split, valid = drawn("patterns", fraction=0.25)
    whole = withheld_counts(split).reshape(40, -1).sum(1)
    assert sorted(set(whole.tolist())) == [0, valid.sum()] and (whole > 0).sum() == 10


@each_of
def test_equal_seeds_draw_equally_and_others_do_not(of: Of) -> None:
    one, same, other = (withheld_counts(drawn(of, seed=seed)[0]) for seed in (4, 4, 5))
    assert (one == same).all() and (one != other).any()


@given(
    of=st.sampled_from(OFS),
    positions=st.integers(2, 40),
    pixels=st.integers(2, 30),
    fraction=st.floats(1e-6, 0.5),
    seed=st.integers(0, 2**32 - 1),
)
def test_something_is_always_withheld_and_something_seen(
    of: Of, positions: int, pixels: int, fraction: float, seed: int
) -> None:
    valid = np.zeros((6, 7), bool)
    valid.flat[:pixels] = True
    split = split_counts(valid, positions, HeldOutSettings(of=of, fraction=fraction, seed=seed))
    part = withheld_counts(split).mean() * 42 / pixels
    assert 0 < part < 1
    assert part <= max(fraction, 1 / (pixels if of == "pixels" else positions)) + 0.5 / min(pixels, positions) + 1e-9


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(InputError, match=r"objective\.held_out\.of: 'patterns' cannot be withheld .* with 1; withhold"):
        split_counts(np.ones((4, 4), bool), 1, HeldOutSettings(of="patterns"))
    one_pixel = np.arange(16).reshape(4, 4) == 3
    with pytest.raises(InputError, match=r"objective\.held_out\.of: 'pixels' cannot be withheld .* with 1; withhold"):
        split_counts(one_pixel, 9, HeldOutSettings())


@pytest.mark.parametrize("wrong", [{"fraction": 0}, {"fraction": 0.51}, {"of": "rows"}, {"seed": -1}, {"share": 0.1}])
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PtychographySettings.model_validate({"data": {"file": "a.h5"}, "held_out": wrong})


def objective(measurement: Measurement, of: Of = "pixels", **settings: Any) -> PtychographyObjective:
    return PtychographyObjective(measurement, CPU, None, HeldOutSettings(of=of, **settings))


def spoiled(m: Measurement, level: Level) -> Measurement:
    """The measurement with other counts wherever ``level`` withholds some."""
    size, patterns = level.fidelity.detector_binning, m.patterns.copy()
    withheld = level.withheld.valid[level.withheld.mask_of].numpy().astype(bool)
    where = np.zeros(patterns.shape, bool)
    rows = middle_positions(m.positions, len(withheld))
    assert patterns.shape[1] % size == patterns.shape[2] % size == 0
    where[rows] = np.kron(withheld, np.ones((1, size, size), bool))
    patterns[where] = 1e4 * np.random.default_rng(0).random(int(where.sum()), np.float32)
    return replace(m, patterns=patterns)


SCENES: dict[str, tuple[Measurement, Mapping[str, Value]]] = {
    "lens": (lens(), TRUTH),
    "lens, few positions": (lens(), {**TRUTH, "scan_fraction": 0.4}),
    "lens, binned": (lens(), {**TRUTH, "detector_binning": 2}),
    "stored probe": (free(), {"probe_modes": 2}),
    "unknown probe": (replace(free(), probe=None), {}),
    "near field": (near(), {}),
    "thick": (thick(), {**THICK_TRUTH, "slices": 3}),
    "positions": (jittered()[0], {"position_step": 0.5}),
}
CASES = [(scene, solver) for scene in ("lens", "unknown probe", "positions") for solver in SOLVERS]
CASES += [(scene, "lbfgs") for scene in SCENES] + [("near field", "epie"), ("thick", "lsqml"), ("stored probe", "rpie")]


@each_of
@pytest.mark.parametrize(("scene", "solver"), sorted(set(CASES)))
def test_no_withheld_count_reaches_the_reconstruction(scene: str, solver: str, of: Of) -> None:
    m, stated = SCENES[scene]
    values = {"solver": solver, "iterations": 3, **stated} | ({} if solver == "lbfgs" else {"batch_size": 4})
    before = objective(m, of, fraction=0.2)
    fidelity = Fidelity(float(values.get("scan_fraction", 1.0)), int(values.get("detector_binning", 1)))
    after = objective(spoiled(m, before._levels.at(fidelity)), of, fraction=0.2)
    one, other = (o.evaluate(values, metric=HELD_OUT, seed=1) for o in (before, after))
    assert one.status is other.status is Status.COMPLETE
    for name in ("consistency", "amplitude_consistency"):
        assert one.metrics[name] == other.metrics[name]
    assert one.metrics[HELD_OUT] > other.metrics[HELD_OUT] + 0.05
    assert dict(one.gradient) == dict(other.gradient) and dict(one.curve) == dict(other.curve)
    for name in ("object", "probe", "pattern_modelled"):
        assert np.array_equal(one.arrays[name], other.arrays[name])
    if scene == "positions":
        assert np.array_equal(one.arrays["position_displacement"], other.arrays["position_displacement"])


def test_other_losses_do_not_see_withheld_counts_either() -> None:
    before = objective(free(), fraction=0.2)
    after = objective(spoiled(free(), before._levels.whole), fraction=0.2)
    for loss in ("amplitude", "poisson"):
        one, other = (o.evaluate({"loss": loss, "iterations": 3}, metric=HELD_OUT, seed=1) for o in (before, after))
        assert np.array_equal(one.arrays["object"], other.arrays["object"])


@each_of
def test_the_metric_is_that_of_the_withheld_counts(of: Of) -> None:
    """Written out from the counts that the model expects."""
    m = lens()
    problem = objective(m, of, fraction=0.5)
    evaluation = problem.evaluate({**TRUTH, "iterations": 5}, metric=HELD_OUT, seed=0)
    reconstruction_at = rebuilt(problem, evaluation)
    level = problem._levels.whole
    for data, name in ((level.seen, "consistency"), (level.withheld, HELD_OUT)):
        valid = data.valid[data.mask_of].numpy()
        by_hand = intensity_consistency(m.patterns, reconstruction_at, valid)
        assert evaluation.metrics[name] == pytest.approx(by_hand, rel=1e-5)  # the object was kept in single precision


def rebuilt(problem: PtychographyObjective, evaluation: Evaluation) -> np.ndarray[Any, Any]:
    """Expected counts of every pattern, from the object that an evaluation kept and its probe."""
    m = problem._measurement
    model = model_of(m, TRUTH)
    spectra = spectrum_of(torch.as_tensor(evaluation.arrays["probe"], dtype=torch.complex128))
    transmission = torch.as_tensor(evaluation.arrays["object"], dtype=torch.complex128)
    assert transmission.shape[1:] == tuple(model.layout.object_shape)
    expected: np.ndarray[Any, Any] = model.intensity(
        transmission, spectra, model.batch(torch.arange(len(m.patterns)))
    ).numpy()
    return expected


def test_asked_for_an_in_sample_metric_nothing_is_withheld() -> None:
    m = free()
    one, other = (
        objective(m, fraction=fraction).evaluate({"iterations": 3}, metric="consistency", seed=0)
        for fraction in (0.05, 0.5)
    )
    assert dict(one.metrics) == dict(other.metrics) and HELD_OUT not in one.metrics


@each_of
def test_its_noise_ceiling_is_that_of_the_withheld_counts(of: Of) -> None:
    m = lens()
    problem = objective(m, of, fraction=0.1)
    [metric] = [metric for metric in problem.metrics() if metric.held_out_of is not None]
    assert (metric.name, metric.held_out_of, metric.goal) == (HELD_OUT, "consistency", "maximize")
    withheld = problem._levels.whole.withheld
    counts = m.patterns[withheld.valid[withheld.mask_of].numpy().astype(bool)].astype(float)
    assert metric.noise_ceiling == pytest.approx(1 - np.sqrt(counts.sum()) / np.linalg.norm(counts), rel=1e-12)
    [metric] = [metric for metric in objective(replace(m, counted=False)).metrics() if metric.held_out_of is not None]
    assert metric.noise_ceiling is None


def test_withheld_counts_that_are_all_zero_are_refused() -> None:
    m = lens()
    level = objective(m)._levels.whole
    withheld = level.withheld.valid[level.withheld.mask_of].numpy().astype(bool)
    dark = replace(m, patterns=np.where(withheld, np.float32(0), m.patterns))
    message = r"objective\.held_out\.fraction: 0\.05 of the pixels hold no counts at all; withhold more"
    with pytest.raises(InputError, match=message):
        objective(dark).evaluate({**TRUTH, "iterations": 2}, metric=HELD_OUT, seed=0)


@each_of
def test_a_stopped_evaluation_reports_it_too(of: Of) -> None:
    stopped = objective(lens(), of).evaluate(TRUTH, metric=HELD_OUT, seed=0, progress=lambda i, n, metrics: i < 3)
    assert stopped.status is Status.STOPPED and 0 < stopped.metrics[HELD_OUT] < 1


@each_of
@pytest.mark.parametrize("scene", ["lens", "lens, few positions", "lens, binned"])
@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_held_out_reconstruction_that_diverges_says_so(scene: str, of: Of, stop_after: int) -> None:
    """At every level of the data, stopped early or not."""
    m, stated = SCENES[scene]
    values = {**stated, "solver": "adam", "object_learning_rate": 10.0, "iterations": 3, "batch_size": 5}
    ended = objective(m, of, fraction=0.2).evaluate(
        values, metric=HELD_OUT, seed=0, progress=lambda i, n, metrics: i < stop_after
    )
    assert ended.status is Status.DIVERGED and not ended.metrics
    assert re.search("residual is .* times the data|not finite", ended.reason)


def test_more_of_what_only_fits_noise_is_found_out() -> None:
    """With few counts, iterations go on to explain the noise of what they see, and of nothing else."""
    random = np.random.default_rng(3)
    dim = replace(lens(), patterns=random.poisson(lens().patterns * 3e-4).astype(np.float32))
    few, many = (
        objective(dim, fraction=0.2).evaluate({**TRUTH, "iterations": n}, metric=HELD_OUT, seed=0).metrics
        for n in (3, 60)
    )
    assert many["consistency"] > few["consistency"] + 0.05
    assert many[HELD_OUT] < few[HELD_OUT]


@each_of
@pytest.mark.parametrize("machine", [CPU, SINGLE], ids=["float64", "float32"])
def test_sums_and_means_are_of_the_counts_compared(of: Of, machine: Any) -> None:
    m = free()
    level = Levels(m, machine, HeldOutSettings(of=of, fraction=0.3)).whole
    for data in (level.seen, level.withheld):
        valid = data.valid[data.mask_of].numpy()
        counts = m.patterns * valid.astype(float)
        assert data.total == pytest.approx(counts.sum(), rel=1e-9)
        assert data.norm == pytest.approx((counts**2).sum(), rel=1e-6)
        assert data.pixels == valid.sum() and data.mean == pytest.approx(counts.sum() / valid.sum(), rel=1e-9)
        np.testing.assert_allclose(data.share.numpy(), valid.mean(0), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(
            data.mean_pattern().numpy(), counts.sum(0) / np.maximum(valid.sum(0), 1), rtol=1e-5, atol=1e-6
        )
        assert data.seen.tolist() == np.flatnonzero(valid.any((1, 2))).tolist()


def test_without_a_split_every_pattern_is_seen() -> None:
    data = Data(torch.ones(5, 4, 6), torch.ones(1, 4, 6), CPU)
    assert data.seen.tolist() == [0, 1, 2, 3, 4] and (data.share == 1).all() and data.pixels == 120


def test_the_copy_of_the_counts_is_none() -> None:
    level = Levels(lens(), SINGLE, HeldOutSettings()).whole
    assert level.seen.patterns.data_ptr() == level.withheld.patterns.data_ptr() == level.data.patterns.data_ptr()


@pytest.mark.parametrize("solver", ["epie", "rpie", "lsqml", "adam"])
def test_withheld_patterns_are_as_if_they_had_not_been_measured(solver: str) -> None:
    """To the solvers that go batch by batch: they neither fill a batch nor dilute what it wants."""
    m, values = lens(), {**TRUTH, "solver": solver, "batch_size": 4, "iterations": 4, "probe": "refined"}
    problem = objective(m, "patterns", fraction=0.12, seed=22)  # three inside the scan
    seen = problem._levels.whole.seen.seen.numpy()
    away = np.abs(m.positions).max(1)
    assert len(seen) == 22 and away[np.setdiff1d(np.arange(25), seen)].max() < 0.8 * away.max()
    rest = replace(m, patterns=m.patterns[seen], positions=m.positions[seen], scan_shape=None)
    one = problem.evaluate(values, metric=HELD_OUT, seed=2)
    other = objective(rest).evaluate(values, metric="consistency", seed=2)
    assert one.arrays["object"].shape == other.arrays["object"].shape
    np.testing.assert_allclose(one.arrays["object"], other.arrays["object"], atol=1e-6)
    assert one.metrics["consistency"] == pytest.approx(other.metrics["consistency"], rel=1e-9)


@each_of
@pytest.mark.parametrize("scene", ["lens", "unknown probe", "near field"])
def test_the_probe_starts_as_bright_as_without_a_split(scene: str, of: Of) -> None:
    m, values = SCENES[scene]
    problem = objective(m, of, fraction=0.5)
    complete = complete_values(problem.parameters(), {**values, "iterations": 1})
    powers = []
    for held_out in (True, False):
        made = Reconstruction(problem._levels.whole, CPU, problem.parameters(), complete, held_out=held_out)
        powers.append(float(made._spectra.detach().abs().square().sum()))
    assert powers[0] == pytest.approx(powers[1], rel=0.05)
