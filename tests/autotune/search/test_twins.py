"""A search of a metric that is the same at twins: it ends at the right one, and its intervals use all trials."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from autotune.objective import Twin
from autotune.problem.goals import Aims
from autotune.problem.levels import Levels
from autotune.problem.space import Dimension, Floats, Space
from autotune.search.trial_history import on_side_of
from autotune.surrogate.model.history import History
from autotune.surrogate.propose.proposer import Proposer

SPACE = Space((Dimension("x", type="float", low=-1, high=1), Dimension("turn", type="float", low=-180, high=180)))
TWIN = Twin("sign", ("x",), {"turn": 180.0})


def value(x: float, turn: float) -> float:
    """Best at (0.5, 30) and at its twin (-0.5, -150)."""
    right, wrong = ((x - s * 0.5) ** 2 + (((turn - t + 180) % 360 - 180) / 180) ** 2 for s, t in ((1, 30), (-1, -150)))
    return -min(right, wrong)


def history(values: list[tuple[float, float]]) -> History:
    points = np.array([SPACE.to_unit({"x": x, "turn": turn}) for x, turn in values])
    step = 1e-5
    slopes = [
        [(value(x + step, t) - value(x - step, t)) / step, (value(x, t + step) - value(x, t - step)) / step * 180]
        for x, t in values
    ]
    to_right, to_wrong = (
        [math.hypot(x - s * 0.5, (t - t0) / 180) for x, t in values] for s, t0 in ((1, 30), (-1, -150))
    )
    reports = tuple({"sign": 1.0 if a < b else -1.0} for a, b in zip(to_right, to_wrong, strict=True))
    y = np.array([value(x, t) for x, t in values])
    return History(points, y, np.zeros((0, 2)), len(values), np.array(slopes), reports=reports)


def test_trials_count_on_the_side_of_the_answer() -> None:
    """With the same value, and with the derivative by what changes sign turned round."""
    trials = [(0.4, 40.0), (-0.45, -140.0), (-0.5, -150.0), (0.9, 0.0)]
    was = history(trials)
    now = on_side_of({"x": 0.5, "turn": 30.0}, was, TWIN, SPACE)
    there = [SPACE.from_unit(point) for point in now.X]
    assert [(v["x"], v["turn"]) for v in there] == [
        pytest.approx(each, abs=1e-9) for each in [(0.4, 40.0), (0.45, 40.0), (0.5, 30.0), (0.9, 0.0)]
    ]
    expected = history([(float(v["x"]), float(v["turn"])) for v in there])
    assert now.gradient is not None and now.gradient == pytest.approx(expected.gradient, abs=1e-6)
    assert now.y == pytest.approx(expected.y)
    without = on_side_of({"x": 0.5, "turn": 30.0}, dataclasses.replace(was, gradient=None), TWIN, SPACE)
    assert without.gradient is None and pytest.approx(now.X) == without.X


def finished(aims: Aims, trials: list[tuple[float, float]], reports: bool = True) -> Floats:
    at = history(trials)
    at = at if reports else dataclasses.replace(at, reports=())
    asked = Proposer(SPACE, seed=0, levels=Levels(finish=True), aims=aims).ask(at)
    assert asked.finish
    values = SPACE.from_unit(asked.point)
    return np.array([values["x"], values["turn"]])


@pytest.mark.parametrize("side", [1, -1])
def test_the_last_trial_is_the_right_twin_of_what_was_found(side: int) -> None:
    """Which the sign at the nearest trial tells, not that of others."""
    random = np.random.default_rng(0)
    near = [(side * 0.5 + a, side * 90.0 - 60 + b) for a, b in random.normal(scale=(0.2, 20), size=(10, 2))]
    far = [(-side * 0.9, -side * 90.0 - 60)]
    assert finished(Aims(twin=TWIN), near + far) == pytest.approx([0.5, 30.0], abs=0.03, rel=0.03)
    assert finished(Aims(), near + far) == pytest.approx([side * 0.5, side * 90.0 - 60], abs=0.03, rel=0.03)
    unknown = finished(Aims(twin=TWIN), near + far, reports=False)
    assert unknown == pytest.approx([side * 0.5, side * 90.0 - 60], abs=0.03, rel=0.03)
