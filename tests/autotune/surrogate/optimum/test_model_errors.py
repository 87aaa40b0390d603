"""What errors of the model do to intervals and verdicts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.objective import Evaluation, Status, Value
from autotune.problem.space import Dimension, Floats, Space
from autotune.surrogate.model.history import History
from autotune.surrogate.numerics import quiet_and_seeded
from autotune.surrogate.optimum.flatness import FAR
from autotune.surrogate.optimum.intervals import NORMAL_HALF_WIDTH, find_intervals
from autotune.surrogate.optimum.locations import Locations
from autotune.surrogate.optimum.model_errors import MISFIT, Deviations, ModelErrors, beyond_noise
from autotune.surrogate.optimum.optimum import Optimum, find_optimum, fit_with_maximum
from autotune.surrogate.optimum.per_coordinate import (
    DEVIATIONS,
    DROP,
    STEPS,
    errors_of,
    find_steps,
    not_sharper,
    steadied,
    steps_in_cube,
)
from autotune.surrogate.optimum.verdicts import Verdict
from tests.autotune.surrogate.optimum.test_settled import checked, hill, on_a_line

LINE = [0.0, 0.2, 0.35, 0.5, 0.75, 1.0]
CURVATURE = 2.0
"""Of the hill."""


def again(values: Mapping[str, Value], steps: Mapping[str, float]) -> list[dict[str, float]]:
    return [{"x": 1e-4 * sign} for sign in (1, -1, 2, -2)]


def optimum(errors: ModelErrors | None) -> Optimum:
    history, space = on_a_line(LINE)
    with quiet_and_seeded(0):
        return find_optimum(history, space, 1, 1, seed=0, again=again, errors=lambda values, steps: errors)


def divided(parts: Floats, names: str = "ab", changes: Floats | None = None, noise: Floats | None = None) -> Evaluation:
    """An evaluation with parts (k, R), their changes (k, k, R) and the covariance (k, k) of the noise."""

    def by_name(square: Floats | None) -> dict[str, dict[str, Any]]:
        rows = [] if square is None else square.tolist()
        return {name: dict(zip(names, row, strict=True)) for name, row in zip(names, rows, strict=False)}

    return Evaluation(
        Status.COMPLETE,
        {"value": 1.0},
        gradient_parts=dict(zip(names, parts.tolist(), strict=True)),
        gradient_changes=by_name(changes),
        gradient_noise=by_name(noise),
    )


def covariance(found: ModelErrors, names: str = "ab") -> Floats:
    """What errors of the model give the derivatives, with the coordinates the parameters' own."""
    pulls, noise, shifts = (
        np.array([[each[name] for name in names] for each in part]).reshape(-1, len(names))
        for part in (found.pulls, found.noise, found.shifts)
    )
    deviations = Deviations(pulls, noise, shifts).along(range(len(names)))
    return deviations.T @ deviations


MIX = np.array([[1.0, 0.0], [80.0, 60.0]])
"""Noise of two correlated parameters in different units is this times white noise."""


@given(st.lists(st.lists(st.floats(-5, 5), min_size=2, max_size=2), min_size=2, max_size=9))
def test_without_noise_all_scatter_counts(parts: list[list[float]]) -> None:
    """Its covariance is the cluster-robust one of the sum: R times the variance of one part."""
    g = np.array(parts).T
    found = ModelErrors.of(divided(g), {"a": 1.0, "b": 1.0}, {}, None)
    np.testing.assert_allclose(covariance(found), g.shape[1] * np.cov(g), atol=1e-9)


