"""Stopping trials early: every pruner stops some on a toy with curves, which costs their share; the best one stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
from optuna.trial import Trial as OptunaTrial

from autotune.objective import Evaluation, Metric, Status
from autotune.problem.space import Dimension, Space
from autotune.search.pruners import Pruner, optuna_pruner
from autotune.search.trial_history import read_history
from autotune.search.tuner import Search, Trial, Tuner
from autotune.store.records import TrialRecord
from autotune.store.trials import TrialStore

pytestmark = pytest.mark.usefixtures("in_memory")

SPACE = Space((Dimension("shift", "angstrom", low=-2.0, high=2.0),))
ITERATIONS = 10
PRUNERS = [name for name in get_args(Pruner) if name != "none"]


def evaluate(trial: Trial, goes_on: Any, sign: float = 1.0) -> tuple[Evaluation, float]:
    """A curve that rises to 1 - (shift - 0.7)^2; and the share that was done."""
    end = 1 - (float(trial.values["shift"]) - 0.7) ** 2
    curve: list[float] = []
    for iteration in range(1, ITERATIONS + 1):
        curve.append(sign * (end - 0.3 * (0.8**iteration - 0.8**ITERATIONS)))
        if iteration < ITERATIONS and not goes_on(iteration, curve[-1]):
            stopped = Evaluation(Status.STOPPED, {"m": curve[-1]}, curve={"m": curve}, reason="stopped by the caller")
            return stopped, iteration / ITERATIONS
    return Evaluation(Status.COMPLETE, {"m": curve[-1]}, curve={"m": curve}), 1.0


def search(folder: Path, pruner: Pruner, goal: Any = "maximize", trials: int = 24, **named: Any) -> Tuner:
    sign = 1.0 if goal == "maximize" else -1.0
    options: dict[str, Any] = {"sampler": "random", "seed": 1, "pruner": pruner} | named
    metric = Metric("m", goal)
    store = TrialStore.create(f"sqlite:///{folder / 'trials.db'}", "s", metric, {})
    tuner = Tuner(store, SPACE, metric, Search(**options))
    for _ in range(trials):
        trial = tuner.ask()
        evaluation, done = evaluate(trial, tuner.watch(trial), sign)
        tuner.tell(trial, evaluation, done=done)
    return tuner


def stopped(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    return [record for record in records if record.state == "pruned"]


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
@pytest.mark.parametrize("pruner", PRUNERS)
def test_it_stops_trials_and_keeps_the_best(pruner: Pruner, goal: Any, tmp_path: Path) -> None:
    tuner = search(tmp_path, pruner, goal)
    records = tuner.counted()
    assert 3 <= len(stopped(records)) <= 22
    assert {record.state for record in records} == {"finished", "pruned"}
    for record in stopped(records):
        assert record.equivalents == len(record.curve["m"]) / ITERATIONS < 1
        assert record.reason == "stopped by the caller"
    assert all(record.equivalents == 1.0 for record in records if record.state == "finished")
    best = tuner.best
    assert best is not None and best.metrics["m"] == pytest.approx(best.curve["m"][-1])
    if pruner in ("curve", "median"):  # those of bands stop whatever a band has no room for
        assert best.number == min(records, key=lambda record: abs(float(record.values["shift"]) - 0.7)).number


def test_none_stops_nothing(tmp_path: Path) -> None:
    assert not stopped(search(tmp_path, "none", trials=12).counted())
    assert optuna_pruner("none") is None and optuna_pruner("curve") is None


def test_the_curve_needs_no_word_with_the_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An iteration may take a millisecond."""

    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError("a round trip to the storage")

    tuner = search(tmp_path, "curve", trials=8)
    trial = tuner.ask()
    goes_on = tuner.watch(trial)
    with monkeypatch.context() as patch:
        patch.setattr(OptunaTrial, "report", refuse)
        patch.setattr(TrialStore, "trials", refuse)
        assert [goes_on(iteration, -50.0) for iteration in (1, 2, 9)] == [False] * 3
        assert goes_on(1, 1.0)


def test_what_a_stopped_trial_was_heading_for_is_told_to_the_model(tmp_path: Path) -> None:
    """Its curve and the median gain of the others; without which its place would be as good as unknown."""
    tuner = search(tmp_path, "curve")
    records = tuner.counted()
    history = read_history(tuner.store.study, None, SPACE)
    ends = {float(record.values["shift"]): 1 - (float(record.values["shift"]) - 0.7) ** 2 for record in records}
    assert len(history.y) == len(records)
    for u, y in zip(history.X[:, 0], history.y, strict=True):
        shift = min(ends, key=lambda known: abs(known - (-2 + 4 * u)))
        assert y == pytest.approx(ends[shift], abs=1e-9)  # every curve of the toy has the same shape


def test_of_a_minimised_metric_too(tmp_path: Path) -> None:
    tuner = search(tmp_path, "curve", "minimize")
    assert stopped(tuner.counted())
    history = read_history(tuner.store.study, None, SPACE)  # larger is better
    best = tuner.best
    assert best is not None and history.y.max() == pytest.approx(-best.metrics["m"])


def test_curves_of_different_levels_are_not_compared(tmp_path: Path) -> None:
    """A cheap evaluation's metric is another one, and its curve is shorter."""
    tuner = search(tmp_path, "curve", trials=8)
    cheap = Trial(99, {"shift": 0.0}, 1, level=1)
    assert all(tuner.watch(cheap)(iteration, -1e9) for iteration in range(1, 10))


def test_a_cheap_one_that_is_stopped_costs_its_share_of_the_cheap_cost(tmp_path: Path) -> None:
    tuner = search(tmp_path, "curve", trials=0, sampler="gp", costs=(1.0, 0.25))
    trial = tuner.ask()
    assert trial.level == 1
    told = Evaluation(Status.STOPPED, {"m": 0.1}, curve={"m": [0.1]}, reason="stopped by the caller")
    assert tuner.tell(trial, told, done=0.5).equivalents == 0.125


@pytest.mark.parametrize("pruner", ["median", "percentile"])
def test_a_watch_prunes_though_other_trials_are_asked_for_meanwhile(pruner: Pruner, tmp_path: Path) -> None:
    """As with several workers: the next trial is asked for while this one runs."""
    tuner = search(tmp_path, pruner, trials=8)
    trial = tuner.ask()
    goes_on = tuner.watch(trial)
    other = tuner.ask()
    assert not goes_on(2, -50.0)
    best = max(record.curve["m"][1] for record in tuner.counted() if len(record.curve.get("m", ())) > 1)
    assert tuner.watch(other)(2, best + 1.0)


@pytest.mark.parametrize("pruner", ["none", *PRUNERS])
def test_asking_and_watching_leave_the_study_of_the_store_alone(pruner: Pruner, tmp_path: Path) -> None:
    tuner = search(tmp_path, pruner, trials=0)
    study = tuner.store.study
    before = study.sampler, study.pruner
    tuner.watch(tuner.ask())(1, 0.5)
    assert tuner.store.study is study and (study.sampler, study.pruner) == before


def test_a_pruner_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    tuner = search(tmp_path, "luck", trials=0)
    with pytest.raises(ValueError, match="no pruner is called 'luck'; pruners: none, curve, median"):
        tuner.watch(tuner.ask())
