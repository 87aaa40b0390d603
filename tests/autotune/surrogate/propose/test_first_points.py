from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import qmc

from autotune.problem.space import Dimension, Space
from autotune.surrogate.propose import first_points as startup
from autotune.surrogate.propose.first_points import (
    CENTRE_GAP,
    default_startup_trials,
    leave_centre,
    sobol,
    startup_point,
)

SPACE = Space(
    (
        Dimension("x", low=10.0, high=30.0),
        Dimension("r", low=1e-4, high=1.0, log=True),
        Dimension("n", type="int", low=0, high=3),
        Dimension("m", type="categorical", choices=("a", "b")),
    )
)


def test_points_are_those_of_one_sequence() -> None:
    whole = sobol(8, 3, seed=4)
    parts = np.concatenate([sobol(1, 3, seed=4, skip=i) for i in range(8)])
    np.testing.assert_array_equal(whole, parts)
    assert not np.array_equal(whole, sobol(8, 3, seed=5))


def test_the_sequence_covers_the_cube_better_than_random_numbers() -> None:
    random = np.random.default_rng(0).random((32, 4))
    assert qmc.discrepancy(sobol(32, 4, seed=0)) < 0.5 * qmc.discrepancy(random)


def test_ints_and_choices_are_balanced() -> None:
    values = [SPACE.from_unit(startup_point(SPACE, seed=3, position=i)) for i in range(16)]
    assert Counter(v["n"] for v in values) == dict.fromkeys(range(4), 4)
    assert Counter(v["m"] for v in values) == {"a": 8, "b": 8}
    assert sum(float(v["x"]) < 20.0 for v in values) == 8


@pytest.mark.parametrize("u", [0.5, 0.5 - 1e-9, 0.5 + CENTRE_GAP / 2])
def test_the_centre_is_left(u: float) -> None:
    assert abs(leave_centre(u) - 0.5) == CENTRE_GAP
    assert leave_centre(0.25) == 0.25


def test_a_sequence_that_hits_the_centre_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "sobol", lambda count, k, **_: np.full((count, k), 0.5))
    values = SPACE.from_unit(startup_point(SPACE, seed=0, position=0))
    assert values["x"] != 20.0 and values["x"] == pytest.approx(20.0, abs=0.1)
    assert values["r"] != pytest.approx(1e-2, rel=1e-4)


def test_default_number_of_startup_trials() -> None:
    def space(k: int) -> Space:
        return Space(tuple(Dimension(f"x{i}") for i in range(k)))

    assert [default_startup_trials(space(k)) for k in (1, 6, 10)] == [4, 4, 6]
