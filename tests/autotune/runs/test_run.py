"""``run_study`` as someone who embeds it sees it: what the watcher hears, and what is safe at any end."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from autotune.errors import InputError, NoneSucceeded, StudyFailed
from autotune.home import Home
from autotune.objective import Metric, Parameter, Value
from autotune.results.build import build_result
from autotune.retrying import Deadline
from autotune.runs.run import run_study
from autotune.search.tuner import Trial
from autotune.store.leases import Lease, alive
from autotune.store.records import TrialRecord
from autotune.store.trials import TrialStore
from autotune.study import StudyFile, load_study
from autotune.tracking.record import Record
from tests.autotune.toy import Toy

pytestmark = pytest.mark.usefixtures("in_memory")

STUDY: dict[str, Any] = {
    "name": "toy",
    "objective": {"name": "tests.autotune.toy:toy", "iterations": 2},
    "parameters": {"shift": {"low": -1, "high": 1}},
    "search": {"sampler": "random", "seed": 3},
    "budget": {"trials": 3},
    "tracking": {"enabled": False},
    "report": False,
    "execution": {"executor": "inline"},
}


@pytest.fixture(autouse=True)
def quiet_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def study(home: Home, **changes: Any) -> StudyFile:
    path = home.folder.parent / "study.yaml"
    path.write_text(json.dumps(STUDY | changes))
    return load_study(path)


class Listener:
    """A watcher that writes down what it hears, and may raise in the middle."""

    def __init__(self, raises: BaseException | None = None, at: str = "") -> None:
        self.heard: list[Any] = []
        self.raises, self.at = raises, at

    def started(self, name: str, metric: Metric, trials: list[TrialRecord], budget: int) -> None:
        self._hear(f"started {name}: {metric.name}, {len(trials)} of {budget}")

    def warned(self, warning: str) -> None:
        self._hear(f"warned: {warning}")

    def proposed(self, trial: Trial) -> None:
        self._hear(f"proposed {trial.number}")

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> None:
        self._hear(f"iteration {iteration}/{iterations} with {', '.join(metrics)}")

    def ended(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        self._hear(f"ended {trial.number} {trial.state}, best {None if best is None else best.number}")

    def repeated(self, done: int, count: int) -> None:
        self._hear(f"repeated {done} of {count}")

    def paused(self, reason: str) -> None:
        self._hear(f"paused: {reason}")

    def resumed(self) -> None:
        self._hear("resumed")

    def enough(self) -> str:
        return ""

    def _hear(self, text: str) -> None:
        self.heard.append(text)
        if self.raises is not None and text.startswith(self.at):
            raise self.raises


def trials(home: Home) -> list[TrialRecord]:
    store = TrialStore.open(home.store_url, "toy")
    return [] if store is None else store.trials()


def values(home: Home) -> list[Mapping[str, Value]]:
    return [trial.values for trial in trials(home) if trial.state != "interrupted"]


def being_run(home: Home) -> bool:
    store = TrialStore.open(home.store_url, "toy")
    return store is not None and bool(alive(store))


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_a_watcher_hears_everything_in_order(executor: str, home: Home) -> None:
    listener = Listener()
    changes = {"budget": {"trials": 2}, "execution": {"executor": executor}}
    outcome = run_study(study(home, **changes), home=home, watcher=listener)
    first, second = trials(home)
    best = first.number if first.metrics["consistency"] >= second.metrics["consistency"] else second.number
    assert listener.heard == [
        "started toy: consistency, 0 of 2",
        "proposed 0",
        "iteration 1/2 with consistency, error",
        "iteration 2/2 with consistency, error",
        "ended 0 finished, best 0",
        "proposed 1",
        "iteration 1/2 with consistency, error",
        "iteration 2/2 with consistency, error",
        f"ended 1 finished, best {best}",
    ]
    assert outcome.truth == {"shift": 0.7, "tilt": 4.0}
    assert outcome.warning == ""
    assert outcome.result.as_dict() == json.loads((home.study("toy") / "result.json").read_text())
    kept = sorted(str(path.relative_to(home.trial("toy", 0))) for path in home.trial("toy", 0).iterdir())
    assert kept == ["object.png", "reconstruction.h5"]


def test_a_watcher_is_warned_once_of_what_is_doubtful(home: Home) -> None:
    listener = Listener()
    parameters = {"shift": {}, "rate": {}}
    run_study(study(home, budget={"trials": 1}, parameters=parameters), home=home, watcher=listener)
    [warned] = [text for text in listener.heard if text.startswith("warned")]
    assert warned.startswith("warned: rate is tuned by consistency in-sample: data error rewards over-fitting")
    assert listener.heard.index(warned) == 1


@pytest.mark.parametrize("at", ["proposed 1", "iteration 1/2", "ended 1"])
@pytest.mark.parametrize("end", [KeyboardInterrupt(), OSError("no socket")])
@pytest.mark.parametrize("executor", ["inline", "process"])
def test_any_end_keeps_the_finished_trials_and_can_be_continued(
    executor: str, at: str, end: BaseException, tmp_path: Path
) -> None:
    undisturbed, home = Home(tmp_path / "undisturbed"), Home(tmp_path / "home")
    run_study(study(undisturbed), home=undisturbed, watcher=Listener())
    with pytest.raises(type(end)):
        run_study(study(home, execution={"executor": executor}), home=home, watcher=Listener(end, at))
    assert not being_run(home)
    before = {trial.number: trial for trial in trials(home) if trial.state == "finished"}
    stopped = isinstance(end, KeyboardInterrupt)
    if stopped:
        result = json.loads((home.study("toy") / "result.json").read_text())
        assert (result["status"], result["trials"]["finished"]) == ("stopped", len(before))
        assert "running" not in {trial.state for trial in trials(home)}
    run_study(study(home), home=home, watcher=Listener())
    assert values(home) == values(undisturbed)
    assert {number: trials(home)[number] for number in before} == before


def test_a_trial_is_told_only_after_its_files_are_complete(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*arguments: Any, **named: Any) -> None:
        raise PermissionError("not allowed")

    with monkeypatch.context() as patch:
        patch.setattr("h5py.Group.create_dataset", forbidden)
        with pytest.raises(PermissionError, match="not allowed"):
            run_study(study(home), home=home, watcher=Listener())
    assert [trial.state for trial in trials(home)] == ["interrupted"]
    ended = json.loads((home.study("toy") / "result.json").read_text(encoding="utf-8"))
    assert (ended["status"], ended["reason"]) == ("failed", "PermissionError: not allowed")
    run_study(study(home), home=home, watcher=Listener())
    assert [trial.state for trial in trials(home)] == ["interrupted", "finished", "finished", "finished"]
    assert sorted(path.name for path in (home.study("toy") / "trials").iterdir()) == ["00001", "00002", "00003"]


def test_result_json_is_there_although_mlflow_is_not_waited_for(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while MLflow keeps a finished study waiting."""

    def impatient(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("autotune.runs.run.Record.close", impatient)
    with pytest.raises(KeyboardInterrupt):
        run_study(study(home), home=home, watcher=Listener())
    assert json.loads((home.study("toy") / "result.json").read_text())["status"] == "finished"


class Answers:
    """Stands for the search for the answer, which finds none: how often it was made, and what it is to raise first."""

    def __init__(self) -> None:
        self.made = 0
        self.raises: list[BaseException] = []

    def __call__(self, *arguments: Any, **named: Any) -> None:
        self.made += 1
        if self.raises:
            raise self.raises.pop()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    found = Answers()
    monkeypatch.setattr("autotune.runs.finish.find_answer", found)
    return found


def test_a_study_interrupted_at_its_intervals_computes_them_later_and_once(
    home: Home, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    def close(self: Record, status: str, deadline: Deadline | None = None) -> str:
        closed.append(status)
        return ""

    monkeypatch.setattr("autotune.runs.run.Record.close", close)
    answers.raises.append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run_study(study(home), home=home, watcher=Listener())
    result = json.loads((home.study("toy") / "result.json").read_text())
    assert (result["status"], result["trials"]["finished"]) == ("stopped", 3)
    assert result["reason"].startswith("interrupted after the search had ended, before its intervals were computed")
    assert answers.made == 1
    first = run_study(study(home), home=home, watcher=Listener()).result
    assert (first.status, first.reason, answers.made) == ("finished", "the budget of 3 trials is used", 2)
    again = run_study(study(home), home=home, watcher=Listener()).result
    assert (again.status, again.reason, answers.made) == ("finished", first.reason, 2)
    more = run_study(study(home, budget={"trials": 4}), home=home, watcher=Listener()).result
    assert (more.status, more.trials.finished, answers.made) == ("finished", 4, 3)
    assert closed == ["stopped", "finished", "finished", "finished"]


def test_intervals_wait_for_what_passes(home: Home, answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotune.retrying.FIRST_WAIT", 0.01)
    answers.raises.append(OSError(errno.ENOSPC, "No space left on device"))
    listener = Listener()
    run_study(study(home), home=home, watcher=listener)
    assert listener.heard[-2:] == ["paused: the disk is full", "resumed"]
    store = TrialStore.open(home.store_url, "toy")
    assert store is not None and store.facts.answer_error is None
    assert answers.made == 2


def test_intervals_that_fail_are_no_reason_to_fail(home: Home, answers: Answers) -> None:
    answers.raises.append(ValueError("no optimum"))
    warning = "warned: no intervals: the answer could not be computed (ValueError: no optimum)"
    for _ in range(2):  # the second run takes the conclusion over
        listener = Listener()
        assert run_study(study(home), home=home, watcher=listener).result.status == "finished"
        assert listener.heard.count(warning) == 1
    store = TrialStore.open(home.store_url, "toy")
    assert store is not None and store.facts["answer_error"] == "ValueError: no optimum"
    assert answers.made == 1


def test_the_error_of_an_answer_is_forgotten_when_the_next_one_is_computed(home: Home, answers: Answers) -> None:
    answers.raises.append(ValueError("no optimum"))
    run_study(study(home), home=home, watcher=Listener())
    listener = Listener()
    run_study(study(home, budget={"trials": 4}), home=home, watcher=listener)
    store = TrialStore.open(home.store_url, "toy")
    assert store is not None and store.facts.answer_error is None and answers.made == 2
    assert not any(text.startswith("warned") for text in listener.heard)


def test_best_values_that_cannot_be_written_are_told_until_they_are(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any) -> None:
        raise ValueError("no comment")

    listener = Listener()
    with monkeypatch.context() as patch:
        patch.setattr("autotune.runs.finish.keep_best", fails)
        run_study(study(home), home=home, watcher=listener)
    assert listener.heard[-1] == "warned: the best values could not be written as files (ValueError: no comment)"
    listener = Listener()
    run_study(study(home, budget={"trials": 4}), home=home, watcher=listener)
    store = TrialStore.open(home.store_url, "toy")
    assert store is not None and store.facts.best_error is None
    assert not any(text.startswith("warned") for text in listener.heard)


def test_the_record_is_closed_by_who_does_not_wait_for_the_report(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def impatient(*arguments: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    closed: list[Any] = []
    monkeypatch.setattr("autotune.runs.run.keep_report", impatient)

    def close(self: Record, status: str, deadline: Deadline | None = None) -> None:
        closed.append((status, deadline is not None and deadline.left() < 2))

    monkeypatch.setattr("autotune.runs.run.Record.close", close)
    with pytest.raises(KeyboardInterrupt):
        run_study(study(home), home=home, watcher=Listener())
    assert closed == [("finished", True)]


def test_a_study_that_is_continued_runs_for_no_reason_yet(home: Home) -> None:
    seen: list[tuple[str, str]] = []

    class Looks(Listener):
        def proposed(self, trial: Trial) -> None:
            store = TrialStore.open(home.store_url, "toy")
            assert store is not None
            result = build_result(store, home, live=being_run(home))
            seen.append((result.status, result.reason))

    for budget in (1, 2):
        run_study(study(home, budget={"trials": budget}), home=home, watcher=Looks())
    assert seen == [("running", ""), ("running", "")]


def test_a_study_whose_derivatives_were_by_another_quantity_is_not_continued(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither continued nor learned from: an earlier version took them by the value, this one by its square."""
    tuned = {"parameters": {"shift": {"low": 0, "high": 1}}}
    run_study(study(home, **tuned), home=home, watcher=Listener())
    before = Toy.parameters

    def by_square(toy: Toy) -> list[Parameter]:
        changed = {"low": 0.0, "minimum": 0.0, "by_square": True}
        return [replace(p, **changed) if p.name == "shift" else p for p in before(toy)]  # type: ignore[arg-type]

    monkeypatch.setattr(Toy, "parameters", by_square)
    with pytest.raises(InputError, match=r"derivatives of shift were by another quantity; begin anew with --fresh"):
        run_study(study(home, **tuned), home=home, watcher=Listener())
    learns = {"name": "second", "search": {"sampler": "gp", "seed": 3, "warm_start": ["toy"]}}
    with pytest.raises(InputError, match=r"toy has derivatives of shift by another quantity"):
        run_study(study(home, **tuned, **learns), home=home, watcher=Listener())


def test_no_time_for_a_single_trial(home: Home) -> None:
    with pytest.raises(NoneSucceeded) as raised:
        run_study(study(home, budget={"seconds": 1e-9}), home=home, watcher=Listener())
    assert str(raised.value) == "study toy: no trial was run: the time budget of 1e-09 s is used"


def test_interrupted_trials_are_not_said_to_have_failed(home: Home) -> None:
    failing = {"objective": STUDY["objective"] | {"fail_above": -1}}
    with pytest.raises(KeyboardInterrupt):
        run_study(study(home, **failing), home=home, watcher=Listener(KeyboardInterrupt(), "proposed 1"))
    with pytest.raises(NoneSucceeded, match=r"none of 3 trials finished; the last one: the toy diverged at"):
        run_study(study(home, **failing), home=home, watcher=Listener())


def test_a_study_that_is_being_run_is_not_begun_anew(home: Home) -> None:
    run_study(study(home), home=home, watcher=Listener())
    store = TrialStore.open(home.store_url, "toy")
    assert store is not None
    other = Lease(store)
    other.take()
    assert being_run(home)
    with pytest.raises(InputError, match="is being run by another process"):
        run_study(study(home), home=home, watcher=Listener(), fresh=True)
    other.give_back()
    assert not being_run(home)
    run_study(study(home), home=home, watcher=Listener(), fresh=True)
    assert len(trials(home)) == 3


def test_so_many_failures_in_a_row_end_the_study(home: Home) -> None:
    """And only those of this run: who has repaired what was broken goes on."""
    limits = {"budget": {"trials": 6}, "execution": {"executor": "inline", "max_failures": 2}}
    failing = {"objective": STUDY["objective"] | {"crash_above": -2.0}, **limits}
    with pytest.raises(
        StudyFailed, match=r"study toy: 2 trials in a row failed; the last one: .*the toy crashed"
    ) as end:
        run_study(study(home, **failing), home=home, watcher=Listener())
    assert type(end.value) is StudyFailed
    assert [trial.state for trial in trials(home)] == ["failed", "failed"]
    result = json.loads((home.study("toy") / "result.json").read_text(encoding="utf-8"))
    assert result["status"] == "failed" and result["reason"].startswith("2 trials in a row failed; the last one: ")
    with pytest.raises(StudyFailed):
        run_study(study(home, **failing), home=home, watcher=Listener())
    assert [trial.state for trial in trials(home)] == 4 * ["failed"]


def test_the_run_id_is_kept_while_mlflow_is_away(home: Home, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.folder.mkdir()
    shutil.copy(migrated, home.folder / "mlflow.db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    first = run_study(study(home, tracking={}), home=home, watcher=Listener()).result.as_dict()["mlflow"]
    assert first["run_id"] is not None

    def away(*arguments: Any, **named: Any) -> None:
        raise ConnectionError("no answer")

    monkeypatch.setattr("autotune.tracking.writer.StudyRuns", away)
    outcome = run_study(study(home, tracking={}, budget={"trials": 4}), home=home, watcher=Listener())
    assert outcome.warning.startswith("MLflow lacks part of this study (ConnectionError: no answer)")
    assert outcome.result.as_dict()["mlflow"] == first
    elsewhere = {"experiment": "another"}
    outcome = run_study(study(home, tracking=elsewhere, budget={"trials": 4}), home=home, watcher=Listener())
    assert outcome.result.as_dict()["mlflow"] == {**first, "experiment": "another", "run_id": None}


def test_the_live_record_goes_on_after_an_interruption(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The curve of the incumbent waits for every earlier trial, so the recorder must know the interrupted ones."""
    told: list[list[str]] = []

    class Recorder:
        def __init__(self, *arguments: Any, **named: Any) -> None:
            pass

        def start(self, trials: list[TrialRecord], others: list[TrialRecord]) -> None:
            told.append([trial.state for trial in trials])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study(home), home=home, watcher=Listener(KeyboardInterrupt(), "proposed 1"))
    monkeypatch.setattr("autotune.tracking.record.Recorder", Recorder)
    with pytest.raises(KeyboardInterrupt):
        run_study(study(home, tracking={}), home=home, watcher=Listener())
    assert told == [["finished", "interrupted"]]
