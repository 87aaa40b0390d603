"""The search of a run: a free worker gets a proposal at once, each trial is stored as it ends, up to the budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from autotune.errors import Problem, StudyFailed
from autotune.execution.executor import Ended, Executor, Task
from autotune.execution.retries import Pool
from autotune.problem.twins import twin_of
from autotune.retrying import Patience
from autotune.runs.stopping import Ending, Next
from autotune.search.samplers import WITH_MODEL
from autotune.search.tuner import Trial
from autotune.session import RunningStudy, Watcher
from autotune.store.leases import alive
from autotune.store.records import TrialRecord
from autotune.tracking.record import Record

_POLL_SECONDS = 1.0
"""Between two looks for what other runs of the study do, while there is nothing to do here."""


@dataclass(frozen=True)
class _Next:
    """The next step for a free worker: evaluate ``trial``, else end for a ``reason``, else wait."""

    trial: Trial | None = None
    finish: bool = False
    reason: str = ""


@dataclass
class _Evaluating:
    """A trial that runs here, and the pruner's say on whether it goes on."""

    trial: Trial
    goes_on: Callable[[int, float], bool]


class Loop:
    """Searches until the budget is used. Ends by an exception wherever something must not go on.

    Args:
        study: the study.
        executor: evaluates; idle.
        watcher: is told what happens.
        record: is given every trial that has ended.
    """

    def __init__(self, study: RunningStudy, executor: Executor, watcher: Watcher, record: Record) -> None:
        self._study, self._watcher, self._record = study, watcher, record
        self._metric, self._spec = study.plan.metric.name, study.file.spec
        cheap, by_model = max(study.plan.costs[1:], default=None), self._spec.search.sampler in WITH_MODEL
        self._ending = Ending(self._spec.budget, self._metric, cheap, by_model, self._is_wrong_twin)
        self._patience = Patience(watcher.paused, watcher.resumed)
        self._pool: Pool[_Evaluating] = Pool(executor, self._spec.execution.retries)
        self._waited_at = (-1, -1)
        self._failed_in_a_row = 0

    def search(self) -> str:
        """Evaluate trial after trial; returns why it ended.

        Raises:
            StudyFailed: too many trials in a row have failed, or none can be evaluated.
        """
        while True:
            reason = self._fill()
            if reason:
                return reason
            if not self._pool:
                time.sleep(_POLL_SECONDS)
            elif (ended := self._pool.wait(self, _POLL_SECONDS)) is not None:
                self._store(*ended)

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        """An iteration of a trial is done; whether to go on with it."""
        self._watcher.progressed(number, iteration, iterations, metrics)
        value, goes_on = metrics.get(self._metric), self._pool[number].goes_on
        if value is None or iteration == iterations:  # after the last one there is nothing left to save
            return True
        return self._patience(lambda: goes_on(iteration, value))

    def paused(self, reason: str) -> None:
        """A trial waits for something that passes."""
        self._watcher.paused(reason)

    def resumed(self) -> None:
        """It goes on."""
        self._watcher.resumed()

    def _fill(self) -> str:
        """Give every free worker a trial while there are any to give; returns why the search ends, if it does."""
        if self._study.lease.lapsed:
            self._patience(self._take_lease)
        while self._pool.free:
            step = self._patience(self._next)
            if step.trial is None:
                return step.reason
            self._begin(step.trial, finish=step.finish)
        return ""

    def _take_lease(self) -> None:
        with self._study.locked():
            self._study.lease.take()

    def _next(self) -> _Next:
        """Decide what a free worker does; its trial is in the store. No other run of the study decides meanwhile."""
        study = self._study
        with study.locked():
            study.lease.take()
            study.tuner.release_abandoned(alive(study.store))
            started = study.store.trials()
            self._record.follow(started)
            trials = self._without_lost([trial for trial in started if trial.state != "interrupted"])
            running = sum(trial.state == "running" for trial in trials)
            if running and self._waited_at == (len(trials), running):
                return _Next()  # nothing has ended since
            enough = self._watcher.enough()
            step = Next(enough) if enough else self._ending.after(trials, study.seconds(), study.tuner.expects)
            if running and (step.reason or step.finish):  # the trials that run may change that
                self._waited_at = (len(trials), running)
                return _Next()
            if step.reason:
                return _Next(reason=step.reason)
            if study.store.facts.status != "running":  # a run with a smaller budget has finished since
                study.store.keep(status="running", reason="")
            trial = study.tuner.ask(finish=step.finish, owner=study.lease.owner)
            return _Next(trial, step.finish)

    def _is_wrong_twin(self, trial: TrialRecord) -> bool:
        twin = self._study.plan.aims.twin
        if twin is None or trial.metrics.get(twin.metric, 0.0) >= 0:
            return False
        return twin_of(twin, trial.values, self._study.plan.space) is not None

    def _without_lost(self, trials: list[TrialRecord]) -> list[TrialRecord]:
        """The trials, less those of this run that a store in trouble kept without answering; these are released."""
        own = [trial for trial in trials if trial.state == "running" and trial.owner == self._study.lease.owner]
        lost = [trial for trial in own if trial.number not in self._pool]
        for trial in lost:
            self._study.store.release(trial, cancelled=True)
        return [trial for trial in trials if trial not in lost]

    def _begin(self, trial: Trial, *, finish: bool) -> None:
        study = self._study
        values = {**study.plan.held(trial.level), **trial.values}
        task = Task(trial.number, values, trial.seed, study.home.trial(study.name, trial.number))
        goes_on = (lambda iteration, value: True) if finish else self._patience(lambda: study.tuner.watch(trial))
        self._watcher.proposed(trial)
        self._pool.begin(task, _Evaluating(trial, goes_on))

    def _store(self, evaluating: _Evaluating, ended: Ended) -> None:
        """Store how an evaluation ended, and report it."""
        record = self._patience(lambda: self._tell(evaluating.trial, ended))
        if record.state == "interrupted":
            return  # the lease had expired, and another run has taken the trial for lost
        self._record.add(record)
        self._watcher.ended(record, self._patience(lambda: self._study.tuner.best))
        self._count_failures(record)

    def _tell(self, trial: Trial, ended: Ended) -> TrialRecord:
        kept = self._study.home.trial(self._study.name, trial.number).is_dir()
        with self._study.locked():
            record = self._study.tuner.tell(trial, ended.evaluation, done=ended.done, kept=kept)
        self._study.keep_seconds()
        return record

    def _count_failures(self, trial: TrialRecord) -> None:
        self._failed_in_a_row = self._failed_in_a_row + 1 if trial.state == "failed" else 0
        most = self._spec.execution.max_failures
        if most is not None and self._failed_in_a_row >= most:
            what = f"{most} trials in a row failed; the last one: {trial.reason}"
            raise StudyFailed(Problem(f"study {self._study.name}", what))
