"""Steering by limits, by other metrics, and by time: through the tuner, as a study does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from autotune.objective import Evaluation, Metric, Status, Value
from autotune.problem.goals import SECONDS, Aims, Limit, non_dominated
from autotune.problem.space import Dimension, Floats, Space
from autotune.search.tuner import Search, Trial, Tuner
from autotune.store.records import TrialRecord, front_of
from autotune.store.trials import TrialStore
from autotune.surrogate.model.history import History
from autotune.surrogate.numerics import quiet_and_seeded
from autotune.surrogate.propose.steering import keeping, steer

SPACE = Space((Dimension("x"), Dimension("y"), Dimension("z")))
PLANE = Space(SPACE.dimensions[:2])
VALUE = Metric("value", "maximize")
COST = Metric("cost", "minimize")
REFERENCE = (0.55, -0.45)

Evaluate = Callable[[Mapping[str, Value]], Evaluation]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'trials.db'}"


def tuner(url: str, space: Space, aims: Aims, sampler: str = "gp", seed: int = 0) -> Tuner:
    return Tuner(TrialStore.create(url, f"{sampler}-{seed}", VALUE, {}), space, VALUE, Search(sampler, seed, aims=aims))


def run(made: Tuner, trials: int, evaluate: Evaluate) -> list[TrialRecord]:
    while len(made.counted()) < trials:
        trial = made.ask()
        made.tell(trial, evaluate(trial.values))
    return made.counted()


def two_bowls(values: Mapping[str, Value], *, slopes: bool = False) -> Evaluation:
    """The best value is at x = 0.2, the least cost at x = 0.8; the front is between, at y = 0.35, z = 0.7."""
    x, y, z = (float(values[name]) for name in "xyz")
    away = (y - 0.35) ** 2 + (z - 0.7) ** 2
    metrics = {"value": 1 - (x - 0.2) ** 2 - away, "cost": (x - 0.8) ** 2 + away}
    slope = {"x": -2 * (x - 0.2), "y": -2 * (y - 0.35), "z": -2 * (z - 0.7)}
    return Evaluation(Status.COMPLETE, metrics, slope if slopes else {})


def hypervolume(points: Floats) -> float:
    """Area between two metrics' front, larger is better, and REFERENCE."""
    above = points[(points > REFERENCE).all(axis=1)]
    front = above[non_dominated(above)]
    front = front[np.argsort(-front[:, 0])]
    floors = np.concatenate([[REFERENCE[1]], front[:-1, 1]])
    return float(((front[:, 0] - REFERENCE[0]) * (front[:, 1] - floors)).sum())


def enclosed(trials: list[TrialRecord]) -> float:
    return hypervolume(np.array([[t.metrics["value"], -t.metrics["cost"]] for t in trials]))


def whole() -> float:
    x = np.linspace(0.2, 0.8, 2001)
    return hypervolume(np.column_stack([1 - (x - 0.2) ** 2, -((x - 0.8) ** 2)]))


