"""The tuner as someone who embeds it uses it: ask, tell, best, and resuming what a dead process left."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from autotune.errors import InputError
from autotune.objective import Evaluation, Metric, Status
from autotune.problem.space import Dimension, Space
from autotune.search.trial_history import read_history
from autotune.search.tuner import Search, Trial, Tuner
from autotune.store.records import TrialRecord, best_of
from autotune.store.trials import TrialStore

pytestmark = pytest.mark.usefixtures("in_memory")

METRIC = Metric("consistency", "maximize")
SPACE = Space((Dimension("shift", "angstrom", low=-2.0, high=2.0), Dimension("rate", low=1e-3, high=1.0, log=True)))
STATED = Space((Dimension("shift", "angstrom", low=-2.0, high=2.0, initial=0.5), SPACE.dimensions[1]))


def evaluation(trial: Trial) -> Evaluation:
    shift = float(trial.values["shift"])
    return Evaluation(Status.COMPLETE, {"consistency": 1 - (shift - 0.7) ** 2}, gradient={"shift": 2 * (0.7 - shift)})


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'trials.db'}"


def tuner(url: str, space: Space = SPACE, sampler: str = "random", metric: Metric = METRIC) -> Tuner:
    """A tuner as a new process has it."""
    store = TrialStore.open(url, "s") or TrialStore.create(url, "s", metric, {})
    made = Tuner(store, space, metric, Search(sampler, seed=7))
    made.start()
    return made


def run(url: str, trials: int, **options: Any) -> list[dict[str, Any]]:
    made = tuner(url, **options)
    while len(made.counted()) < trials:
        trial = made.ask()
        made.tell(trial, evaluation(trial))
    return [dict(trial.values) for trial in made.counted()]


def test_a_search_in_four_lines_finds_the_optimum(url: str) -> None:
    run(url, 10, sampler="gp")
    best = tuner(url).best
    assert best is not None
    assert abs(float(best.values["shift"]) - 0.7) < 0.05


@pytest.mark.parametrize(("sampler", "lost"), [("gp", 4), ("qmc", 3), ("cmaes", 3), ("tpe", 3), ("random", 0)])
def test_a_trial_lost_with_its_process_is_proposed_again(sampler: str, lost: int, tmp_path: Path) -> None:
    expected = run(f"sqlite:///{tmp_path / 'undisturbed.db'}", 6, sampler=sampler, space=STATED)
    url = f"sqlite:///{tmp_path / 'disturbed.db'}"
    run(url, lost, sampler=sampler, space=STATED)
    asked = tuner(url, sampler=sampler, space=STATED).ask()  # the process ends here
    assert run(url, 6, sampler=sampler, space=STATED) == expected
    assert expected[0]["shift"] == 0.5
    assert asked.values == expected[lost]
    states = [trial.state for trial in tuner(url).store.trials()]
    assert states == lost * ["finished"] + ["interrupted"] + (6 - lost) * ["finished"]


def test_stated_values_are_queued_once(url: str) -> None:
    for _ in range(3):
        made = tuner(url, STATED)  # three processes that end before they ask
    assert made.ask().values["shift"] == 0.5
    assert made.ask().values["shift"] != 0.5


def test_stated_values_survive_an_end_in_the_middle_of_a_release(url: str) -> None:
    tuner(url, STATED).ask()
    store = TrialStore.open(url, "s")
    assert store is not None
    store.study.enqueue_trial(STATED.stated())  # the first half of a release; then that process ended too
    made = tuner(url, STATED)
    assert [trial.state for trial in made.store.trials()] == ["interrupted"]
    assert made.ask().values["shift"] == 0.5
    assert made.ask().values["shift"] != 0.5


def test_start_says_how_many_it_released(url: str) -> None:
    made = tuner(url)
    made.tell(trial := made.ask(), evaluation(trial))
    made.ask(), made.ask()
    store = TrialStore.open(url, "s")
    assert store is not None
    again = Tuner(store, SPACE, METRIC, Search("random", 7))
    assert len(again.start()) == 2
    assert again.start() == []
    assert [trial.number for trial in again.counted()] == [0]


def test_every_trial_has_the_same_seed(url: str) -> None:
    made = tuner(url)
    assert {made.ask().seed for _ in range(3)} == {7}


@pytest.mark.parametrize(
    ("told", "state", "reason"),
    [
        (Evaluation(Status.DIVERGED, reason="not finite"), "failed", "not finite"),
        (Evaluation(Status.FAILED, reason="out of memory"), "failed", "out of memory"),
        (Evaluation(Status.STOPPED, {"consistency": 0.2}, reason="stopped by the caller"), "pruned", "stopped by"),
        (Evaluation(Status.COMPLETE, {"error": 0.2}), "failed", "the evaluation reported consistency = None"),
    ],
)
def test_trials_without_a_value(told: Evaluation, state: str, reason: str, url: str) -> None:
    made = tuner(url)
    record = made.tell(made.ask(), told)
    assert (record.state, record.metrics) == (state, told.metrics)
    assert record.reason.startswith(reason)
    assert made.store.trials() == made.counted() == [record]
    assert made.best is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_metric_that_is_not_finite_fails_the_trial(value: float, url: str) -> None:
    made = tuner(url)
    told = Evaluation(Status.COMPLETE, {"consistency": 0.1})
    object.__setattr__(told, "metrics", {"consistency": value})  # past the check of Evaluation itself
    record = made.tell(made.ask(), told)
    assert record.state == "failed"
    assert record.reason == f"the evaluation reported consistency = {value}"


def test_failed_and_pruned_trials_count_and_are_not_proposed_again(url: str) -> None:
    made = tuner(url, sampler="qmc")
    for status in (Status.FAILED, Status.STOPPED, Status.FAILED):
        made.tell(made.ask(), Evaluation(status, reason="no"))
    assert len(made.counted()) == 3
    assert len({tuple(trial.values.values()) for trial in made.counted()}) == 3


@pytest.mark.parametrize(("goal", "number"), [("maximize", 1), ("minimize", 3)])
def test_the_best_is_the_earliest_of_equals_among_the_finished(goal: Any, number: int) -> None:
    states = ["failed", "finished", "finished", "finished", "finished", "pruned"]
    values = [9.0, 2.0, 2.0, 1.0, 1.0, -9.0]
    trials = [
        TrialRecord(i, state, {}, {"error": value})  # type: ignore[arg-type]
        for i, (state, value) in enumerate(zip(states, values, strict=True))
    ]
    best = best_of(trials, Metric("error", goal))
    assert best is not None and best.number == number
    assert best_of([], METRIC) is None


def test_a_minimised_metric_is_minimised(url: str) -> None:
    metric = Metric("error", "minimize")
    made = tuner(url, sampler="gp", metric=metric)
    while len(made.counted()) < 10:
        trial = made.ask()
        made.tell(trial, Evaluation(Status.COMPLETE, {"error": (float(trial.values["shift"]) + 1.2) ** 2}))
    best = made.best
    assert best is not None and abs(float(best.values["shift"]) + 1.2) < 0.1


def test_it_tells_when_nothing_is_expected_to_be_won(url: str) -> None:
    """Nothing before the first model; then, on a parabola with slopes, soon little; the same to a new process."""
    made = tuner(url, sampler="gp")
    told: list[float | None] = []
    for _ in range(12):
        told.append(made.expects())
        assert tuner(url, sampler="gp").expects() == told[-1]
        trial = made.ask()
        made.tell(trial, evaluation(trial))
    assert [record.expected_improvement for record in made.counted()] == told
    assert told[0] is None
    small = next(i for i, expected in enumerate(told) if expected is not None and expected < 1e-3)
    best = max(made.counted()[:small], key=lambda record: record.metrics["consistency"])
    assert best.metrics["consistency"] > 1 - 2e-3


def test_other_samplers_expect_nothing(url: str) -> None:
    run(url, 5)
    assert tuner(url).expects() is None
    assert {record.expected_improvement for record in tuner(url).counted()} == {None}


@pytest.mark.parametrize("sampler", ["random", "qmc", "gp", "cmaes"])
def test_what_is_lost_among_several_at_once_is_proposed_again(sampler: str, url: str) -> None:
    """Not the values of a trial asked after it, which runs on."""
    made = tuner(url, sampler=sampler)
    first, second, third = (made.ask(owner=owner) for owner in ("a", "b", "a"))
    (lost,) = made.release_abandoned({"a"})
    assert (lost.number, lost.index, lost.owner) == (second.number, 1, "b")
    again = made.ask(owner="a")
    assert again.values == second.values or sampler == "cmaes"  # which learns from nothing yet, and draws anew
    assert again.values not in (first.values, third.values)
    assert [trial.index for trial in made.counted()] == [0, 2, 1]
    assert made.ask().values not in (first.values, second.values, third.values)
    assert [trial.index for trial in made.counted()] == [0, 2, 1, 3]


def test_what_is_expected_is_of_the_trial_that_is_asked_next(url: str) -> None:
    """Which takes the place of one that was lost, not the one after the last."""
    made = tuner(url, sampler="gp")
    for owner in "aba":
        made.ask(owner=owner)
    made.release_abandoned({"a"})
    assert read_history(made.store.study, None, SPACE).position == 1
    made.ask(owner="a")
    assert [trial.index for trial in made.counted()] == [0, 2, 1]
    assert read_history(made.store.study, None, SPACE).position == 3


def test_values_that_three_processes_died_with_have_failed(url: str) -> None:
    made = tuner(url)
    asked = []
    for _ in range(3):
        asked.append(made.ask())
        made.start()
    assert asked[0].values == asked[1].values == asked[2].values
    trials = made.store.trials()
    assert [trial.state for trial in trials] == ["interrupted", "interrupted", "failed"]
    assert trials[2].reason == "its process died 3 times with these values"
    assert made.ask().values != asked[0].values


def test_what_the_user_cancelled_has_not_died(url: str) -> None:
    made = tuner(url)
    for _ in range(4):
        made.ask()
        (running,) = [trial for trial in made.store.trials() if trial.state == "running"]
        made.store.release(running, cancelled=True)
    made.ask()
    made.start()
    assert {trial.state for trial in made.store.trials()} == {"interrupted"}
    assert [trial.cancelled for trial in made.store.trials()] == 4 * [True] + [False]


def test_what_is_known_is_told(url: str) -> None:
    """The surrogate learns from it as from a trial; it costs nothing, and no proposal is made twice for it."""
    made = tuner(url, sampler="gp")
    for shift in (-1.5, 0.2, 0.9, 1.6):
        known = Trial(0, {"shift": shift, "rate": 0.03}, 0)
        record = made.tell_known(known.values, evaluation(known))
        assert record.state == "finished" and record.spent == 0 and record.values == known.values
    assert [trial.index for trial in made.counted()] == [0, 1, 2, 3]
    for _ in range(2):
        trial = made.ask()
        made.tell(trial, evaluation(trial))
    best = tuner(url).best
    assert best is not None and abs(float(best.values["shift"]) - 0.7) < 0.05, "four known points are its startup"
    assert made.tell_known({"shift": 0.0, "rate": 0.5}, Evaluation(Status.DIVERGED, reason="NaN")).state == "failed"
    nothing = Evaluation(Status.COMPLETE, {"other": 1.0})
    assert "consistency = None" in made.tell_known({"shift": 0.0, "rate": 0.5}, nothing).reason


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shift": 2.5, "rate": 0.1}, "values.shift: 2.5 is outside the range; from -2 to 2"),
        ({"shift": float("nan"), "rate": 0.1}, "values.shift: nan is outside the range"),
        ({"shift": "far", "rate": 0.1}, "values.shift: far is outside the range"),
        ({"shift": 1.0}, "values.rate: has no value; give it"),
        ({"shift": 1.0, "rate": 0.1, "rat": 1}, "values.rat: the study tunes no such parameter; did you mean 'rate'"),
    ],
)
def test_what_cannot_be_known_is_refused(url: str, values: dict[str, Any], message: str) -> None:
    made = tuner(url)
    with pytest.raises(InputError, match=re.escape(message)):
        made.tell_known(values, Evaluation(Status.COMPLETE, {"consistency": 0.5}))
    assert made.store.trials() == []
    with pytest.raises(ValueError, match="stopped"):
        made.tell_known({"shift": 1.0, "rate": 0.1}, Evaluation(Status.STOPPED, reason="by hand"))


def test_of_conditional_parameters_those_that_act_are_told(url: str) -> None:
    method = Dimension("method", type="categorical", choices=("plain", "fast"), kind="solver")
    step = Dimension("step", low=0.1, high=1.0, when=(("method", ("plain",)),))
    made = tuner(url, space=Space((method, step)))
    done = Evaluation(Status.COMPLETE, {"consistency": 0.5})
    assert made.tell_known({"method": "fast"}, done).values == {"method": "fast"}
    with pytest.raises(InputError, match=r"values.step: has no effect beside the other values"):
        made.tell_known({"method": "fast", "step": 0.5}, done)
    with pytest.raises(InputError, match=r"values.method: 'slow' is not a choice; one of: plain, fast"):
        made.tell_known({"method": "slow"}, done)


def test_a_trial_that_optuna_has_added_is_a_trial(url: str) -> None:
    """It has a value and nothing else; it was a KeyError of the best trial."""
    made = tuner(url)
    trial = made.ask()
    made.tell(trial, Evaluation(Status.COMPLETE, {"consistency": 0.1}))
    made.store.study.add_trial(
        optuna.trial.create_trial(value=0.9, params={"shift": 0.5, "rate": 0.1}, distributions=SPACE.distributions())
    )
    for again in (made, tuner(url)):
        assert again.best is not None and again.best.metrics == {"consistency": 0.9}
    assert len({trial.number for trial in made.counted()}) == 2
    made.tell(made.ask(), Evaluation(Status.COMPLETE, {"consistency": 0.2}))


def test_a_trial_evaluated_at_other_values_is_replaced_and_keeps_its_place(url: str) -> None:
    made = tuner(url, STATED)
    asked = made.ask()
    assert asked.values["shift"] == 0.5
    [running] = made.store.trials()
    told = made.tell_known({"shift": 0.625, "rate": 0.1}, evaluation(asked), replaces=running)
    assert (told.number, told.index, told.replaces, told.state) == (1, 0, 0, "finished")
    assert [trial.state for trial in tuner(url, STATED).store.trials()] == ["interrupted", "finished"]
    assert made.ask().values["shift"] != 0.5  # the stated values have been tried
