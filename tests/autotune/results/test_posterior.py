"""The answer of a study as data: what is kept, what a result shows of it, and when it is out of date."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from autotune.home import Home
from autotune.objective import Evaluation, Metric, Status
from autotune.problem.space import Dimension, Space
from autotune.results.build import build_result
from autotune.results.posterior import FEWEST_TRIALS, find_answer
from autotune.store.records import LEVEL
from autotune.store.trials import TrialStore
from autotune.surrogate.propose.first_points import sobol

pytestmark = pytest.mark.usefixtures("in_memory")

SPACE = Space(
    (
        Dimension("shift", "angstrom", low=-2.0, high=2.0),
        Dimension("tilt", "degree", low=-10.0, high=10.0),
        Dimension("edge", "mrad", low=1.0, high=3.0),
    )
)


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def quality(values: dict[str, Any]) -> float:
    """Best at shift 0.7, tilt -3, and the highest edge."""
    return float(1 - (values["shift"] - 0.7) ** 2 - ((values["tilt"] + 3) / 10) ** 2 + 0.3 * values["edge"])


def add(store: TrialStore, metric: Metric, count: int, *, seed: int = 0, level: int = 0, offset: float = 0.0) -> None:
    """Finished trials spread over the space."""
    sign = 1.0 if metric.goal == "maximize" else -1.0
    for u in sobol(count, 3, seed=seed):
        values = SPACE.from_unit(u)
        store.study.enqueue_trial(values)
        trial = store.study.ask(SPACE.distributions())
        if level:
            trial.set_user_attr(LEVEL, level)
        value = sign * (quality(values) + offset)
        store.tell(trial.number, Evaluation(Status.COMPLETE, {metric.name: value}), value, 0.2 if level else 1.0)


def study(home: Home, name: str = "s", goal: Any = "maximize", count: int = 25) -> tuple[TrialStore, Metric]:
    metric = Metric("q", goal)
    facts = {"metric": dataclasses.asdict(metric), "space": SPACE.as_dict(), "seed": 4}
    store = TrialStore.create(home.store_url, name, metric, facts)
    add(store, metric, count)
    return store, metric


def answer(store: TrialStore, metric: Metric, **named: Any) -> dict[str, Any]:
    found = find_answer(store, SPACE, metric, seed=0, **named)
    assert found is not None
    return found.as_dict()


@pytest.mark.parametrize(("goal", "sign"), [("maximize", 1.0), ("minimize", -1.0)])
def test_what_the_answer_holds(goal: Any, sign: float, home: Home) -> None:
    store, metric = study(home, goal=goal)
    found = answer(store, metric)
    assert found == json.loads(json.dumps(found, allow_nan=False))
    assert (found["trials"], found["level"]) == (25, 0.9)
    assert found["metric"]["estimate"] == pytest.approx(sign * 1.9, abs=0.02)
    assert 0 < found["metric"]["deviation"] < 0.1
    shift, tilt, edge = (found["parameters"][name] for name in SPACE.names)
    assert shift["estimate"] == pytest.approx(0.7, abs=0.05) and tilt["estimate"] == pytest.approx(-3, abs=0.5)
    for parameter in (shift, tilt):
        assert parameter["interval"][0] <= parameter["estimate"] <= parameter["interval"][1]
        assert (parameter["verdict"], parameter["note"], parameter["choices"]) == (None, None, None)
    assert edge["verdict"] == "at_bound"
    assert edge["note"] == "the best value is at the upper end of the range (3 mrad): extend the range upwards"
    assert shift["sensitivity"]["main"] > tilt["sensitivity"]["main"] > 0
    assert set(found["correlations"]) == set(found["samples"]) == set(SPACE.names)
    assert found["correlations"]["shift"]["edge"] == 0.0
    samples = np.array(found["samples"]["shift"])
    tails = np.percentile(samples, [5, 95])
    # The samples that are kept are some of those that the interval is of.
    low, high = shift["interval"]
    np.testing.assert_allclose(tails, [low, high], atol=0.1 * (high - low))


def test_too_few_trials_say_nothing(home: Home) -> None:
    """And nothing is imported for it, which would take seconds."""
    store, metric = study(home, count=FEWEST_TRIALS - 1)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("numerics", "optimum.intervals", "optimum.optimum"):
            patch.setitem(sys.modules, f"autotune.surrogate.{module}", None)  # an import fails
        assert find_answer(store, SPACE, metric, seed=0) is None
    add(store, metric, 1, seed=5)
    assert find_answer(store, SPACE, metric, seed=0) is not None


@pytest.mark.parametrize("other", ["cheap", "source", "stopped"])
def test_a_result_shows_the_answer_whatever_else_it_rests_on(other: str, home: Home) -> None:
    """An earlier study's trials, cheap ones, and stopped ones teach the model; they do not make the answer old."""
    store, metric = study(home, count=8)
    options: dict[str, Any] = {}
    if other == "cheap":
        add(store, metric, 20, seed=3, level=1, offset=-0.5)
        options = {"own_levels": 2}
    elif other == "source":
        options = {"sources": (study(home, "earlier", count=20)[0],)}
    else:
        trial = store.study.ask(SPACE.distributions())
        evaluation = Evaluation(Status.STOPPED, {"q": 0.1}, curve={"q": [0.1]}, reason="stopped by the caller")
        store.tell(trial.number, evaluation, None, 0.5, heading_for=0.3)
    found = answer(store, metric, **options)
    store.keep(answer={key: part for key, part in found.items() if key != "samples"})
    result = build_result(store, home, live=False)
    assert result.metric.estimate == found["metric"]["estimate"]
    assert result.metric.deviation == found["metric"]["deviation"]
    assert result.correlations == found["correlations"]
    for name, parameter in result.as_dict()["parameters"].items():
        kept = found["parameters"][name]
        assert {key: parameter[key] for key in ("estimate", "interval", "verdict", "choices", "sensitivity")} == {
            key: kept[key] for key in ("estimate", "interval", "verdict", "choices", "sensitivity")
        }
        assert parameter["level"] == 0.9
    spread = {"cheap": 20 * 0.2, "source": 0.0, "stopped": 0.5}[other]
    assert result.cost.reconstruction_equivalents == pytest.approx(8 + spread)


