"""The search space: unit cube, Jacobian, Optuna distributions."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autotune.objective import Value
from autotune.problem.space import Dimension, Space

unit = st.floats(0.0, 1.0)
CHOICES = ("plain", "fast", "slow")


@st.composite
def float_dimensions(draw: st.DrawFn) -> Dimension:
    log = draw(st.booleans())
    low = draw(st.floats(1e-9, 1e6) if log else st.floats(-1e6, 1e6))
    span = draw(st.floats(1e-3, 1e6))
    high = low * (1 + span) if log else low + span
    return Dimension("x", low=low, high=high, log=log)


@st.composite
def int_dimensions(draw: st.DrawFn) -> Dimension:
    log = draw(st.booleans())
    low = draw(st.integers(1, 1000) if log else st.integers(-1000, 1000))
    high = low + draw(st.integers(1, 1000))
    return Dimension("n", type="int", low=low, high=high, log=log)


def contains(dimension: Dimension, value: Value) -> bool:
    """Whether Optuna's distribution takes the value."""
    distribution = dimension.distribution
    return bool(distribution._contains(distribution.to_internal_repr(value)))


@given(float_dimensions(), unit)
def test_float_round_trip_stays_inside(dimension: Dimension, u: float) -> None:
    value = dimension.from_unit([u])
    assert isinstance(value, float)
    assert dimension.low <= value <= dimension.high
    assert contains(dimension, value)
    [back] = dimension.to_unit(value)
    # Cancellation in (value - low) / (high - low) costs digits where the range is narrow against its place.
    tolerance = 1e-9 + 1e-14 * abs(dimension.low) / (dimension.high - dimension.low)
    assert back == pytest.approx(u, abs=tolerance)


@given(int_dimensions(), st.data())
def test_every_int_comes_back_exactly(dimension: Dimension, data: st.DataObject) -> None:
    value = data.draw(st.integers(int(dimension.low), int(dimension.high)))
    [u] = dimension.to_unit(value)
    assert 0.0 < u < 1.0
    back = dimension.from_unit([u])
    assert isinstance(back, int)
    assert back == value


@given(int_dimensions(), unit)
def test_any_coordinate_gives_an_int_of_the_range(dimension: Dimension, u: float) -> None:
    assert contains(dimension, dimension.from_unit([u]))


@given(st.floats(-5.0, 6.0), float_dimensions())
def test_coordinates_outside_the_cube_are_clipped(u: float, dimension: Dimension) -> None:
    value = dimension.from_unit([u])
    assert dimension.low <= value <= dimension.high  # type: ignore[operator]


def test_ints_share_the_unit_interval_equally() -> None:
    dimension = Dimension("n", type="int", low=1, high=5)
    grid = (np.arange(1000) + 0.5) / 1000
    counts = Counter(dimension.from_unit([u]) for u in grid)
    assert counts == {1: 200, 2: 200, 3: 200, 4: 200, 5: 200}


def test_log_scale_puts_the_geometric_mean_in_the_middle() -> None:
    assert Dimension("x", low=1e-4, high=1.0, log=True).from_unit([0.5]) == pytest.approx(1e-2)
    assert Dimension("x", low=1e-4, high=1.0).from_unit([0.5]) == pytest.approx(0.50005)


@st.composite
def squares(draw: st.DrawFn) -> Dimension:
    """Of a parameter that acts by its square."""
    low = draw(st.sampled_from([0.0, 0.3, 5.0]))
    log = low > 0 and draw(st.booleans())
    return Dimension("blur", low=low, high=low + draw(st.floats(0.01, 100.0)), log=log, by_square=True)


def test_the_middle_of_squares_is_in_the_middle() -> None:
    dimension = Dimension("blur", low=0.0, high=2.0, by_square=True)
    assert dimension.from_unit([0.5]) == pytest.approx(2**0.5) and dimension.scale == "square"
    assert dimension.to_unit(1.0) == [0.25] and dimension.acting(3.0) == 9.0


@given(squares(), unit)
def test_squares_come_back_and_stay_inside(dimension: Dimension, u: float) -> None:
    value = dimension.from_unit([u])
    assert contains(dimension, value)
    # At a narrow range away from zero the difference of two squares loses digits.
    assert dimension.to_unit(value) == pytest.approx([u], abs=1e-9)


@given(squares(), st.floats(0.05, 0.95))
def test_the_jacobian_of_a_square_is_the_slope_of_the_square(dimension: Dimension, u: float) -> None:
    step = 1e-4
    above, below = (float(dimension.from_unit([u + s])) for s in (step, -step))
    slope = (above**2 - below**2) / (2 * step)
    assert dimension.jacobian(float(dimension.from_unit([u]))) == pytest.approx(slope, rel=1e-5)


