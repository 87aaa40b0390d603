"""How far the best values go when a held quantity moves: exact where the metric is quadratic, corrected elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.surrogate.optimum.held_values import corrected, definite, first_step
from autotune.surrogate.optimum.model_errors import ModelErrors

numbers = st.floats(-3, 3)


@given(st.lists(numbers, min_size=4, max_size=4), st.tuples(numbers, numbers), st.sampled_from([-1.0, 1.0]))
def test_a_quadratic_needs_no_correction(root: list[float], move: tuple[float, float], sign: float) -> None:
    """Of a metric that is maximised or minimised; nothing is left where the first step ends."""
    R = np.array(root).reshape(2, 2)
    C = sign * (R @ R.T + 0.3 * np.eye(2))
    curvature = {"a": {"a": C[0, 0], "b": C[0, 1]}, "b": {"a": C[1, 0], "b": C[1, 1]}}
    shift = dict(zip("ab", -C @ np.array(move), strict=True))
    step = first_step(shift, curvature, {})
    assert [step["a"], step["b"]] == pytest.approx(move, abs=1e-6)
    again = corrected(shift, curvature, step, {"a": 0.0, "b": 0.0})
    assert [again["a"], again["b"]] == pytest.approx([shift["a"], shift["b"]], abs=1e-6)


def test_a_gradient_that_saturates_is_followed_further() -> None:
    """The metric's slope is -tanh(a - u): the first step, of the slope at u, falls short of the move u."""
    u, asked = 0.8, []
    errors = ModelErrors(shifts=({"a": math.tanh(u)},), curvature={"a": {"a": -1.0}})

    def change_at(shift: int, step: dict[str, float]) -> dict[str, float]:
        asked.append((shift, step))
        return {"a": -math.tanh(step["a"] - u)}

    followed = errors.followed({}, change_at).shifts[0]["a"]
    assert asked == [(0, {"a": pytest.approx(math.tanh(u))})]
    assert math.tanh(u) == pytest.approx(0.664, abs=1e-3) and followed == pytest.approx(u, abs=2e-3)


@pytest.mark.parametrize("left", [{"a": -2.5}, {"a": 2.5}, {"a": math.nan}])
def test_a_step_that_led_astray_corrects_nothing(left: dict[str, float]) -> None:
    errors = ModelErrors(shifts=({"a": 2.0},), curvature={"a": {"a": -1.0}})
    assert errors.followed({}, lambda *_: left).shifts == errors.shifts


def test_a_move_ends_at_a_limit_and_what_is_left_counts() -> None:
    errors = ModelErrors(shifts=({"a": 2.0},), curvature={"a": {"a": -1.0}})
    followed = errors.followed({"a": (-math.inf, 0.5)}, lambda _, step: {"a": 2.0 - step["a"]})
    assert followed.shifts[0]["a"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("curvature", "left"),
    [
        ({}, {"a": 0.1}),
        ({"a": {"a": -1.0}, "b": {"a": 0.0, "b": 1.0}}, {"a": 0.1, "b": 0.1}),
        ({"a": {"a": -1.0, "b": -1.0}, "b": {"a": -1.0, "b": -1.0}}, {"a": 0.1, "b": 0.1}),
        ({"a": {"a": -1.0}}, None),
        ({"a": {"a": -1.0}}, {}),
    ],
    ids=["not measured", "a saddle", "alike", "failed", "no derivative"],
)
def test_without_a_curvature_or_an_evaluation_the_shift_stays(
    curvature: dict[str, dict[str, float]], left: dict[str, float] | None
) -> None:
    errors = ModelErrors(shifts=({"a": 2.0, "b": 1.0},), curvature=curvature)
    assert errors.followed({}, lambda *_: left).shifts == errors.shifts


def test_definite_is_the_symmetric_part() -> None:
    found = definite(np.array([[-2.0, 0.5], [0.3, -1.0]]))
    assert found is not None and found.tolist() == [[-2.0, 0.4], [0.4, -1.0]]
    assert definite(np.zeros((0, 0))) is None and definite(np.array([[math.nan]])) is None