def test_an_answer_of_fewer_trials_is_left_out(home: Home) -> None:
    """While a study that was extended runs, or after its process died."""
    store, metric = study(home, count=8)
    store.keep(answer=answer(store, metric))
    assert build_result(store, home, live=False).metric.estimate is not None
    add(store, metric, 1, seed=9)
    result = build_result(store, home, live=False)
    assert (result.metric.estimate, result.metric.deviation, result.correlations) == (None, None, None)
    for parameter in result.as_dict()["parameters"].values():
        unknown = ("estimate", "interval", "level", "verdict", "note", "choices", "sensitivity")
        assert {parameter[key] for key in unknown} == {None}
        assert parameter["best"] is not None


def test_cheap_trials_are_no_best_ones(home: Home) -> None:
    store, metric = study(home, count=4)
    best = build_result(store, home, live=False).metric.best
    add(store, metric, 6, seed=3, level=1, offset=50.0)
    result = build_result(store, home, live=False)
    assert result.metric.best == best < 10 and result.best_trial < 4
    assert not math.isclose(answer(store, metric, own_levels=2)["metric"]["estimate"], 50.0, rel_tol=0.5)


DRIFT = {"shift": 0.02, "tilt": 0.004, "edge": 0.01}
"""Standard deviations of the derivatives on repeated measurements, per unit; their mean is half of it."""


def repeated(sign: float, tuned: tuple[str, ...] = SPACE.names) -> Any:
    """Derivatives of the metric itself, whichever way is better."""

    def again(values: dict[str, Any], steps: dict[str, float]) -> list[dict[str, float]]:
        normal = np.random.default_rng(0).normal(size=(6, 3))
        drawn = [dict(zip(SPACE.names, map(float, row), strict=True)) for row in normal - normal.mean(axis=0) + 0.5]
        return [{name: sign * row[name] * DRIFT[name] for name in tuned} for row in drawn]

    return again


@pytest.mark.parametrize(("goal", "sign"), [("maximize", 1.0), ("minimize", -1.0)])
def test_with_repeated_measurements_it_covers_noise_and_is_free_of_bias(goal: Any, sign: float, home: Home) -> None:
    """The mean of the scores over the curvature is taken off: 0.01 / 2 for shift, 0.002 / 0.02 for tilt."""
    store, metric = study(home, goal=goal)
    alone, found = answer(store, metric), answer(store, metric, again=repeated(sign))
    assert found == json.loads(json.dumps(found, allow_nan=False))
    for name, moved in (("shift", 0.005), ("tilt", 0.1)):
        with_noise, without = found["parameters"][name], alone["parameters"][name]
        assert with_noise["estimate"] - without["estimate"] == pytest.approx(-moved, rel=0.1)
        assert (with_noise["interval_of"], without["interval_of"]) == ("noise and search", "search")
        assert np.ptp(with_noise["interval"]) > 1.2 * np.ptp(without["interval"])
        assert with_noise["interval"][0] < with_noise["estimate"] < with_noise["interval"][1]
        half = np.ptp(with_noise["interval"]) / 2
        unit = SPACE.dimensions[SPACE.names.index(name)].unit
        assert with_noise["verdict"] == "identified"
        assert with_noise["note"] == f"these data fix it to within {half:.2g} {unit} (90 %)"
    edge = found["parameters"]["edge"]
    assert (edge["verdict"], edge["interval_of"], edge["estimate"]) == ("at_bound", "search", 3.0)
    assert found["metric"] == alone["metric"]


def test_of_some_parameters_no_derivative_is_known(home: Home) -> None:
    store, metric = study(home)
    found = answer(store, metric, again=repeated(1.0, ("shift",)))["parameters"]
    assert {name: found[name]["interval_of"] for name in SPACE.names} == {
        "shift": "noise and search", "tilt": "search", "edge": "search",
    }  # fmt: skip
    assert (found["shift"]["verdict"], found["tilt"]["verdict"]) == ("identified", None)


def test_too_few_repetitions_that_succeeded_say_nothing(home: Home) -> None:
    store, metric = study(home)
    alone = answer(store, metric)
    for count in (0, 1):
        assert answer(store, metric, again=lambda values, steps, n=count: repeated(1.0)(values, steps)[:n]) == alone


def test_it_is_repeated_once_at_the_answer_of_the_search(home: Home) -> None:
    store, metric = study(home)
    asked: list[dict[str, Any]] = []

    def again(values: dict[str, Any], steps: dict[str, float]) -> list[dict[str, float]]:
        asked.append(dict(values))
        return []

    found = answer(store, metric, again=again)
    (at,) = asked
    assert at == {name: found["parameters"][name]["estimate"] for name in SPACE.names}
