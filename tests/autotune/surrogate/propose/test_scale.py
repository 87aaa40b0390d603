"""An optimum does not depend on the unit of the metric, however small."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from autotune.objective import Value
from autotune.problem.levels import Levels
from autotune.problem.space import Dimension, Space
from autotune.surrogate.model.history import History
from autotune.surrogate.numerics import quiet_and_seeded
from autotune.surrogate.optimum.optimum import find_optimum
from autotune.surrogate.propose.proposer import Asked, Proposer

SPACE = Space((Dimension("x", low=0.0, high=2.0), Dimension("y", low=0.0, high=2.0)))
POINTS = np.random.default_rng(3).uniform(size=(9, 2))


def hill(values: Mapping[str, Value]) -> float:
    x, y = float(values["x"]), float(values["y"])
    return float(np.exp(-((x - 0.6) ** 2) - 2 * (y - 1.1) ** 2))


@pytest.mark.parametrize("unit", [1e-8, 1e9])
def test_an_optimum_is_the_same_in_any_unit(unit: float) -> None:
    def found_in(unit: float) -> tuple[object, ...]:
        asked: list[Mapping[str, Value]] = []

        def check(values: Mapping[str, Value]) -> tuple[float, Mapping[str, float]]:
            asked.append(values)
            return unit * hill(values), {}

        def again(_: Mapping[str, Value], steps: Mapping[str, float]) -> list[dict[str, float]]:
            return [{"x": sign * 2e-3 * unit, "y": sign * 3e-3 * unit} for sign in (1, -1, 2, -2)]

        y = np.array([unit * hill(SPACE.from_unit(point)) for point in POINTS])  # type: ignore[arg-type]
        history = History(POINTS, y, np.zeros((0, 2)), len(y))
        with quiet_and_seeded(0):
            optimum = find_optimum(history, SPACE, 1, 1, seed=0, again=again, check=check)
        kinds = {name: verdict.kind for name, verdict in optimum.verdicts.items()}
        intervals = [end for name in ("x", "y") for end in optimum.intervals[name]]
        places = [float(optimum.values[name]) for name in ("x", "y")]
        return [*places, *intervals, optimum.metric / unit, optimum.deviation / unit], kinds, len(asked), optimum.noisy

    numbers, *others = found_in(1.0)
    scaled, *same = found_in(unit)
    assert scaled == pytest.approx(numbers, rel=2e-3)
    assert same == others and len(others[0]) == 2  # type: ignore[arg-type]


def test_the_spread_of_values_is_about_the_mean_of_each_level() -> None:
    y = np.array([1.0, 3.0, 101.0, 103.0])
    history = History(POINTS[:4], y, np.zeros((0, 2)), 4, gradient=np.ones((4, 2)), level=np.array([0, 0, 1, 1]))
    assert history.spread == 1.0
    assert history.divided(4.0).spread == 0.25 and (history.divided(4.0).gradient == 0.25).all()  # type: ignore[union-attr]
    alike = History(POINTS[:2], np.array([5.0, 5.0]), np.zeros((0, 2)), 2)
    assert alike.spread == 1.0
    assert History(POINTS[:0], np.zeros(0), np.zeros((0, 2)), 0).spread == 1.0


def test_the_largest_values_have_a_spread() -> None:
    y = np.array([1.7e308, -1.7e308, 1e299, 0.0])
    history = History(POINTS[:4], y, np.zeros((0, 2)), 4)
    assert np.isfinite(history.spread) and np.abs(history.divided(history.spread).y).max() < 10
    with quiet_and_seeded(0):
        asked = Proposer(SPACE, seed=1).ask(history)
    assert np.isfinite(asked.point).all()


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("unit", [2.0**-30, 2.0**30])
def test_a_proposal_is_the_same_in_any_unit(unit: float, gradients: bool) -> None:
    y = np.array([hill(SPACE.from_unit(point)) for point in POINTS])  # type: ignore[arg-type]
    slopes = np.random.default_rng(4).normal(size=POINTS.shape) if gradients else None

    def ask(by: float) -> Asked:
        sampler = Proposer(SPACE, seed=1, levels=Levels(tolerance=1e-6 * by))
        return sampler.ask(History(POINTS, by * y, np.zeros((0, 2)), 9, None if slopes is None else by * slopes))

    asked = [ask(by) for by in (1.0, unit)]
    assert asked[0].expected_improvement is not None
    assert np.array_equal(asked[0].point, asked[1].point)
    assert asked[1].expected_improvement == unit * asked[0].expected_improvement
