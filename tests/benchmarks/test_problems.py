from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from search_bench.calibrations import CALIBRATIONS, DRAWN, INSTRUMENT, ITERATIONS, SEARCHED, draw_truth
from search_bench.functions import FUNCTIONS
from search_bench.problem import Problem

PROBLEMS = {problem.name: problem for problem in (*FUNCTIONS, *CALIBRATIONS)}
BEST = {
    "branin": {"x0": math.pi, "x1": 2.275},
    "hartmann3": {"x0": 0.114614, "x1": 0.555649, "x2": 0.852547},
    "hartmann6": {"x0": 0.20169, "x1": 0.150011, "x2": 0.476874, "x3": 0.275332, "x4": 0.311652, "x5": 0.6573},
    "ackley5": {f"x{i}": 0.0 for i in range(5)},
    "valley4": {"x0": 0.35, "x1": 0.8 * 0.35**2 - 0.3, "x2": 0.14, "x3": -0.2},
    "mixed5": {"x0": 0.72, "x1": 0.24, "step": 10**-1.3, "modes": 9, "solver": "lsqml"},
}


@pytest.mark.parametrize("problem", FUNCTIONS, ids=lambda problem: problem.name)
def test_the_optimum_is_where_the_literature_has_it_and_nowhere_higher(problem: Problem) -> None:
    evaluate = problem.instance(0).evaluate
    assert problem.optimum is not None
    assert evaluate(BEST[problem.name]).value == pytest.approx(problem.optimum, abs=2e-6)
    random = np.random.default_rng(0)
    around = problem.space.to_unit(BEST[problem.name])
    far = random.uniform(size=(50, problem.space.width))
    near = np.clip(around + random.normal(0, 0.01, size=(50, problem.space.width)), 0, 1)
    values = [evaluate(problem.space.from_unit(point)).value for point in (*far, *near)]
    assert max(values) <= problem.optimum + 1e-9


# Computed by an independent implementation of the same formulas, at ordinary points.
ELSEWHERE = {
    "branin": ((1.0, 4.0), -15.47709507916227),
    "hartmann3": ((0.2, 0.5, 0.7), 2.386394361567251),
    "hartmann6": ((0.1, 0.2, 0.5, 0.3, 0.4, 0.6), 2.7588749132034858),
    "ackley5": ((1.5, -2.0, 3.3, 0.4, 7.0), -12.086895058320449),
    "valley4": ((0.5, 0.2, -0.3, 0.4), -1.96050238528163),
    "mixed5": ((0.3, 0.6, 0.01, 4, "dm"), -0.5066335052299928),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_functions_are_the_known_ones_elsewhere_too(name: str) -> None:
    point, value = ELSEWHERE[name]
    values = dict(zip(PROBLEMS[name].space.names, point, strict=True))
    assert PROBLEMS[name].instance(0).evaluate(values).value == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("problem", FUNCTIONS, ids=lambda problem: problem.name)
def test_gradients_are_those_of_the_values(problem: Problem) -> None:
    evaluate = problem.instance(0).evaluate
    random = np.random.default_rng(1)
    for point in random.uniform(0.1, 0.9, size=(3, problem.space.width)):
        values = problem.space.from_unit(point)
        gradient = evaluate(values).gradient
        assert set(gradient) == {d.name for d in problem.space.dimensions if d.type == "float"}
        for name, slope in gradient.items():
            x = float(values[name])
            step = 1e-5 * abs(x) + 1e-7
            up, down = (evaluate({**values, name: x + sign * step}).value for sign in (1, -1))
            assert slope == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-5)


def test_where_there_is_no_slope_none_is_told() -> None:
    assert PROBLEMS["ackley5"].instance(0).evaluate(BEST["ackley5"]).gradient == {}


def test_the_calibrations_are_those_of_the_demo() -> None:
    demo = YAML(typ="safe").load(Path(__file__).resolve().parents[2] / "studies" / "demo.yaml")
    simulate = demo["objective"]["simulate"]
    assert {name: simulate[name] for name in INSTRUMENT} == INSTRUMENT
    assert {name: tuple(drawn) for name, drawn in simulate["mismatch"].items()} == DRAWN
    assert {name: (demo["parameters"][name]["low"], demo["parameters"][name]["high"]) for name in SEARCHED} == SEARCHED
    assert demo["parameters"]["iterations"] == ITERATIONS


def test_no_truth_lies_in_the_middle_of_what_is_searched() -> None:
    truths = [draw_truth(tuple(SEARCHED), seed) for seed in range(40)]
    for name, (low, high) in SEARCHED.items():
        drawn = [truth[name] for truth in truths]
        assert all(DRAWN[name][0] <= value <= DRAWN[name][1] for value in drawn)
        assert min(abs(value - (low + high) / 2) for value in drawn) >= 0.05 * (high - low)
    assert draw_truth(tuple(SEARCHED), 3) == truths[3]
    assert all(a != b for a, b in pairwise(truths))


@pytest.mark.slow
@pytest.mark.parametrize("problem", CALIBRATIONS, ids=lambda problem: problem.name)
def test_a_calibration_is_best_near_its_truth(problem: Problem) -> None:
    instance = problem.instance(1)
    settings = {"solver": "lsqml", "object_step": 0.7, "batch_size": 24, "probe_start": 6}
    rest = {name: value for name, value in settings.items() if name in problem.space.names}
    at_truth = instance.evaluate({**rest, **instance.truth})
    off = {name: 0.5 * (value + SEARCHED[name][1]) for name, value in instance.truth.items()}
    assert at_truth.value > instance.evaluate({**rest, **off}).value + 10 * problem.target
    assert at_truth.value < 1.01 * instance.scale < 1  # an object with its own freedom fits some noise, too
    mismatch = {d.name for d in problem.space.dimensions if d.kind == "mismatch"}
    # Once the probe itself is an unknown, the defocus has no gradient.
    assert set(at_truth.gradient) == (mismatch if problem.name == "calibration6" else mismatch - {"defocus"})
