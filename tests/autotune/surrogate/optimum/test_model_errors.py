"""What errors of the model do to intervals and verdicts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autotune.objective import Value
from autotune.surrogate.numerics import quiet_and_seeded
from autotune.surrogate.optimum.intervals import NORMAL_HALF_WIDTH
from autotune.surrogate.optimum.model_errors import MISFIT, ModelErrors
from autotune.surrogate.optimum.optimum import FAR, Optimum, find_optimum
from tests.autotune.surrogate.optimum.test_settled import checked, hill, on_a_line

LINE = [0.0, 0.2, 0.35, 0.5, 0.75, 1.0]
CURVATURE = 2.0
"""Of the hill."""


def again(values: Mapping[str, Value]) -> list[dict[str, float]]:
    return [{"x": 1e-4 * sign} for sign in (1, -1, 2, -2)]


def optimum(errors: ModelErrors | None) -> Optimum:
    history, space = on_a_line(LINE)
    with quiet_and_seeded(0):
        return find_optimum(history, space, 1, 1, seed=0, again=again, errors=lambda values: errors)


@given(st.lists(st.lists(st.floats(-5, 5), min_size=2, max_size=2), min_size=2, max_size=9))
def test_deviations_have_the_cluster_robust_covariance_of_the_sum(parts: list[list[float]]) -> None:
    g = np.array(parts)
    errors = ModelErrors.of({"a": g[:, 0].tolist(), "b": g[:, 1].tolist()}, {}, [], None)
    deviations = np.array([[each["a"], each["b"]] for each in errors.deviations]).reshape(-1, 2)
    expected = len(g) * np.cov(g.T)  # R times the variance of one part
    np.testing.assert_allclose(deviations.T @ deviations, expected, atol=1e-9)


def test_noise_is_taken_off_but_for_directions_in_which_it_is_larger() -> None:
    """Independent sums of noise: the scatter of many parts is N. With a shift of every part's own, that is left."""
    random, count = np.random.default_rng(3), 4000
    mix = np.array([[1.0, 0.0], [80.0, 60.0]])  # of correlated parameters in different units
    noise = random.normal(size=(count, 2)) @ mix.T
    covariance = count * mix @ mix.T
    as_mapping = {a: dict(zip("ab", row, strict=True)) for a, row in zip("ab", covariance.tolist(), strict=True)}

    def left(g: NDArray[np.float64]) -> NDArray[np.float64]:
        errors = ModelErrors.of({"a": g[:, 0].tolist(), "b": g[:, 1].tolist()}, as_mapping, [], None)
        deviations = np.array([[each["a"], each["b"]] for each in errors.deviations]).reshape(-1, 2)
        return deviations.T @ deviations / np.sqrt(np.outer(covariance.diagonal(), covariance.diagonal()))

    assert left(noise).max() < 0.1
    wrong = noise + np.outer(random.normal(size=count), [2.0, 0.0])
    np.testing.assert_allclose(left(wrong), [[4.0, 0.0], [0.0, 0.0]], atol=0.3)


def test_a_held_value_that_is_not_known_is_one_more_deviation() -> None:
    errors = ModelErrors.of({"x": [1.0, 3.0]}, {}, [{"x": 0.5}], 2.0)
    assert errors.deviations[-1] == {"x": 0.5} and len(errors.deviations) == 2
    assert errors.times(-2.0).deviations[-1] == {"x": -1.0}


def test_one_part_says_nothing_about_their_scatter() -> None:
    assert all(not any(each.values()) for each in ModelErrors.of({"x": [4.0]}, {}, [], None).deviations)


def test_the_interval_has_two_parts_and_the_second_is_the_deviation_over_the_curvature() -> None:
    deviations = ({"x": 0.06}, {"x": 0.08})
    found = optimum(ModelErrors(deviations))
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
    assert optimum(ModelErrors(({"x": 1e-3},), misfit)).verdicts["x"].kind == kind


@pytest.mark.parametrize(("depends", "kind"), [(False, "flat"), (True, "not_found")])
def test_what_seems_flat_is_evaluated_far_away(depends: bool, kind: str) -> None:
    """All trials lie where the value is the same but for scatter; elsewhere it falls, or not."""
    points = np.linspace(0.3, 0.7, 14).tolist()
    history, space = on_a_line(points)
    scatter = np.random.default_rng(2).normal(size=len(points))
    history = dataclasses.replace(history, y=scatter)
    asked: list[dict[str, Value]] = []

    def plateau(values: Mapping[str, Value]) -> float:
        return -100.0 if depends and abs(float(values["x"]) - 0.5) > 0.2 else 0.0

    with quiet_and_seeded(0):
        found = find_optimum(history, space, 1, 1, seed=0, again=lambda v: [{"x": 1e-9}, {"x": -1e-9}] * 2,
                             check=checked(plateau, asked))  # fmt: skip
    assert found.verdicts["x"].kind == kind
    assert {float(values["x"]) for values in asked} & set(FAR)


def test_a_dependence_that_is_seen_needs_no_evaluation_far_away() -> None:
    history, space = on_a_line(LINE)
    asked: list[dict[str, Value]] = []
    with quiet_and_seeded(0):
        found = find_optimum(history, space, 1, 1, seed=0, again=again, check=checked(hill, asked))
    assert found.verdicts["x"].kind == "identified" and len(asked) == 1


def test_errors_of_the_model_do_not_make_a_parameter_flat() -> None:
    """One that moves the maximum by a third of the range: that the value falls to both ends is seen all the same."""
    found = optimum(ModelErrors(({"x": 0.33 * CURVATURE},)))
    assert found.verdicts["x"].kind != "flat" and found.parts["x"][1] > 0.2