def test_a_gradient_by_a_square_says_something_at_zero() -> None:
    space = Space((Dimension("blur", low=0.0, high=2.0, by_square=True),))
    assert space.gradient_to_unit({"blur": 0.0}, {"blur": 3.0}) == {"blur": 12.0}
    assert Space.from_dict(space.as_dict()) == space != Space((Dimension("blur", low=0.0, high=2.0),))


@pytest.mark.parametrize("choice", CHOICES)
def test_choices_are_one_hot_and_come_back(choice: str) -> None:
    dimension = Dimension("m", type="categorical", choices=CHOICES)
    coordinates = dimension.to_unit(choice)
    assert sorted(coordinates) == [0.0, 0.0, 1.0]
    assert dimension.from_unit(coordinates) == choice
    assert contains(dimension, choice)
    assert dimension.width == 3


@given(float_dimensions(), st.floats(0.05, 0.95))
def test_jacobian_is_the_slope_of_the_map(dimension: Dimension, u: float) -> None:
    step = 1e-4
    above, below = (float(dimension.from_unit([u + s])) for s in (step, -step))
    assume(above - below > 1e-9 * abs(above))  # else rounding of the values drowns the difference
    slope = (above - below) / (2 * step)
    # Relative truncation error of the central difference on the log scale is (step * ln(high/low))^2 / 6.
    assert dimension.jacobian(float(dimension.from_unit([u]))) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize(
    "dimension",
    [Dimension("n", type="int", low=1, high=5), Dimension("m", type="categorical", choices=CHOICES)],
)
def test_only_floats_have_a_jacobian(dimension: Dimension) -> None:
    with pytest.raises(ValueError, match=f"{dimension.name} is {dimension.type}"):
        dimension.jacobian(1.0)


@pytest.fixture
def space() -> Space:
    return Space(
        (
            Dimension("x", low=-2.0, high=2.0, differentiable=True, initial=0.5),
            Dimension("m", type="categorical", choices=CHOICES),
            Dimension("rate", low=1e-3, high=1.0, log=True, differentiable=True),
            Dimension("n", type="int", low=1, high=8),
        )
    )


@given(st.lists(unit, min_size=6, max_size=6))
def test_a_point_of_the_cube_and_its_values_agree(point: list[float]) -> None:
    full = Space(
        (
            Dimension("x", low=-2.0, high=2.0),
            Dimension("m", type="categorical", choices=CHOICES),
            Dimension("rate", low=1e-3, high=1.0, log=True),
            Dimension("n", type="int", low=1, high=8),
        )
    )
    values = full.from_unit(point)
    assert list(values) == full.names
    again = full.from_unit(full.to_unit(values))
    assert again["m"] == values["m"]
    assert again["n"] == values["n"]
    assert [again["x"], again["rate"]] == pytest.approx([values["x"], values["rate"]])


def test_space_lays_its_dimensions_side_by_side(space: Space) -> None:
    assert space.width == 6
    point = space.to_unit({"x": 0.0, "m": "fast", "rate": 1e-3, "n": 1})
    assert point == pytest.approx([0.5, 0, 1, 0, 0.0, 0.0625])
    assert space.stated() == {"x": 0.5}


def test_distributions_are_optunas(space: Space) -> None:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    assert space.distributions() == {
        "x": FloatDistribution(-2.0, 2.0),
        "m": CategoricalDistribution(CHOICES),
        "rate": FloatDistribution(1e-3, 1.0, log=True),
        "n": IntDistribution(1, 8),
    }


def test_gradient_is_carried_by_the_chain_rule(space: Space) -> None:
    values: dict[str, Value] = {"x": 0.3, "m": "fast", "rate": 0.1, "n": 3}

    def metric(point: np.ndarray) -> float:
        back = space.from_unit(point)
        return 3 * float(back["x"]) ** 2 + math.log(float(back["rate"]))

    carried = space.gradient_to_unit(values, {"x": 6 * 0.3, "rate": 1 / 0.1, "n": 7.0, "unknown": 1.0})
    assert set(carried) == {"x", "rate"}
    centre, step = space.to_unit(values), 1e-5
    for name, column in (("x", 0), ("rate", 4)):
        shift = np.eye(6)[column] * step
        slope = (metric(centre + shift) - metric(centre - shift)) / (2 * step)
        assert carried[name] == pytest.approx(slope, rel=1e-6)


def test_a_changed_range_changes_the_identity(space: Space) -> None:
    other = Space((Dimension("x", low=-2.0, high=2.5, initial=0.5), *space.dimensions[1:]))
    assert other.as_dict() != space.as_dict()
    assert Space(space.dimensions).as_dict() == space.as_dict()