@pytest.mark.slow
@pytest.mark.parametrize("slopes", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_front_is_found_far_better_than_at_random(slopes: bool, url: str) -> None:
    aims = Aims(against=(COST,))
    steered = run(tuner(url, SPACE, aims), 25, lambda values: two_bowls(values, slopes=slopes))
    at_random = run(tuner(url, SPACE, Aims(), "random"), 25, two_bowls)
    assert whole() - enclosed(steered) < 0.2 * (whole() - enclosed(at_random))
    assert whole() - enclosed(steered) < 0.05 * whole()
    front = front_of(steered, [VALUE, COST])
    assert min(float(t.values["x"]) for t in front) < 0.4 and max(float(t.values["x"]) for t in front) > 0.6
    assert all(trial.expected_improvement is None for trial in steered)


@pytest.mark.slow
def test_several_trials_of_a_front_asked_together_are_apart(url: str) -> None:
    made = tuner(url, SPACE, Aims(against=(COST,)))
    run(made, 8, two_bowls)
    points = np.array([SPACE.to_unit(made.ask().values) for _ in range(3)])
    gaps = np.abs(points[:, None] - points[None]).max(axis=-1)[np.triu_indices(3, 1)]
    assert gaps.min() > 0.01


@pytest.mark.slow
def test_value_is_weighed_against_seconds(url: str) -> None:
    def slow_where_good(values: Mapping[str, Value]) -> Evaluation:
        x, y = float(values["x"]), float(values["y"])
        return Evaluation(Status.COMPLETE, {"value": x - (y - 0.4) ** 2}, seconds=10 ** (2 * x))

    trials = run(tuner(url, PLANE, Aims(against=(SECONDS,))), 16, slow_where_good)
    front = front_of(trials, [VALUE, SECONDS])
    assert front[0].seconds > 80 and front[-1].seconds < 1.5
    assert len(front) >= 6
    assert np.median([abs(float(t.values["y"]) - 0.4) for t in front]) < 0.1


def narrow(values: Mapping[str, Value]) -> Evaluation:
    """The value rises with x, and so does the strain, which ends what is allowed at x = 0.5 (at y = 0.3)."""
    x, y = float(values["x"]), float(values["y"])
    return Evaluation(Status.COMPLETE, {"value": x - (y - 0.3) ** 2, "strain": x + 2 * (y - 0.3) ** 2})


@pytest.mark.slow
def test_a_limit_is_approached_from_inside(url: str) -> None:
    limit = Limit("strain", below=0.5)
    steered = tuner(url, PLANE, Aims(limits=(limit,)))
    trials = run(steered, 18, narrow)
    assert steered.best is not None and 0.49 < steered.best.metrics["value"] <= 0.5
    blind = run(tuner(url, PLANE, Aims(), seed=1), 18, narrow)
    kept = [sum(limit.kept_by(t.reported) for t in of) for of in (trials, blind)]
    assert kept[0] >= 2 * kept[1]


@pytest.mark.slow
def test_while_no_trial_keeps_the_limits_the_search_looks_for_one(url: str) -> None:
    # Kept in a twentieth of the plane, away from where the value is high.
    def evaluate(values: Mapping[str, Value]) -> Evaluation:
        x, y = float(values["x"]), float(values["y"])
        return Evaluation(Status.COMPLETE, {"value": x + y, "distance": math.hypot(x - 0.1, y - 0.15)})

    made = tuner(url, PLANE, Aims(limits=(Limit("distance", below=0.12),)), seed=3)
    trials = run(made, 14, evaluate)
    first = next(i for i, t in enumerate(trials) if t.metrics["distance"] < 0.12)
    assert first >= 4  # the starting sequence had none
    assert trials[first].expected_improvement is None
    assert trials[-1].expected_improvement is not None
    assert made.best is not None and made.best.metrics["value"] > 0.4  # 0.42 can be had


def test_a_limit_on_a_metric_that_nothing_reports_leaves_the_search_running(url: str) -> None:
    made = tuner(url, PLANE, Aims(limits=(Limit("unheard_of", below=1.0),)))
    assert len(run(made, 6, narrow)) == 6 and made.best is None


@pytest.mark.slow
def test_seconds_turn_the_search_to_where_trials_are_quick(url: str, tmp_path: Path) -> None:
    # Two equal peaks; trials at one take a hundred times as long.
    def evaluate(values: Mapping[str, Value]) -> Evaluation:
        x, y = float(values["x"]), float(values["y"])
        value = max(math.exp(-20 * ((x - c) ** 2 + (y - 0.5) ** 2)) for c in (0.2, 0.8))
        return Evaluation(Status.COMPLETE, {"value": value}, seconds=100.0 if x > 0.5 else 1.0)

    spent = {}
    for per_second in (True, False):
        made = tuner(f"sqlite:///{tmp_path / f'{per_second}.db'}", PLANE, Aims(per_second=per_second), seed=2)
        spent[per_second] = sum(t.seconds for t in run(made, 16, evaluate)[4:])
        assert made.best is not None and made.best.metrics["value"] > 0.98
    assert spent[True] < 0.5 * spent[False]


def test_time_that_no_trial_told_changes_nothing(tmp_path: Path) -> None:
    proposals = []
    for per_second in (True, False):
        made = tuner(f"sqlite:///{tmp_path / f'{per_second}.db'}", PLANE, Aims(per_second=per_second))
        proposals.append([dict(t.values) for t in run(made, 6, narrow)])
    assert proposals[0] == proposals[1]


def history(n: int = 12) -> History:
    X = np.random.default_rng(0).random((n, 2))
    reports = tuple({"strain": float(x[0]), "seconds": float(np.exp(3 * x[1]))} for x in X)
    return History(X, X.sum(axis=1), np.zeros((0, 2)), n, reports=reports)


def test_the_expected_improvement_counts_the_chance_of_keeping_the_limits() -> None:
    from autotune.surrogate.model.value_model import fit_history
    from autotune.surrogate.propose.acquisition_optimisation import Proposal

    known, aims = history(), Aims(limits=(Limit("strain", below=0.5),))
    assert keeping(aims.limits, known).tolist() == (known.X[:, 0] <= 0.5).tolist()
    with quiet_and_seeded(0):
        steering = steer(aims, fit_history(known, PLANE), known, PLANE, 1, seed=0)
        expected = [steering.expected_improvement(Proposal(np.array([x, 0.5]), 0.1)) for x in (0.3, 0.7)]
    assert expected[0] == pytest.approx(0.1, rel=0.05)
    assert expected[1] is not None and expected[1] < 0.005


def test_reports_go_with_their_trials() -> None:
    known = history(4)
    level = np.array([0, 1, 0, 1])
    mixed = History(known.X, known.y, known.pending, 4, level=level, reports=known.reports)
    assert mixed.of_levels(1).reported("strain").tolist() == known.X[[0, 2], 0].tolist()
    bare = History(known.X, known.y, known.pending, 4)
    joined = bare.joined(known, 1).reported("strain")
    assert np.isnan(joined[:4]).all() and joined[4:].tolist() == known.X[:, 0].tolist()


def test_a_stopped_trial_tells_only_how_long_a_full_one_takes(url: str) -> None:
    from autotune.search.trial_history import read_history

    made = tuner(url, PLANE, Aims())
    trial: Trial = made.ask()
    made.tell(trial, Evaluation(Status.COMPLETE, {"value": 1.0, "strain": 2.0}, seconds=8.0))
    stopped = Evaluation(Status.STOPPED, {"value": 0.1, "strain": 3.0}, curve={"value": [0.1]}, seconds=2.0, reason="-")
    made.tell(made.ask(), stopped, done=0.25)
    read = read_history(made.store.study, None, PLANE)
    assert read.reports[0] == {"value": 1.0, "strain": 2.0, "seconds": 8.0}
    assert [report.get("seconds") for report in read.reports[1:]] in ([], [8.0])
    assert all("strain" not in report for report in read.reports[1:])