def test_noise_is_taken_off_but_for_directions_in_which_it_is_larger() -> None:
    """Independent sums of noise: the scatter of many parts is N. With a shift of every part's own, that is left."""
    random, count = np.random.default_rng(3), 4000
    noise, expected = MIX @ random.normal(size=(2, count)), count * MIX @ MIX.T
    units = np.sqrt(np.outer(expected.diagonal(), expected.diagonal()))
    right = ModelErrors.of(divided(noise, noise=expected), {"a": 1.0, "b": 1.0}, {}, None)
    assert (covariance(right) / units).max() < 0.1
    wrong = noise + np.outer([2.0, 0.0], random.normal(size=count))
    found = ModelErrors.of(divided(wrong, noise=expected), {"a": 1.0, "b": 1.0}, {}, None)
    np.testing.assert_allclose(covariance(found) / units, [[4.0, 0.0], [0.0, 0.0]], atol=0.3)


@pytest.mark.parametrize(("long", "factor"), [(1, 3.84), (2, 3.84), (9, 1.13), (400, 1.0)])
def test_few_parts_that_pull_are_less_certain(long: int, factor: float) -> None:
    """The factors are the 95 % quantiles of Student's t over that of the normal distribution: 6.31, 1.86, 1.65."""
    pulls = tuple({"x": 3.0 / long**0.5 if i < long else 0.0} for i in range(400))
    found = covariance(ModelErrors(pulls, ({"x": 1.0},)), "x")[0, 0]
    assert found == pytest.approx(8.0 * factor**2, rel=0.01)


def test_what_a_value_pulls_that_is_not_exact_is_no_error_of_the_model() -> None:
    """Parts that a tuned and a held value leave no residual in, once they are at their best values."""
    random = np.random.default_rng(5)
    factors = random.normal(size=(2, 6, 40))  # of the derivatives of 40 values in 6 parts
    changes = -np.einsum("arp,brp->abr", factors, factors)
    off = np.array([0.4, 0.7])
    parts = -np.einsum("abr,b->ar", changes, off) + 1e-3 * random.normal(size=(2, 6))
    noise = np.diag([1e-4, 1e-4])
    raw = covariance(ModelErrors.of(divided(parts, noise=noise), {"a": 1.0}, {}, None), "a")
    alone = covariance(ModelErrors.of(divided(parts, changes=changes, noise=noise), {"a": 1.0}, {}, None), "a")
    sure, unsure = (
        covariance(ModelErrors.of(divided(parts, changes=changes, noise=noise), {"a": 1.0}, {"b": sigma}, None), "a")
        for sigma in (1e-6, 1.0)
    )
    assert unsure[0, 0] < 0.01 * alone[0, 0] < 0.1 * raw[0, 0]
    assert sure[0, 0] == pytest.approx(alone[0, 0], rel=0.01)


def test_a_held_value_that_is_not_known_is_one_more_deviation() -> None:
    asked = dataclasses.replace(
        divided(np.array([[1.0, 3.0]]), "x"), gradient_shifts={"x": {"x": 7.0}, "held": {"x": 0.5}}
    )
    errors = ModelErrors.of(asked, {"x": 1.0}, {"held": 0.1}, 2.0)
    assert errors.shifts == ({"x": 0.5},) and covariance(errors, "x")[0, 0] == pytest.approx(2 * 2 + 0.25)
    assert covariance(errors.times(-2.0), "x")[0, 0] == pytest.approx(4 * (2 * 2 + 0.25))


def test_without_derivatives_the_parts_say_how_the_answer_moves() -> None:
    """They change as the sum of them would; a derivative that there is counts more."""
    changes = np.array([[[-1.0, -2.0], [0.5, 0.0]], [[0.5, 0.0], [-3.0, -5.0]]])
    asked = dataclasses.replace(
        divided(np.array([[1.0, -1.0], [0.0, 0.0]]), changes=changes), gradient_shifts={"a": {}, "b": {}}
    )
    errors = ModelErrors.of(asked, {"a": 0.1}, {"b": -0.2}, None)
    assert errors.curvature == {"a": {"a": -3.0, "b": 0.5}} and errors.shifts == ({"a": -0.1},)
    known = ModelErrors.of(dataclasses.replace(asked, gradient_shifts={"a": {"a": -0.4}, "b": {"a": 0.3}}),
                           {"a": 0.1}, {"b": -0.2}, None)  # fmt: skip
    assert known.curvature["a"]["a"] == pytest.approx(-4.0) and known.shifts == ({"a": 0.3},)


