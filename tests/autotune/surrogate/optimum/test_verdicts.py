"""What is said of each parameter: by the model of an analytic metric, and at the end of whole searches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from autotune.objective import Evaluation, Metric, Status, Value
from autotune.problem.space import Dimension, Floats, Space
from autotune.results.posterior import find_answer
from autotune.runs.stopping import Ending
from autotune.search.tuner import Search, Tuner
from autotune.store.trials import TrialStore
from autotune.study.blocks.budget import BudgetSpec
from autotune.surrogate.model.history import History
from autotune.surrogate.numerics import quiet_and_seeded
from autotune.surrogate.optimum.optimum import Again, Optimum, find_optimum
from autotune.surrogate.optimum.verdicts import CORRELATED
from autotune.surrogate.propose.first_points import sobol

SPACE = Space(tuple(Dimension(name, low=-1.0, high=1.0, differentiable=True) for name in "xy"))
TOP = np.array([0.3, -0.2])

Function = Callable[[Floats], tuple[float, Floats]]
"""A point in the parameters' units -> the value and its slopes."""


def quadratic(curvature: Floats, top: Floats = TOP) -> Function:
    def value(v: Floats) -> tuple[float, Floats]:
        return -0.5 * float((v - top) @ curvature @ (v - top)), -curvature @ (v - top)

    return value


def noise(covariance: Floats, names: str = "xy") -> Again:
    """Six repetitions, whose scores have this covariance."""

    def again(values: Mapping[str, Value], steps: Mapping[str, float]) -> list[dict[str, float]]:
        normal = np.random.default_rng(1).normal(size=(6, len(covariance)))
        return [dict(zip(names, map(float, row), strict=True)) for row in normal @ np.linalg.cholesky(covariance).T]

    return again


def optimum(
    function: Function, again: Again | None, count: int = 16, points: Floats | None = None, checked: bool = False
) -> Optimum:
    """What is found from values and slopes at points spread over the range, or at those given in the cube."""

    def check(values: Mapping[str, Value]) -> tuple[float, dict[str, float]]:
        value, slopes = function(np.array([values["x"], values["y"]], dtype=np.float64))
        return value, dict(zip("xy", map(float, slopes), strict=True))

    U = sobol(count, 2, seed=3) if points is None else points
    told = [function(2 * u - 1) for u in U]
    y, slopes = np.array([value for value, _ in told]), 2 * np.array([slope for _, slope in told])
    with quiet_and_seeded(0):
        return find_optimum(
            History(U, y, np.zeros((0, 2)), len(U), slopes),
            SPACE,
            1,
            1,
            seed=0,
            again=again,
            check=check if checked else None,
        )


def kinds(answer: Optimum) -> dict[str, str]:
    return {name: verdict.kind for name, verdict in answer.verdicts.items()}


ROUND = np.diag([3.0, 2.0])
QUIET = np.diag([1e-4, 1e-4])


def test_identified_where_the_interval_covers_noise() -> None:
    answer = optimum(quadratic(ROUND), noise(QUIET))
    assert kinds(answer) == {"x": "identified", "y": "identified"}
    assert answer.noisy == {"x", "y"}


def test_nothing_is_said_where_the_noise_is_not_known() -> None:
    assert optimum(quadratic(ROUND), None).verdicts == {}
    only_x = optimum(quadratic(ROUND), noise(np.array([[1e-4]]), "x"))
    assert kinds(only_x) == {"x": "identified"} and only_x.noisy == {"x"}


def test_one_repetition_is_not_enough_to_know_it() -> None:
    def once(values: Mapping[str, Value], steps: Mapping[str, float]) -> list[dict[str, float]]:
        return noise(QUIET)(values, steps)[:1]

    answer = optimum(quadratic(ROUND), once)
    assert answer.verdicts == {} and answer.noisy == frozenset()


