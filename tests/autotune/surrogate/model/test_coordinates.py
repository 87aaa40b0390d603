from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.problem.space import Dimension, Space
from autotune.surrogate.model.coordinates import Coordinates

MIXED = Space(
    (
        Dimension("x", low=-2.0, high=2.0),
        Dimension("m", type="categorical", choices=("a", "b", "c")),
        Dimension("n", type="int", low=1, high=20),
        Dimension("r", low=1e-4, high=1.0, log=True),
        Dimension("k", type="int", low=1, high=64, log=True),
    )
)
DISCRETE = Space((MIXED.dimensions[1], Dimension("n", type="int", low=1, high=4)))


@st.composite
def uniforms(draw: Any) -> np.ndarray[Any, Any]:
    number = st.floats(0, 1, exclude_max=True)
    return np.array([draw(st.lists(number, min_size=5, max_size=5))])


@settings(deadline=None)
@given(uniforms())
def test_points_survive_rounding(uniform: np.ndarray[Any, Any]) -> None:
    coordinates = Coordinates(MIXED)
    point = coordinates.from_uniform(uniform)
    np.testing.assert_allclose(coordinates.snap(point), point, atol=1e-12)
    assert point[0, 1:4].sum() == 1.0 and set(point[0, 1:4]) == {0.0, 1.0}


def test_columns_of_a_mixed_space() -> None:
    coordinates = Coordinates(MIXED)
    assert [(d.name, start) for d, start in coordinates.columns] == [
        ("x", 0),
        ("m", 1),
        ("n", 4),
        ("r", 5),
        ("k", 6),
    ]
    assert coordinates.discrete == [1, 2, 3, 4, 6]
    assert not coordinates.all_discrete and coordinates.size is None


def test_equal_shares_for_ints_and_choices() -> None:
    uniform = np.stack([np.linspace(0, 1, 240, endpoint=False) + 1 / 480] * 2, axis=1)
    values = [DISCRETE.from_unit(point) for point in Coordinates(DISCRETE).from_uniform(uniform)]
    for name, count in (("m", 80), ("n", 60)):
        seen = [v[name] for v in values]
        assert {seen.count(v) for v in set(seen)} == {count}


def test_neighbours_change_one_dimension() -> None:
    values = {"x": 0.5, "m": "b", "n": 1, "r": 0.01, "k": 8}
    around = [MIXED.from_unit(p) for p in Coordinates(MIXED).neighbours(MIXED.to_unit(values))]
    changes = [{name: v[name] for name in ("m", "n", "k") if v[name] != values[name]} for v in around]
    assert changes == [{"m": "a"}, {"m": "c"}, {"n": 2}, {"n": 3}, {"k": 1}, {"k": 7}, {"k": 9}, {"k": 15}]
    assert all(v["x"] == pytest.approx(0.5) and v["r"] == pytest.approx(0.01) for v in around)


def test_every_point_of_a_discrete_space() -> None:
    coordinates = Coordinates(DISCRETE)
    points = [tuple(DISCRETE.from_unit(p).values()) for p in coordinates.enumerate()]
    assert coordinates.size == 12 and set(points) == {(m, n) for m in "abc" for n in (1, 2, 3, 4)}
    with pytest.raises(ValueError, match="infinitely many"):
        Coordinates(MIXED).enumerate()