def test_what_an_evaluation_says_again_is_counted_from_its_own_gradient() -> None:
    asked = dataclasses.replace(
        divided(np.array([[1.0, 3.0]]), "x"), gradient={"x": 4.0}, gradient_again=({"x": 5.0, "y": 1.0}, {"x": 3.5})
    )
    assert ModelErrors.of(asked, {"x": 1.0}, {}, None).again == ({"x": 1.0}, {"x": -0.5})


@pytest.mark.parametrize("true", [1.0, 2.5, 6.0, 20.0])
def test_a_direction_is_known_from_few_parts_without_what_noise_adds(true: float) -> None:
    """36 regions and 7 parameters: noise alone exceeds itself by 1.4 in all, where it is the larger."""
    random = np.random.default_rng(0)
    samples = random.normal(size=(500, 36, 7)) * np.sqrt([true, *np.ones(6)])
    variances = np.array([np.linalg.eigvalsh(np.cov(sample.T)) for sample in samples])
    beyond = np.array([beyond_noise(of_sample, 7 / 35) for of_sample in variances])
    assert np.maximum(variances - 1, 0.0).sum(axis=1).mean() > true - 1 + 0.15
    assert beyond.sum(axis=1).mean() == pytest.approx(true - 1, rel=0.05, abs=0.2)
    assert (beyond >= 0).all()


def test_without_limit_of_parts_all_beyond_the_noise_counts() -> None:
    np.testing.assert_allclose(beyond_noise(np.array([0.2, 1.0, 1.5, 9.0]), 0.0), [0.0, 0.0, 0.5, 8.0])


@pytest.mark.parametrize("shift", [0.0, 0.06])
def test_what_acts_as_a_parameter_does_adds_to_its_value(shift: float) -> None:
    asked = dataclasses.replace(
        divided(np.zeros((0, 0)), ""), gradient_shifts={"held": {"x": shift}}, confounded={"x": 0.04, "y": 1.0}
    )
    errors = ModelErrors.of(asked, {"x": 0.01}, {"held": 1.0}, None).times(-1.0)
    assert errors.confounded == {"x": 0.04}
    noise, model = optimum(errors).parts["x"]
    assert noise < 0.3 * model
    assert model == pytest.approx(NORMAL_HALF_WIDTH * math.hypot(0.04, shift / CURVATURE), rel=0.05)


def test_one_part_says_nothing_about_their_scatter() -> None:
    assert covariance(ModelErrors.of(divided(np.array([[4.0]]), "x"), {"x": 1.0}, {}, None), "x")[0, 0] == 0.0


def test_the_interval_has_two_parts_and_the_second_is_the_deviation_over_the_curvature() -> None:
    found = optimum(ModelErrors(shifts=({"x": 0.06}, {"x": 0.08})))
    noise, model = found.parts["x"]
    assert model == pytest.approx(NORMAL_HALF_WIDTH * 0.1 / CURVATURE, rel=0.15)
    low, high = found.intervals["x"]
    assert (high - low) / 2 == pytest.approx(math.hypot(noise, model), rel=0.02)
    without = optimum(None)
    assert without.parts == {}
    narrow = without.intervals["x"]
    assert noise == pytest.approx((narrow[1] - narrow[0]) / 2, rel=0.2) and noise < 0.3 * model


@pytest.mark.parametrize(
    ("misfit", "kind"), [(None, "identified"), (MISFIT - 0.1, "identified"), (MISFIT + 0.1, "model_limited")]
)
def test_nothing_is_identified_where_the_model_does_not_explain_the_data(misfit: float | None, kind: str) -> None:
    assert optimum(ModelErrors(shifts=({"x": 1e-3},), misfit=misfit)).verdicts["x"].kind == kind


