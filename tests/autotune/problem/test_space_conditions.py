"""A search space in which some dimensions exist only where others have certain values."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.objective import Value
from autotune.problem.space import Dimension, Space, alternatives, describe

unit = st.floats(0.0, 1.0)
CHOICES = ("plain", "fast", "slow")

TREE = Space(
    (
        # The study's order need not be the one in which values are known.
        Dimension("depth_rate", low=1e-3, high=1.0, log=True, when=(("depth", (2, 3)), ("solver", ("sgd", "adam")))),
        Dimension("momentum", low=0.0, high=2.0, initial=0.5, differentiable=True, when=(("solver", ("sgd",)),)),
        Dimension("x", low=-1.0, high=1.0, differentiable=True),
        Dimension("depth", type="int", low=1, high=3, when=(("solver", ("sgd", "exact")),)),
        Dimension("solver", type="categorical", choices=("exact", "sgd", "adam")),
        Dimension("nesterov", type="categorical", choices=("no", "yes"), when=(("solver", ("sgd",)),)),
    )
)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"solver": "exact", "depth": 2}, {"x", "solver", "depth"}),
        ({"solver": "adam", "depth": 2}, {"x", "solver"}),  # depth is not active, so that its 2 does not count
        ({"solver": "sgd", "depth": 1}, {"x", "solver", "depth", "momentum", "nesterov"}),
        ({"solver": "sgd", "depth": 3}, {"x", "solver", "depth", "momentum", "nesterov", "depth_rate"}),
        ({"depth": 3}, {"x", "solver"}),
    ],
)
def test_what_is_active(values: dict[str, Value], names: set[str]) -> None:
    assert TREE.active(values) == names


def test_parents_are_asked_first_and_otherwise_the_order_is_kept() -> None:
    assert [d.name for d in TREE.asking_order] == ["x", "solver", "momentum", "depth", "depth_rate", "nesterov"]
    assert TREE.names == ["depth_rate", "momentum", "x", "depth", "solver", "nesterov"]
    assert TREE.conditional and not Space(TREE.asking_order[:2]).conditional


@st.composite
def conditional_spaces(draw: st.DrawFn) -> Space:
    """Up to six dimensions in any order, each with conditions on up to two that were drawn before it."""
    drawn: list[Dimension] = []
    for i in range(draw(st.integers(1, 6))):
        parents = [d for d in drawn if d.type != "float"]
        count = draw(st.integers(0, min(2, len(parents))))
        chosen = draw(st.lists(st.sampled_from(parents), min_size=count, max_size=count, unique=True)) if count else []
        when = []
        for parent in chosen:
            every: list[Value] = list(parent.choices) or [*range(int(parent.low), int(parent.high) + 1)]
            allowed = draw(st.lists(st.sampled_from(every), min_size=1, max_size=len(every), unique=True))
            when.append((parent.name, tuple(allowed)))
        kind: Literal["float", "int", "categorical"] = draw(st.sampled_from(["float", "int", "categorical"]))
        choices = CHOICES if kind == "categorical" else ()
        drawn.append(Dimension(f"d{i}", type=kind, low=1, high=4, choices=choices, when=tuple(when)))
    return Space(tuple(draw(st.permutations(drawn))))


@given(conditional_spaces(), st.data())
def test_the_values_at_any_point_are_those_of_what_is_active(space: Space, data: st.DataObject) -> None:
    values = space.from_unit(data.draw(st.lists(unit, min_size=space.width, max_size=space.width)))
    assert set(values) == space.active(values)
    for dimension in space.dimensions:
        met = [values.get(other) in allowed for other, allowed in dimension.when]
        assert (dimension.name in values) == all(met)
    again = space.from_unit(space.to_unit(values))
    assert list(again) == list(values)
    for name, value in values.items():
        assert again[name] == (pytest.approx(value) if isinstance(value, float) else value)
    assert space.to_unit(again) == pytest.approx(space.to_unit(values))


@given(st.lists(unit, min_size=TREE.width, max_size=TREE.width), st.data())
def test_inactive_coordinates_say_nothing(point: list[float], data: st.DataObject) -> None:
    values = TREE.from_unit(point)
    start = 0
    moved = TREE.to_unit(values)
    for dimension in TREE.dimensions:
        if dimension.name not in values:
            columns = slice(start, start + dimension.width)
            middle = [0.5] if dimension.type != "categorical" else [1.0] + [0.0] * (dimension.width - 1)
            assert moved[columns] == pytest.approx(middle)
            moved[columns] = data.draw(st.lists(unit, min_size=dimension.width, max_size=dimension.width))
        start += dimension.width
    there = TREE.from_unit(moved)
    assert TREE.to_unit(there) == pytest.approx(TREE.to_unit(values))
    assert TREE.to_unit({**there, **{n: d.low for n, d in zip(TREE.names, TREE.dimensions, strict=True)
                                     if n not in there}}) == pytest.approx(TREE.to_unit(values))  # fmt: skip


def test_only_the_active_are_suggested() -> None:
    import optuna

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    seen = set()
    for _ in range(40):
        trial = study.ask()
        values = TREE.suggest(trial)
        assert values == trial.params
        assert set(values) == TREE.active(values)
        assert list(values) == [name for name in TREE.names if name in values]
        seen.add(frozenset(values))
    assert len(seen) == 4  # exact; adam, which has no depth; sgd with and without depth_rate


def test_a_gradient_is_of_what_is_active() -> None:
    values: dict[str, Value] = {"x": 0.0, "solver": "adam"}
    assert TREE.gradient_to_unit(values, {"x": 3.0, "momentum": 5.0}) == {"x": 6.0}
    assert TREE.gradient_to_unit(values | {"momentum": 1.0}, {"x": 3.0, "momentum": 5.0}) == {"x": 6.0}
    values = {"x": 0.0, "solver": "sgd", "momentum": 1.0, "depth": 1, "nesterov": "no"}
    assert TREE.gradient_to_unit(values, {"x": 3.0, "momentum": 5.0}) == {"x": 6.0, "momentum": 10.0}


@pytest.mark.parametrize(
    ("solver", "stated"),
    [(None, {"momentum": 0.5}), ("sgd", {"solver": "sgd", "momentum": 0.5}), ("adam", {"solver": "adam"})],
)
def test_a_stated_value_needs_a_chance_to_be_active(solver: str | None, stated: dict[str, Value]) -> None:
    choice = Dimension("solver", type="categorical", choices=("sgd", "adam"), initial=solver)
    below = Dimension("below", type="int", low=1, high=2, when=(("above", (2,)),), initial=1)
    above = Dimension("above", type="int", low=1, high=2, when=(("solver", ("adam",)),))
    expected = stated if solver == "sgd" else stated | {"below": 1}
    assert Space((below, above, TREE.dimensions[1], choice)).stated() == expected


def test_conditions_are_part_of_the_identity_where_there_are_any() -> None:
    assert [d["when"] for d in TREE.as_dict() if "when" in d] == [
        {"depth": [2, 3], "solver": ["sgd", "adam"]}, {"solver": ["sgd"]}, {"solver": ["sgd", "exact"]},
        {"solver": ["sgd"]},
    ]  # fmt: skip
    plain = Space(tuple(dimension for dimension in TREE.dimensions if not dimension.when))
    assert plain.names == ["x", "solver"] and not any("when" in d for d in plain.as_dict())


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ({"a": "b"}, "a depends on b, which is no dimension"),
        ({"a": "x"}, "a depends on x, which is a float"),
        ({"a": "m", "m": "a"}, "these depend on each other: a, m"),
    ],
)
def test_impossible_conditions(when: dict[str, str], message: str) -> None:
    dimensions = (
        Dimension("a", type="int", low=0, high=9, when=((when["a"], (1,)),)),
        Dimension("m", type="categorical", choices=CHOICES, when=((when["m"], (1,)),) if "m" in when else ()),
        Dimension("x"),
    )
    with pytest.raises(ValueError, match=message):
        Space(dimensions)


def test_conditions_in_words() -> None:
    assert describe((("solver", ("a", "b", "c")), ("slices", (2, 3, 4)))) == "solver is a, b or c and slices is 2 to 4"
    assert alternatives((1, 2, 4, 6, 7, 8)) == "1, 2, 4 or 6 to 8"
    assert alternatives(["fast"]) == "fast"