def test_flat_where_noise_alone_moves_it_over_the_range() -> None:
    """It depends on y, a little: by 0.1 over the range; but noise is larger."""
    function = quadratic(np.diag([3.0, 0.1]))
    assert kinds(optimum(function, noise(np.diag([1e-4, 1e-6])))) == {"x": "identified", "y": "identified"}
    answer = optimum(function, noise(np.diag([1e-4, 1e-2])), checked=True)
    assert kinds(answer) == {"x": "identified", "y": "flat"}
    low, high = answer.intervals["y"]
    assert high - low > 1.6


def test_at_the_bound_with_noise() -> None:
    answer = optimum(quadratic(ROUND, np.array([0.3, 1.6])), noise(QUIET))
    assert kinds(answer) == {"x": "identified", "y": "at_bound"}
    assert answer.values["y"] == pytest.approx(1.0)
    assert "y" not in answer.noisy and answer.intervals["y"] == (1.0, 1.0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_correlated_along_a_valley(sign: float) -> None:
    """Known across it, to 0.014; along it, to 0.2 only."""
    along, across = np.array([1.0, sign]) / np.sqrt(2), np.array([1.0, -sign]) / np.sqrt(2)
    curvature = 0.5 * np.outer(along, along) + 100.0 * np.outer(across, across)
    answer = optimum(quadratic(curvature), noise(0.02 * curvature), count=30)
    x, y = answer.verdicts["x"], answer.verdicts["y"]
    assert (x.kind, x.other, y.kind, y.other) == ("correlated", "y", "correlated", "x")
    assert x.coefficient is not None and sign * x.coefficient > CORRELATED and x.coefficient == y.coefficient
    assert x.coefficient == pytest.approx(answer.correlations[0, 1])


def test_a_valley_as_long_as_the_range_is_correlated_rather_than_flat() -> None:
    along, across = np.array([1.0, 1.0]) / np.sqrt(2), np.array([1.0, -1.0]) / np.sqrt(2)
    curvature = 0.5 * np.outer(along, along) + 100.0 * np.outer(across, across)
    answer = optimum(quadratic(curvature, np.zeros(2)), noise(2.0 * curvature), count=30)
    assert np.ptp(answer.intervals["x"]) > 0.8 * 2
    assert kinds(answer) == {"x": "correlated", "y": "correlated"}


PEAK = 0.55


def two_peaks(higher: float) -> Function:
    """Maxima at x = +-0.55, the one on the right higher by ``higher``; y matters alike."""

    def value(v: Floats) -> tuple[float, Floats]:
        heights = np.array([1.0, 1.0 - higher])
        off = v[0] - np.array([PEAK, -PEAK])
        bumps = heights * np.exp(-6 * off**2)
        slope = float((bumps * -12 * off).sum())
        return float(bumps.sum()) - v[1] ** 2, np.array([slope, -2 * v[1]])

    return value


SIDES = {"both": sobol(30, 2, seed=3), "right": sobol(30, 2, seed=3) * [0.45, 1.0] + [0.55, 0.0]}
SOME = np.diag([1e-2, 1e-2])
"""With it a metric that is lower by about 0.004 is one that noise makes in one of ten measurements."""


@pytest.mark.parametrize(
    ("higher", "explored", "verdict"),
    [(0.0, "both", "sign_not_identifiable"), (0.3, "both", "identified"), (0.0, "right", "identified")],
)
def test_the_sign_is_not_known_where_both_sides_are_as_good_and_both_were_seen(
    higher: float, explored: str, verdict: str
) -> None:
    answer = optimum(two_peaks(higher), noise(SOME), points=SIDES[explored])
    assert abs(float(answer.values["x"])) == pytest.approx(PEAK, abs=0.02)
    assert kinds(answer) == {"x": verdict, "y": "identified"}


def test_nothing_is_said_of_a_sign_that_the_search_itself_does_not_know_so_well() -> None:
    """Both sides are as good, but how much so is known less well than a tenth of the noise."""
    answer = optimum(two_peaks(0.0), noise(SOME / 10), points=SIDES["both"])
    assert kinds(answer) == {"x": "identified", "y": "identified"}


def test_of_a_difference_that_noise_explains_the_sign_is_not_known() -> None:
    """Lower by 0.012, three times what the smaller noise explains, half of what the larger one does."""
    answer = [optimum(two_peaks(0.012), noise(covariance), points=SIDES["both"]) for covariance in (SOME, 6 * SOME)]
    assert [kinds(each)["x"] for each in answer] == ["identified", "sign_not_identifiable"]


def test_whose_interval_holds_zero_has_no_sign() -> None:
    """An even metric with its one maximum at zero, or nearly."""
    answer = optimum(quadratic(ROUND, np.array([0.004, 0.3])), noise(QUIET))
    assert kinds(answer) == {"x": "identified", "y": "identified"}


METRIC = Metric("m", "maximize")
SIDE = 1.5
"""Where the metric of ``edge`` has its maximum, of a range that ends at 1."""


class Analytic:
    """A metric of x (a hill), edge (rising to one end of its range) and a dummy, on a measurement with noise.

    Noise adds a slope to the metric along x and edge, and along the dummy, whose derivative is nothing else. Where
    evaluations are rough, each has noise of its own.
    """

    names = ("x", "edge", "dummy")

    def __init__(self, seed: int, scores: Mapping[str, float], rough: bool) -> None:
        self._random = np.random.default_rng(seed)
        self.top = float(self._random.uniform(-0.5, 0.5))
        self.side = SIDE * float(self._random.choice((-1.0, 1.0)))
        self._scores, self._rough = scores, rough
        self._tilt = {name: self._random.normal() * scores.get(name, 0.0) for name in self.names}

    def value(self, v: Mapping[str, Any], tilt: Mapping[str, float]) -> tuple[float, dict[str, float]]:
        hill = float(np.exp(-3 * (v["x"] - self.top) ** 2))
        value = hill - 0.2 * (v["edge"] - self.side) ** 2 + sum(tilt[name] * v[name] for name in self.names)
        slopes = {"x": -6 * (v["x"] - self.top) * hill, "edge": -0.4 * (v["edge"] - self.side), "dummy": 0.0}
        return value, {name: slopes[name] + tilt[name] for name in self.names}

    def evaluate(self, v: Mapping[str, Any]) -> tuple[float, dict[str, float]]:
        value, slopes = self.value(v, self._tilt)
        rough = 1e-4 * self._rough
        return (
            value + rough * self._random.normal(),
            {name: slope + 10 * rough * self._random.normal() for name, slope in slopes.items()},
        )

    def again(self, values: Mapping[str, Value], steps: Mapping[str, float]) -> list[dict[str, float]]:
        """Scores on six repetitions of a measurement for which ``values`` are right: noise alone."""
        return [{n: self._random.normal() * self._scores.get(n, 0.0) for n in self.names} for _ in range(6)]


def tuned(folder: Path, analytic: Analytic, seed: int, gradients: bool, known: bool) -> dict[str, Any]:
    """The parameters of the answer of a search through its end."""
    space = Space(tuple(Dimension(n, low=-1.0, high=1.0, differentiable=gradients) for n in analytic.names))
    store = TrialStore.create(f"sqlite:///{folder / 'trials.db'}", "s", METRIC, {})
    tuner = Tuner(store, space, METRIC, Search("gp", seed=seed))
    ending = Ending(BudgetSpec(trials=12 if gradients else 18), "m", by_model=True)
    while not (coming := ending.after(tuner.counted(), 0.0, tuner.expects)).reason:
        trial = tuner.ask(finish=coming.finish)
        value, slopes = analytic.evaluate(trial.values)
        tuner.tell(trial, Evaluation(Status.COMPLETE, {"m": value}, gradient=slopes if gradients else {}))
    answer = find_answer(
        store, space, METRIC, seed=seed, again=analytic.again if known else None, check=analytic.evaluate
    )
    assert answer is not None
    parameters: dict[str, Any] = answer.as_dict()["parameters"]
    return parameters


@pytest.fixture
def quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


NOISE = {"x": 0.02, "edge": 0.01}
CASES = {
    # name: (standard deviations of scores, evaluations are rough, with gradients, whether the noise is known)
    "exact": ({}, False, True, False),
    "rough": ({}, True, True, False),
    "values": ({}, False, False, False),
    "rough values": ({}, True, False, False),
    "noise": (NOISE, False, True, True),
    "noise, rough": (NOISE, True, True, True),
    "noise along the dummy, too": (NOISE | {"dummy": 0.01}, False, True, True),
}


def assert_known(case: str, seed: int, folder: Path) -> None:
    """The dummy is flat, edge at its bound, and x what it is."""
    scores, rough, gradients, known = CASES[case]
    analytic = Analytic(seed, scores, rough)
    parameters = tuned(folder, analytic, seed, gradients, known)
    verdicts = {name: parameter["verdict"] for name, parameter in parameters.items()}
    assert verdicts == {"x": "identified" if known else None, "edge": "at_bound", "dummy": "flat"}
    assert parameters["edge"]["estimate"] == pytest.approx(np.sign(analytic.side), abs=0.01)
    low, high = parameters["dummy"]["interval"]
    assert high - low > 0.8 * 2
    assert parameters["x"]["estimate"] == pytest.approx(analytic.top, abs=0.05)


def test_at_the_end_of_a_search_the_dummy_is_flat_and_an_optimum_outside_at_the_bound(
    tmp_path: Path, quiet: None
) -> None:
    """With noise along the dummy that is four times what the repetitions happen to scatter by."""
    assert_known("noise along the dummy, too", 9, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "seed"),
    [(case, seed) for case in CASES for seed in range(10 if case in ("rough values", "noise, rough") else 2)],
)
def test_in_ten_of_ten_searches(case: str, seed: int, tmp_path: Path, quiet: None) -> None:
    assert_known(case, seed, tmp_path)