@pytest.mark.parametrize(
    ("fall", "rough", "kind"),
    [
        (0.0, 0.0, "flat"),
        (100.0, 0.0, "not_found"),
        (0.1, 0.0, "not_found"),
        (0.1, 0.1, "flat"),
        (-9.0, 0.0, "not_found"),
    ],
)
def test_what_seems_flat_is_evaluated_far_away(fall: float, rough: float, kind: str) -> None:
    """All trials lie where the value is the same but for scatter; elsewhere it falls (or rises), or not.

    A fall far smaller than what the surrogate takes for scatter counts too, unless evaluations do scatter as much.
    """
    points = np.linspace(0.3, 0.7, 14).tolist()
    history, space = on_a_line(points)
    scatter = np.random.default_rng(2).normal(size=len(points))
    history = dataclasses.replace(history, y=scatter)
    asked: list[dict[str, Value]] = []

    def plateau(values: Mapping[str, Value]) -> float:
        x = float(values["x"])
        return rough * math.sin(1e3 * x) - (fall if abs(x - 0.5) > 0.2 else 0.0)

    with quiet_and_seeded(0):
        found = find_optimum(history, space, 1, 1, seed=0, again=lambda v, steps: [{"x": 1e-9}, {"x": -1e-9}] * 2,
                             check=checked(plateau, asked))  # fmt: skip
    assert found.verdicts["x"].kind == kind
    assert {float(values["x"]) for values in asked} & set(FAR)


@pytest.mark.parametrize(("fall", "flat"), [(1e-8, True), (1.0, False)])
def test_an_int_that_seems_flat_may_depend_by_as_much_as_values_scatter(fall: float, flat: bool) -> None:
    """No derivative tells what noise does along it, and no other value is close by."""
    space = Space((Dimension("x", type="float", low=0, high=1), Dimension("count", type="int", low=1, high=20)))

    def value(values: Mapping[str, Value]) -> float:
        return -20 * (float(values["x"]) - 0.5) ** 2 - (fall if int(values["count"]) > 15 else 0.0)

    random = np.random.default_rng(4)
    trials: list[dict[str, Value]] = [
        {"x": float(random.uniform()), "count": int(random.integers(1, 11))} for _ in range(14)
    ]
    X = np.array([space.to_unit(trial) for trial in trials])
    slopes = np.array([[-40 * (float(t["x"]) - 0.5), np.nan] for t in trials])
    y = np.array([value(t) for t in trials]) + random.normal(scale=0.02, size=14)
    history = History(X, y, np.zeros((0, 2)), 14, slopes)

    def check(values: Mapping[str, Value]) -> tuple[float, Mapping[str, float]]:
        return value(values), {"x": -40 * (float(values["x"]) - 0.5)}

    with quiet_and_seeded(0):
        found = find_optimum(history, space, 1, 1, seed=0, again=again, check=check)
    assert (found.verdicts.get("count") == Verdict("flat")) == flat


def test_a_dependence_that_is_seen_needs_no_evaluation_far_away() -> None:
    history, space = on_a_line(LINE)
    asked: list[dict[str, Value]] = []
    with quiet_and_seeded(0):
        found = find_optimum(history, space, 1, 1, seed=0, again=again, check=checked(hill, asked))
    assert found.verdicts["x"].kind == "identified" and len(asked) == 1


def test_errors_of_the_model_do_not_make_a_parameter_flat() -> None:
    """One that moves the maximum by a third of the range: that the value falls to both ends is seen all the same."""
    found = optimum(ModelErrors(shifts=({"x": 0.33 * CURVATURE},)))
    assert found.verdicts["x"].kind != "flat" and found.parts["x"][1] > 0.2


