"""What of a VOCS becomes what of the search space, and what is refused with a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("gest_api", reason="gest-api is not installed (extra gest)")

from gest_api.vocs import VOCS, ContextualVariable, ContinuousVariable, DiscreteVariable, MinimizeObjective

from autotune.integrations.gest import Generator
from autotune.integrations.gest.problem import Options, problem_of
from autotune.problem.space import Dimension
from tests.autotune.integrations.problems import evaluated, make_vocs, search, states

F = {"f": "MINIMIZE"}


def dimension(variable: Any, **options: Any) -> Dimension:
    return problem_of(VOCS(variables={"v": variable}, objectives=F), Options(**options)).variables[0].dimension


def test_continuous_variables_are_floats_or_ints_by_their_dtype() -> None:
    assert dimension([0.1, 2]) == Dimension("v", low=0.1, high=2)
    assert dimension([0.1, 2], log=("v",)) == Dimension("v", low=0.1, high=2, log=True)
    assert dimension(ContinuousVariable(domain=[0.5, 9.5], dtype=int)) == Dimension("v", type="int", low=1, high=9)
    assert dimension(ContinuousVariable(domain=[0, 1], dtype="float32")) == Dimension("v")
    assert dimension(ContinuousVariable(domain=[0, 1], default_value=0.3)) == Dimension("v", initial=0.3)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({3, 1, 2}, Dimension("v", type="int", low=1, high=3)),
        ({1, 10, 100}, Dimension("v", type="int", low=0, high=2)),
        ({0.5, 0.25}, Dimension("v", type="int", low=0, high=1)),
        ({"b", "a"}, Dimension("v", type="categorical", choices=("a", "b"))),
        ({True, False}, Dimension("v", type="categorical", choices=("False", "True"))),
        ({"a", 1}, Dimension("v", type="categorical", choices=("1", "a"))),
    ],
)
def test_discrete_variables_are_ints_or_choices_and_come_back_as_given(values: set[Any], expected: Dimension) -> None:
    assert dimension(values) == expected
    generator = Generator(VOCS(variables={"v": values}, objectives=F))
    points = generator.suggest(5)
    assert all(any(p["v"] is v or (type(p["v"]), p["v"]) == (type(v), v) for v in values) for p in points)
    generator.ingest([point | {"f": 1.0} for point in points])
    generator.ingest([{"v": value, "f": 0.0} for value in values])
    assert states(generator) == ["finished"] * (5 + len(values))
    assert generator.get_best_points()[0][1]["v"] in values
    with pytest.raises(ValueError, match="v is"):
        generator.ingest([{"v": "none of these", "f": 0.0}])


def test_a_discrete_variable_of_one_value_is_held() -> None:
    generator = Generator(make_vocs(variables={"x": [0.0, 1.0], "mode": {"fast"}, "y": [-1.0, 1.0]}))
    [point] = search(generator, 1)
    assert list(point)[:5] == ["_id", "x", "mode", "y", "alpha"] and point["mode"] == "fast"
    assert generator.get_best_points()[0][1]["mode"] == "fast"


def test_a_default_value_is_tried_first() -> None:
    variables = {"x": ContinuousVariable(domain=[0, 1], default_value=0.25), "y": [-1.0, 1.0]}
    generator = Generator(make_vocs(variables=variables))
    points = generator.suggest(2)
    assert points[0]["x"] == 0.25 != points[1]["x"]


def test_constants_may_be_anything() -> None:
    mask = np.eye(2)
    generator = Generator(make_vocs(constants={"mask": mask, "name": "run", "none": None}))
    [point] = generator.suggest(1)
    assert (point["mask"] == mask).all() and point["none"] is None
    generator.ingest([evaluated(point)])
    with pytest.raises(ValueError, match="name is 'other'"):
        generator.ingest([evaluated(point | {"_id": None, "name": "other"})])


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"variables": {}}, {}, "no variable to search"),
        ({"variables": {"x": {3}}}, {}, "no variable to search"),
        ({"variables": {"t": "contextual"}}, {}, "no variable to search"),
        ({"objectives": {}}, {}, "no objective"),
        ({"objectives": {"f": "EXPLORE"}}, {}, "the objective f is a ExploreObjective"),
        ({"objectives": dict.fromkeys("abcde", "MINIMIZE")}, {}, "5 objectives; at most 4"),
        ({"objectives": {"f": "MINIMIZE", "g": "MINIMIZE"}}, {"sampler": "tpe"}, "tpe takes no several objectives; gp"),
        ({"variables": {"x": [0, 1], "t": "contextual"}}, {"sampler": "qmc"}, "qmc takes no contextual variables"),
        ({"objectives": {"seconds": "MINIMIZE"}}, {}, "give the objective or constraint another name"),
        ({"objectives": {"x": "MINIMIZE"}}, {}, "'x' is both put in and reported"),
        ({"variables": {"_id": [0, 1]}}, {}, "'_id' is the key"),
        ({"variables": {"x": [0, float("inf")]}}, {}, "the domain of x is 0 to inf; it must be finite"),
        ({"variables": {"x": ContinuousVariable(domain=[0, 1], dtype=str)}}, {}, "is float or int"),
        ({"variables": {"x": ContinuousVariable(domain=[0, 1], dtype=int)}}, {"log": ["x"]}, "must begin above 0"),
        ({"variables": {"x": ContinuousVariable(domain=[0.1, 1.5], dtype=int)}}, {}, "holds fewer than two"),
        ({"variables": {"x": ContinuousVariable(domain=[0, 1], dtype=(float, (3,)))}}, {}, r"array of shape \(3,\)"),
        ({"variables": {"x": ContinuousVariable(domain=[0, 1], dtype="flot")}}, {}, "numpy does not know"),
        ({"objectives": {"f": MinimizeObjective(dtype=(float, (2,)))}}, {}, r"array of shape \(2,\)"),
        ({"variables": {"x": ContinuousVariable(domain=[0, 1], default_value=2)}}, {}, "x is 2, outside its domain"),
        ({"variables": {"x": {1.0, float("inf")}}}, {}, "values of x must be finite"),
        ({"variables": {"x": DiscreteVariable(values={"1", True, "True"})}}, {}, "look alike"),
        ({}, {"log": ["z"]}, "log: z is not searched"),
        ({}, {"log": "x"}, "log is a list of names"),
        ({}, {"log": ["x"]}, "its domain begins at 0"),
        ({"variables": {"x": [0, 1], "n": {1, 2}}}, {"log": ["n"]}, "n is in log, and is discrete"),
        ({}, {"sampler": "gpp"}, "no sampler is called 'gpp'; did you mean 'gp'"),
        ({}, {"seed": -1}, "seed is -1"),
        ({}, {"startup_trials": -1}, "startup_trials is -1"),
        ({}, {"sampler": "qmc", "startup_trials": 3}, "startup_trials is 3"),
        ({}, {"gradients": {"z": "df"}}, "gradients: z is no continuous variable"),
        ({}, {"gradients": {"x": "df"}}, "gradients: df is no observable"),
        ({}, {"sampler": "gradient"}, "needs gradients for every continuous variable"),
    ],
)
def test_what_cannot_be_searched_is_a_value_error(changes: dict[str, Any], options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Generator(make_vocs(**changes), **options)


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe", "cmaes", "optuna-gp"])
def test_every_sampler_serves(sampler: str) -> None:
    generator = Generator(make_vocs(variables={"x": [0.0, 1.0], "y": [-5.0, 5.0], "k": {"a", "b"}}), sampler=sampler)
    search(generator, 4)
    assert states(generator) == ["finished"] * 4


def test_descent_along_gradients_serves() -> None:
    vocs = make_vocs(observables=["df_dx", "df_dy"])
    generator = Generator(vocs, sampler="gradient", gradients={"x": "df_dx", "y": "df_dy"})
    search(generator, 6)
    assert generator.get_best_points()[0][2]["f"] < 1e-3


def drift(generator: Generator, temperatures: list[float]) -> list[float]:
    """The distance of each suggestion from the best x at the temperature that is observed then."""
    off = []
    for temperature in temperatures:
        [point] = generator.suggest(1)
        assert "t" not in point
        off.append(point["x"] - 0.04 * (temperature - 20))
        generator.ingest([point | {"f": off[-1] ** 2, "t": temperature}])
    return off


def test_points_are_proposed_for_the_context_that_was_observed_last() -> None:
    generator = Generator(VOCS(variables={"x": [-1.0, 1.0], "t": "contextual"}, objectives=F))
    temperatures = [5.0, 5.0, 35.0, 35.0, 20.0, 20.0, 10.0, 10.0, 30.0, 30.0, 12.0, 12.0, 28.0, 28.0, 28.0]
    off = drift(generator, temperatures)
    assert abs(off[-2]) < 0.1  # the first point proposed for a temperature that was seen once
    [(number, values, _)] = generator.get_best_points()
    assert set(values) == {"x", "t"}
    assert 0 <= number < len(generator._store.trials())


def test_a_context_starts_at_its_default_and_may_leave_its_domain() -> None:
    context = ContextualVariable(domain=[0.0, 10.0], default_value=5.0)
    generator = Generator(VOCS(variables={"x": [-1.0, 1.0], "t": context}, objectives=F))
    [point] = generator.suggest(1)
    assert generator._store.trials()[0].values["t"] == 5.0
    generator.ingest([point | {"f": 1.0, "t": 12.0}, {"x": 0.5, "f": 2.0, "t": 3.0}])
    trials = generator._store.trials()
    assert [(trial.state, trial.values["t"], trial.replaces) for trial in trials] == [
        ("interrupted", 5.0, None),
        ("finished", 12.0, 0),
        ("finished", 3.0, None),
    ]
    [point] = generator.suggest(1)
    assert generator._store.trials()[-1].values["t"] == pytest.approx(3.0)
    generator.ingest([point | {"f": 0.5, "t": 3.0}])
    assert states(generator) == ["interrupted"] + ["finished"] * 3
    assert generator.get_best_points()[0][0] == point["_id"]


def test_a_complete_result_needs_the_context_and_a_failed_one_does_not() -> None:
    generator = Generator(VOCS(variables={"x": [-1.0, 1.0], "t": "contextual"}, objectives=F))
    first, second = generator.suggest(2)
    for bad in ({}, {"t": float("nan")}):
        with pytest.raises(ValueError, match="a result lacks the observed value of t"):
            generator.ingest([first | {"f": 1.0} | bad])
    with pytest.raises(ValueError, match="an observed value is finite"):
        generator.ingest([first | {"f": 1.0, "t": float("inf")}])
    generator.ingest([first, {"x": 0.1}, second | {"f": 1.0, "t": 20.0}, {"x": 0.2}])
    assert states(generator) == ["failed", "interrupted", "failed", "finished", "failed"]
    assert generator.get_best_points()[0][0] == second["_id"]
    generator.ingest([{"x": 0.3}])
    generator.suggest(3)


def test_default_values_in_another_context_are_not_tried_again() -> None:
    variables = {"x": ContinuousVariable(domain=[-1, 1], default_value=0.25), "t": "contextual"}
    generator = Generator(VOCS(variables=variables, objectives=F))
    xs = []
    for temperature in (5.0, 6.0, 7.0):
        [point] = generator.suggest(1)
        xs.append(point["x"])
        generator.ingest([point | {"f": 1.0, "t": temperature}])
    assert xs[0] == 0.25 and 0.25 not in xs[1:]