def test_what_noise_put_to_the_edge_is_not_at_its_bound() -> None:
    """The slope rises outwards by less than noise adds to it: the best value is inside, and the data fix it."""
    outside = quadratic(ROUND, np.array([-1.1, -0.2]))  # by 0.3 at the edge

    def biased(by: float) -> Again:
        def again(values: Mapping[str, Value], steps: Mapping[str, float]) -> list[dict[str, float]]:
            scattered = noise(np.diag([1e-3, 1e-3]))(values, steps)
            return [{"x": score["x"] - by, "y": score["y"]} for score in scattered]

        return again

    inside = optimum(outside, biased(1.2))
    assert kinds(inside) == {"x": "identified", "y": "identified"} and inside.values["x"] == pytest.approx(
        -0.7, abs=0.02
    )
    for by in (0.0, 0.28):  # surely beyond it, or within the noise of it
        assert kinds(optimum(outside, biased(by)))["x"] == "at_bound"


def test_nothing_is_repeated_that_would_say_nothing() -> None:
    """Without derivatives, of parameters that noise does not move: solver parameters, and what no data determine."""
    asked: list[Mapping[str, float]] = []

    def again(values: Mapping[str, Value], steps: Mapping[str, float]) -> list[dict[str, float]]:
        asked.append(steps)
        return []

    U = sobol(16, 2, seed=3)
    y = np.array([quadratic(ROUND)(2 * u - 1)[0] for u in U])
    for kind, ambiguous, steps in (("solver", {}, []), ("mismatch", {"x": "the probe"}, [{"y"}])):
        space = Space(tuple(Dimension(name, low=-1.0, high=1.0, kind=kind) for name in "xy"))  # type: ignore[arg-type]
        asked.clear()
        with quiet_and_seeded(0):
            find_optimum(History(U, y, np.zeros((0, 2)), len(U)), space, 1, 1, seed=0, again=again,
                         ambiguous=lambda values, made_up=ambiguous: made_up)  # fmt: skip
        assert [set(step) for step in asked] == steps