@pytest.mark.parametrize(("best", "unknown"), [(0.0, 0.3), (0.05, 0.3), (0.6, 0.3), (0.6, 0.05)])
def test_what_adds_in_quadrature_widens_the_interval_of_the_square(best: float, unknown: float) -> None:
    """A value v that is otherwise known has the ends sqrt(v^2 +- z u^2), or 0, for an unknown u."""
    dimension = Dimension("blur", low=0.0, high=1.0)
    there = np.full((2048, 1), best)
    where = Locations(there, there[0], (False,), (False,), (0,), without_model=there)
    samples, intervals = find_intervals([dimension], where, {"blur": unknown}, seed=0)
    change = NORMAL_HALF_WIDTH * unknown**2
    ends = (max(best**2 - change, 0.0) ** 0.5, (best**2 + change) ** 0.5)
    assert intervals["blur"] == pytest.approx(ends, abs=0.02)
    assert samples.min() >= 0.0 and find_intervals([dimension], where, {}, 0)[1]["blur"] == (best, best)
    search_alone = dataclasses.replace(where, without_model=None)
    assert find_intervals([dimension], search_alone, {"blur": unknown}, 0)[1]["blur"] == (best, best)


def test_it_is_part_of_the_model() -> None:
    history, space = on_a_line(LINE)
    with quiet_and_seeded(0):
        found = find_optimum(
            history,
            space,
            1,
            1,
            seed=0,
            again=again,
            errors=lambda values, steps: ModelErrors(),
            in_quadrature={"x": 0.3},
        )
    noise, model = found.parts["x"]
    low, high = found.intervals["x"]
    assert model > 5 * noise and (high - low) / 2 == pytest.approx(model, rel=0.05)


@pytest.mark.parametrize(("best", "direction"), [(0.3, 1), (1.0, -1)])
@pytest.mark.parametrize("noise", [1e-9, 0.004, 10.0])
@pytest.mark.parametrize("steepness", [1.0, 1e6])
def test_steps_stand_out_from_noise_and_rounding_within_limits_and_the_range(
    best: float, direction: int, noise: float, steepness: float
) -> None:
    """The hill has its maximum at ``best`` or beyond; one step for every float, none for an int."""
    history, _ = on_a_line([*LINE[:-1], 0.98])
    history = dataclasses.replace(history, y=np.array([-steepness * (u - best) ** 2 for u in history.X[:, 0]]))
    space = Space((Dimension("x", low=2.0, high=6.0),))
    with quiet_and_seeded(0):
        model, top = fit_with_maximum(history, space, 1, 1)
    curvature = CURVATURE * steepness
    scores = noise * curvature / 2**0.5 * np.array([[1.0], [-1.0]])
    steps = find_steps(model, top, [(space.dimensions[0], 0)], [0], scores)
    expected = max(DEVIATIONS * noise, (2 * DROP / curvature) ** 0.5)
    assert steps["x"] == pytest.approx(direction * 4.0 * min(max(expected, STEPS[0]), STEPS[1]), rel=0.35)
    whole = Dimension("x", type="int", low=2, high=6)
    assert find_steps(model, top, [(whole, 0)], [0], None) == {}


@pytest.mark.parametrize("by_square", [False, True])
def test_steps_on_a_logarithmic_scale_are_short(by_square: bool) -> None:
    """A value's unit means about the same at both ends, however wide the range."""
    history, _ = on_a_line([*LINE[:-1], 0.98])
    space = Space((Dimension("x", low=0.1, high=1e3, log=True, by_square=by_square),))
    with quiet_and_seeded(0):
        model, top = fit_with_maximum(history, space, 1, 1)
    at = float(space.from_unit(top)["x"])
    step = find_steps(model, top, [(space.dimensions[0], 0)], [0], 10.0 * np.array([[1.0], [-1.0]]))["x"]
    moved = at + step if not by_square else (at**2 + step) ** 0.5
    assert moved / at == pytest.approx(1.03, abs=0.005)


