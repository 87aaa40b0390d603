"""Twins in the search space: the map is its own inverse, and leads to points of the space alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.objective import Metric, Twin
from autotune.problem.goals import Aims, Limit
from autotune.problem.space import Dimension, Space
from autotune.problem.twins import reaches, twin_at, twin_of
from autotune.store.records import TrialRecord, best_of

TWIN = Twin("sign", ("focus",), {"turn": 180.0}, "it shines")
METRIC = Metric("consistency", "maximize")


def space(focus: tuple[float, float] = (-10, 30), turn: tuple[float, float] = (-180, 180)) -> Space:
    return Space(
        (
            Dimension("focus", type="float", low=focus[0], high=focus[1]),
            Dimension("turn", type="float", low=turn[0], high=turn[1]),
            Dimension("rate", type="float", low=0.1, high=10.0, log=True),
        )
    )


@given(st.floats(-10, 30), st.floats(-180, 180), st.floats(0.1, 10))
def test_the_twin_of_the_twin_is_the_point(focus: float, turn: float, rate: float) -> None:
    values = {"focus": focus, "turn": turn, "rate": rate}
    there = twin_of(TWIN, values, space())
    if focus > 10:
        assert there is None
        return
    assert there is not None and there["focus"] == -focus and there["rate"] == rate
    assert abs(abs(float(there["turn"]) - turn) - 180) < 1e-9
    back = twin_of(TWIN, there, space())
    assert back is not None and back["turn"] == pytest.approx(turn if 0 < abs(turn) < 180 else back["turn"])
    point = space().to_unit(values)
    at = twin_at(TWIN, point, space())
    assert at is not None and at == pytest.approx(space().to_unit(there))


@pytest.mark.parametrize(
    ("focus", "turn", "does"),
    [
        ((-10, 30), (-180, 180), True),
        ((-10, 30), (-90, 91), True),
        ((-10, 30), (-90, 90), False),
        ((0, 30), (-180, 180), False),
        ((-30, -1), (-180, 180), False),
    ],
)
def test_a_space_without_room_for_both_has_no_twins(
    focus: tuple[float, float], turn: tuple[float, float], does: bool
) -> None:
    assert reaches(TWIN, space(focus, turn)) == does


def test_a_space_without_these_parameters_has_no_twins() -> None:
    assert not reaches(TWIN, Space(space().dimensions[:1])) and not reaches(Twin("sign", ("rate",)), space())


def full(number: int, value: float, sign: float | None, level: int = 0, finish: bool = True) -> TrialRecord:
    metrics = {"consistency": value} | ({} if sign is None else {"sign": sign})
    return TrialRecord(number, "finished", {}, metrics, level=level, finish=finish)


@pytest.mark.parametrize(
    ("trials", "best"),
    [
        ([full(0, 0.90001, -1.0), full(1, 0.9, 1.0)], 1),
        ([full(0, 0.9, 1.0), full(1, 0.90001, -1.0), full(2, 0.89, 1.0)], 0),
        ([full(0, 0.9, -1.0), full(1, 0.5, 1.0)], 0),  # it is no twin of that
        ([full(0, 0.9, -1.0), full(1, 0.9, 1.0, finish=False)], 0),  # nor need this be one
        ([full(0, 0.9, -1.0), full(1, 0.9, 1.0, level=1)], 0),
        ([full(0, 0.9, -1.0)], 0),
        ([full(0, 0.9, None), full(1, 0.9, 1.0)], 1),
    ],
)
@pytest.mark.parametrize("goal", [1, -1])
def test_the_right_one_of_two_is_the_answer_where_it_is_as_good(
    trials: list[TrialRecord], best: int, goal: int
) -> None:
    limits = Aims(twin=TWIN).of_answers
    assert limits == (Limit("sign", above=0.0, of_twins=True),) and Aims().of_answers == ()
    metric = METRIC if goal > 0 else Metric("consistency", "minimize")
    signed = [replace(t, metrics={**t.metrics, "consistency": goal * t.metrics["consistency"]}) for t in trials]
    found = best_of(signed, metric, limits)
    assert found is not None and found.number == best
    assert np.isfinite(found.metrics["consistency"])
