"""Measurements repeated in simulation: the noise they have, and that they are measurements like any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2, norm

from autotune.execution.evaluate import evaluate
from autotune.execution.executor import Repetition, Task
from autotune.objective import Diverged, MeasuresAgain, Status, Value, never_stop
from autotune.problem.space import Floats
from objectives.diffraction.data.measurement import Measurement
from objectives.ptychography.evaluation.noise import EXCESS, excess, measured_again
from objectives.ptychography.evaluation.reconstruction import Reconstruction
from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.objective import PtychographyObjective
from objectives.ptychography.settings import HeldOutSettings
from objectives.ptychography.solvers.state import State
from tests.objectives.ptychography.scenes import CPU, TRUTH, free, lens, mixed, objective

VALUES: dict[str, Value] = {**TRUTH, "iterations": 30}
REPEATED = 200


@cache
def reconstructed(measured: Callable[[], Measurement] = lens) -> tuple[Misfit, State]:
    """The model of a finished reconstruction, and its state."""
    values = VALUES if measured is lens else {"iterations": 30, "probe_modes": 2 if measured is mixed else 1}
    whole = objective(measured())
    complete = {p.name: p.default for p in whole.parameters() if p.default is not None} | values
    made = whole._reconstructed(complete)
    return made.reconstruction.misfit, made.state


def expected_of(misfit: Misfit, state: State) -> Floats:
    """Expected counts of all patterns in one batch, in order."""
    (batch,) = misfit.model.batches(10**9)
    assert batch.indices.tolist() == list(range(len(lens().patterns)))
    result: Floats = misfit.model.intensity(state.transmission, state.spectra, batch).numpy()
    return result


@cache
def explained() -> Measurement:
    """Counts that this state of the model explains."""
    expected = expected_of(*reconstructed())
    return replace(lens(), patterns=np.random.default_rng(8).poisson(expected).astype(np.float32))


@cache
def many() -> tuple[Floats, Floats]:
    """Expected counts, and counts of repeated measurements (repetition, position, det_y, det_x)."""
    misfit, state = reconstructed()
    drawn = [measured_again(explained(), misfit, state, seed, explained=True).patterns for seed in range(REPEATED)]
    return expected_of(misfit, state), np.array(drawn, dtype=np.float64)


def test_counts_are_poisson_numbers_of_what_the_model_expects() -> None:
    """The sum over repetitions is Poisson, too; the dispersion index of each pixel is a chi-square."""
    expected, drawn = many()
    assert (drawn == np.round(drawn)).all() and drawn.min() >= 0
    bright = expected > 1.0
    assert bright.sum() > 1000
    n = int(bright.sum())
    of_mean = (drawn.sum(axis=0) - REPEATED * expected)[bright] ** 2 / (REPEATED * expected[bright])
    assert abs(of_mean.sum() - n) < 5 * np.sqrt(2 * n)
    dispersion = drawn.var(axis=0, ddof=1)[bright] / expected[bright]
    assert dispersion.mean() == pytest.approx(1.0, abs=5 * np.sqrt(2 / (REPEATED - 1) / n))
    share = (dispersion < chi2.ppf(0.9, REPEATED - 1) / (REPEATED - 1)).mean()
    assert share == pytest.approx(0.9, abs=5 * np.sqrt(0.09 / n))


def test_pixels_are_independent_of_each_other() -> None:
    """The correlation of neighbours, over repetitions."""
    expected, drawn = many()
    both = (expected[:, 1:] > 1.0) & (expected[:, :-1] > 1.0)
    standard = (drawn - expected) / np.sqrt(expected + 1e-12)
    products = (standard[:, :, 1:] * standard[:, :, :-1]).mean(axis=0)[both]
    assert abs(products.mean()) < 5 / np.sqrt(REPEATED * both.sum())


@pytest.mark.parametrize("measured", [lens, free, mixed])
def test_equal_seeds_give_equal_measurements_and_all_else_stays(measured: Callable[[], Measurement]) -> None:
    before, untouched = measured(), measured().patterns.copy()
    misfit, state = reconstructed(measured)
    one, same, other = (measured_again(before, misfit, state, seed, explained=True) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.patterns, same.patterns)
    assert (one.patterns != other.patterns).mean() > 0.1
    np.testing.assert_array_equal(before.patterns, untouched)
    assert replace(one, patterns=before.patterns).content_hash == before.content_hash
    assert one.patterns.dtype == np.float32 and one.patterns.shape == before.patterns.shape
    assert one.content_hash != before.content_hash
    assert (one.counted, one.scan_shape, one.source) == (before.counted, before.scan_shape, before.source)
    assert one.patterns.sum() == pytest.approx(before.patterns.sum(), rel=0.02)


def test_patterns_come_back_where_they_were() -> None:
    """Whatever the batches: each is like the one measured there, and unlike its neighbour."""
    misfit, state = reconstructed()
    drawn = measured_again(lens(), misfit, state, 0, explained=True).patterns
    measured = lens().patterns
    own = ((drawn - measured) ** 2).sum(axis=(1, 2))
    next_one = ((drawn - np.roll(measured, 1, axis=0)) ** 2).sum(axis=(1, 2))
    assert (own < 0.2 * next_one).all()


def test_what_is_masked_is_drawn_but_makes_no_difference() -> None:
    """Whatever is measured in a pixel that is not valid."""
    assert not free().valid.all()
    spoilt = free().patterns.copy()
    spoilt[:, ~free().valid] = 1e6
    values: dict[str, Value] = {"scan_rotation": 3.0, "iterations": 10}
    one, two = (
        objective(replace(free(), patterns=patterns)).measured_again(values, seed=4)
        for patterns in (free().patterns, spoilt)
    )
    first, second = (each.evaluate(values, metric="consistency", seed=0) for each in (one, two))
    assert np.isfinite(two._measurement.patterns).all()
    assert dict(first.metrics) == dict(second.metrics) and dict(first.gradient) == dict(second.gradient)


def not_counted() -> Measurement:
    """The same in units that are no counts."""
    return replace(lens(), counted=False, patterns=lens().patterns * np.float32(0.37))


def misfitting() -> Measurement:
    """Counts that the model does not explain: a drift of the whole beam by a third of each pattern."""
    brighter = lens().patterns * np.linspace(0.5, 1.5, len(lens().patterns), dtype=np.float32)[:, None, None]
    return replace(lens(), patterns=np.round(brighter))


@pytest.mark.parametrize("measured", [not_counted, misfitting])
def test_what_counting_does_not_explain_keeps_its_residuals_and_a_pattern_gets_one_random_sign(
    measured: Callable[[], Measurement],
) -> None:
    measurement = measured()
    whole = objective(measurement)
    complete = {p.name: p.default for p in whole.parameters() if p.default is not None} | VALUES
    made = whole._reconstructed(complete)
    misfit, state = made.reconstruction.misfit, made.state
    assert not made.explained
    expected = expected_of(misfit, state)
    one, same, other = (measured_again(measurement, misfit, state, s, explained=False).patterns for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert min(one.min(), other.min()) >= 0.0
    residual = measurement.patterns - expected
    either = np.stack([expected + residual, np.maximum(expected - residual, 0.0)])
    tolerance = 1e-5 * measurement.patterns.max()
    assert (np.abs(either - one).min(axis=0) < tolerance).all()
    telling = np.abs(either[1] - either[0]) > 10 * tolerance
    assert telling.any(axis=(1, 2)).all()
    flips = []
    for each in (one, other):
        turned = np.abs(each - either[1]) < tolerance
        flips.append(np.array([of_one[tells].mean() for of_one, tells in zip(turned, telling, strict=True)]))
        assert set(flips[-1]) == {0.0, 1.0}
    limit = float(norm.ppf(0.99999)) * 0.5 / np.sqrt(len(telling))
    for share in (flips[0].mean(), flips[1].mean(), (flips[0] == flips[1]).mean()):
        assert abs(share - 0.5) < limit


def test_counts_explain_the_residuals_of_a_right_model_alone() -> None:
    misfit, state = reconstructed()
    valid = explained().valid.sum() * len(explained().patterns)
    assert excess(explained(), misfit, state) == pytest.approx(1.0, abs=10 / np.sqrt(valid))
    assert excess(lens(), misfit, state) > EXCESS  # as far as 30 iterations come
    whole = objective(misfitting())
    complete = {p.name: p.default for p in whole.parameters() if p.default is not None} | VALUES
    made = whole._reconstructed(complete)
    assert excess(misfitting(), made.reconstruction.misfit, made.state) > 2 * EXCESS and not made.explained


def faint() -> Measurement:
    """A few hundred counts per pattern, which a free object over-fits."""
    few = np.random.default_rng(3).poisson(expected_of(*reconstructed()) * 1e-3).astype(np.float32)
    return replace(lens(), patterns=few)


def test_what_is_repeated_of_a_faint_measurement_is_not_over_fitted() -> None:
    """It is nearer to what was really expected than the reconstruction is that fits the counts best."""
    truly = expected_of(*reconstructed()) * 1e-3
    whole = objective(faint())
    complete = {p.name: p.default for p in whole.parameters() if p.default is not None} | VALUES
    fitted, repeated = whole._reconstructed(complete), whole._to_repeat(complete)
    assert fitted.explained and repeated.explained
    errors = [
        float(np.square(expected_of(each.reconstruction.misfit, each.state) - truly).sum())
        for each in (fitted, repeated)
    ]
    assert errors[1] < 0.8 * errors[0]
    assert whole._to_repeat(complete) is repeated


@pytest.mark.parametrize("counted", [True, False])
def test_an_objective_of_a_repeated_measurement_is_one_like_any_other(counted: bool) -> None:
    measurement = lens() if counted else not_counted()
    whole = objective(measurement)
    assert isinstance(whole, MeasuresAgain)
    assert whole.noise.startswith("Poisson" if counted else "estimated from the residuals")
    again = whole.measured_again(VALUES, seed=3)
    assert [p.name for p in again.parameters()] == [p.name for p in whole.parameters()]
    evaluation = again.evaluate(VALUES, metric="consistency", seed=0)
    assert evaluation.status is Status.COMPLETE
    assert set(evaluation.gradient) == set(whole.evaluate(VALUES, metric="consistency", seed=0).gradient)
    ceiling = {m.name: m.noise_ceiling for m in again.metrics()}["consistency"]
    assert (ceiling is not None) == counted
    value = whole.evaluate(VALUES, metric="consistency", seed=0).metrics["consistency"]
    assert evaluation.metrics["consistency"] == pytest.approx(value, abs=0.01)


def test_scores_scatter_about_zero_at_an_answer_and_differ_by_seed() -> None:
    """Where a measurement was drawn its metric is near its maximum, far less steep than elsewhere."""
    whole = objective(lens())
    wrong: dict[str, Value] = {**VALUES, "defocus": 60.0}
    at_own, at_other = (
        np.array(
            [
                whole.measured_again(VALUES, seed=seed).evaluate(at, metric="consistency", seed=0).gradient["defocus"]
                for seed in range(4)
            ]
        )
        for at in (VALUES, wrong)
    )
    assert len(set(at_own)) == 4
    assert np.abs(at_own).max() < 0.2 * np.abs(at_other).min()


def test_what_a_study_leaves_out_is_measured_again_too() -> None:
    """Counts that are withheld, and scan positions that a cheap evaluation does not use."""
    whole = PtychographyObjective(lens(), CPU, TRUTH, HeldOutSettings(fraction=0.2))
    again, of_part = (whole.measured_again(v, seed=3) for v in (VALUES, {**VALUES, "scan_fraction": 0.4}))
    np.testing.assert_array_equal(of_part._measurement.patterns, again._measurement.patterns)
    plain = objective(lens()).measured_again(VALUES, seed=3)
    np.testing.assert_array_equal(plain._measurement.patterns, again._measurement.patterns)
    assert dict(again.truth()) == TRUTH
    withheld, of_default = (
        each.evaluate(VALUES, metric="held_out_consistency", seed=0).metrics["held_out_consistency"]
        for each in (again, plain)
    )
    assert withheld == pytest.approx(of_default, abs=0.02) and withheld != of_default


def test_the_reconstruction_to_repeat_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    run = Reconstruction.run

    def spy(self: Reconstruction, report: Callable[[int, float], bool], seed: int) -> State:
        made.append(seed)
        return run(self, report, seed)

    monkeypatch.setattr(Reconstruction, "run", spy)
    whole = objective(lens())
    short = {**VALUES, "iterations": 3}
    first = [whole.measured_again(short, seed=seed) for seed in (1, 2)]
    assert len(made) == 1
    whole.measured_again({**short, "defocus": 70.0}, seed=1)
    assert len(made) == 2
    assert (first[0]._measurement.patterns != first[1]._measurement.patterns).any()


def diverging_without_withheld_counts(monkeypatch: pytest.MonkeyPatch, above: int) -> None:
    """Every reconstruction that counts are withheld from diverges if it has more than ``above`` iterations."""
    run = Reconstruction.run

    def spoiled(self: Reconstruction, report: Callable[[int, float], bool], seed: int, **more: Any) -> State:
        state = run(self, report, seed, **more)
        if self._withheld is None or self.options.iterations <= above:
            return state
        return replace(state, transmission=state.transmission * float("nan"))

    monkeypatch.setattr(Reconstruction, "run", spoiled)


def repeated(values: Mapping[str, Value]) -> Task:
    return Task(0, values, 0, None, Repetition(values, 1))


def test_a_held_out_reconstruction_that_diverges_ends_the_repetition_as_diverged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = objective(faint())
    diverging_without_withheld_counts(monkeypatch, above=0)
    message = (
        "cannot be repeated from this reconstruction: without the withheld counts the reconstruction is not finite"
    )
    with pytest.raises(Diverged, match=message):
        whole.measured_again({**VALUES, "iterations": 4}, seed=1)
    ended = evaluate(whole, repeated({**VALUES, "iterations": 4}), "consistency", never_stop)
    assert ended.status is Status.DIVERGED and message in ended.reason and not ended.metrics


def test_iterations_are_halved_until_withheld_counts_are_explained_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = objective(faint())
    complete = {p.name: p.default for p in whole.parameters() if p.default is not None} | VALUES
    diverging_without_withheld_counts(monkeypatch, above=8)
    assert whole._before_over_fitting(complete)["iterations"] in (1, 3, 7)  # of 30, 15, 7, 3, 1


def test_nothing_is_repeated_from_a_reconstruction_that_diverges() -> None:
    """Whatever the reason: its patterns would be noise without meaning, or no numbers at all."""
    whole = objective(lens())
    finite: dict[str, Value] = {**TRUTH, "solver": "lsqml", "object_step": 10.0, "iterations": 2, "batch_size": 5}
    broken = np.where(np.arange(24) == 3, np.complex64(np.nan), free().probe)
    for problem, values, reason in (
        (whole, finite, "the model's residual is .* times the data"),
        (objective(replace(free(), probe=broken)), {"iterations": 2}, "the reconstruction is not finite"),
    ):
        with pytest.raises(Diverged, match=reason):
            problem.measured_again(values, seed=1)
        ended = evaluate(problem, repeated(values), "consistency", never_stop)
        assert ended.status is Status.DIVERGED and not ended.metrics