@pytest.mark.parametrize(
    ("slope", "times"),
    [(-2 * CURVATURE, 0.5), (-CURVATURE / 4, 4.0), (CURVATURE, 1.0), (math.nan, 1.0)],
    ids=["steeper", "flatter", "no maximum", "not known"],
)
def test_a_measured_curvature_says_how_far_a_pull_moves_the_answer(slope: float, times: float) -> None:
    """Where it curves up, or is not known, that of the surrogate does."""
    errors = ModelErrors(shifts=({"x": 0.05},), curvature={"x": {} if math.isnan(slope) else {"x": slope}})
    assert optimum(errors).parts["x"][1] == pytest.approx(times * NORMAL_HALF_WIDTH * 0.05 / CURVATURE, rel=0.15)


def test_the_curvature_is_that_of_two_gradients_per_unit() -> None:
    """In the cube a parameter of range 4 has derivatives 4 times, and a curvature 16 times, as large."""
    asked = dataclasses.replace(divided(np.ones((1, 3)), "x"), gradient_shifts={"x": {"x": -0.06}, "held": {"x": 0.5}})
    errors = ModelErrors.of(asked, {"x": 0.02}, {"held": 0.1}, None)
    space = Space((Dimension("x", low=2.0, high=6.0),))
    along = errors_of(errors.times(2.0), {"x": 3.0}, space, ["x"]).curvature_along([0])
    assert along is not None and along[0, 0] == pytest.approx(-3.0 * 2 * 16)


def test_coordinates_that_can_hardly_be_told_apart_keep_the_surrogates_curvature() -> None:
    nearly = np.array([[-1.0, -0.9999], [-0.9999, -1.0]])
    none = np.zeros((0, 2))
    assert Deviations(none, none, none, nearly).curvature_along([0, 1]) is None
    assert Deviations(none, none, none, nearly).curvature_along([1]) == -1.0


def test_an_int_beside_a_float_leaves_the_surrogates_curvature() -> None:
    """An int has no derivative, and so no measured curvature."""
    space = Space((Dimension("x", low=0.0, high=1.0), Dimension("n", type="int", low=1, high=9)))
    errors = ModelErrors(shifts=({"x": 0.1},), curvature={"x": {"x": -2.0}})
    along = errors_of(errors, {"x": 0.5, "n": 3}, space, ["x", "n"])
    assert along.curvature_along([0, 1]) is None and along.curvature_along([0]) == -2.0


def test_a_metric_that_is_minimised_has_the_same_errors() -> None:
    random = np.random.default_rng(8)
    factors = random.normal(size=(2, 6, 40))
    changes, parts = -np.einsum("arp,brp->abr", factors, factors), random.normal(size=(2, 6))
    noise = np.diag([1e-4, 1e-4])
    up, down = (
        ModelErrors.of(divided(sign * parts, changes=sign * changes, noise=noise), {"a": 1.0}, {"b": 1.0}, None)
        for sign in (1.0, -1.0)
    )
    assert covariance(down.times(-1.0), "a")[0, 0] == pytest.approx(covariance(up, "a")[0, 0])


def test_a_parameter_whose_reconstruction_failed_has_no_model_part() -> None:
    known = ModelErrors(pulls=({"y": 1.0},), shifts=({"y": 0.1},))
    assert not known.knows("x") and known.knows("y") and ModelErrors().knows("x")
    assert optimum(known).parts == {} and optimum(ModelErrors(shifts=({"x": 0.01},))).parts.keys() == {"x"}


def test_evaluations_that_are_as_valid_are_averaged_and_their_scatter_counts() -> None:
    """Of four, the first is known: derivatives 0, 0.04, 0.08 and 0.12 move the maximum by 0.06 over the curvature.

    Three and PRIOR repetitions are 7 degrees of freedom: Student's t is 1.895 at 95 %.
    """
    changes = tuple({"x": change} for change in (0.04, 0.08, 0.12))
    errors = ModelErrors(shifts=({"x": 1e-9},), again=changes)
    found, without = optimum(errors), optimum(dataclasses.replace(errors, again=()))
    moved = float(found.values["x"]) - float(without.values["x"])
    assert moved == pytest.approx(0.06 / CURVATURE, rel=0.1)
    deviation = np.std([0.0, 0.04, 0.08, 0.12], ddof=1) / 4**0.5 / CURVATURE
    assert found.parts["x"][0] == pytest.approx(1.895 * deviation, rel=0.1)
    assert found.parts["x"][0] > 2 * without.parts["x"][0]
    # A factor of the metric changes nothing of this, and what is not a parameter of the space is left out.
    assert errors.times(-2.0).again == tuple({"x": -2.0 * change["x"]} for change in changes)
    beside = dataclasses.replace(errors, again=tuple({**change, "y": 3.0} for change in changes))
    assert optimum(beside).intervals == found.intervals


def test_a_curvature_by_differences_is_nowhere_sharper_than_the_surrogates() -> None:
    """Along the first it is four times as sharp: its row and column count half."""
    measured = np.array([[-8.0, 2.0], [2.0, -3.0]])
    errors = Deviations(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2)), measured)
    found = not_sharper(errors, np.array([-2.0, -5.0])).curvature
    assert found is not None
    np.testing.assert_allclose(found, [[-2.0, 1.0], [1.0, -3.0]])
    assert not_sharper(dataclasses.replace(errors, curvature=None), np.array([-2.0, -5.0])).curvature is None


def test_a_curvature_over_a_rough_step_gives_way_to_the_surrogates() -> None:
    """Along the first, slopes as valid scatter by 1 over a step of 0.5: a variance of 8 beside the prior's 4."""
    measured = np.array([[-8.0, 2.0], [2.0, -3.0]])
    rows = np.zeros((0, 2))
    errors = Deviations(rows, rows, rows, measured, np.array([[1.0, 0.0], [-1.0, 0.0]]))
    found = steadied(errors, np.array([-4.0, -5.0]), np.array([0.5, 0.1])).curvature
    assert found is not None
    np.testing.assert_allclose(found, [[-8 / 3 - 8 / 3, 2 / 3**0.5], [2 / 3**0.5, -3.0]])
    for unknown in (np.array([np.nan, np.nan]), np.array([0.5, 0.1])):
        curvature = np.array([0.0, 0.0]) if np.isfinite(unknown).all() else np.array([-4.0, -5.0])
        np.testing.assert_array_equal(steadied(errors, curvature, unknown).curvature, measured)  # type: ignore[arg-type]
    assert steadied(dataclasses.replace(errors, again=None), np.array([-4.0, -5.0]), unknown) is not None
    space = Space((Dimension("x", low=0.0, high=4.0), Dimension("n", low=1.0, high=9.0)))
    lengths = steps_in_cube({"x": -1.0}, {"x": 2.0, "n": 3.0}, space, ["x", "n"])
    assert lengths[0] == 0.25 and np.isnan(lengths[1])


def test_a_curvature_that_is_lost_in_roughness_leaves_the_parameter_known() -> None:
    """Measured, the slope hardly changes; from one grid to another it does. Half of a scan was called flat for it."""
    lost = {"x": {"x": -1e-3 * CURVATURE}}
    rough = tuple({"x": change} for change in (0.05, -0.05))
    errors = ModelErrors(shifts=({"x": 1e-9},), curvature=lost, again=rough)
    steady = ModelErrors(shifts=({"x": 1e-9},), again=rough)
    found, expected = optimum(errors), optimum(steady)
    assert found.verdicts["x"].kind != "flat"
    assert np.ptp(found.intervals["x"]) < 1.2 * np.ptp(expected.intervals["x"])
