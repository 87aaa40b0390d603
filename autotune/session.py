"""One process's run of a study: its context, and the watcher that is told how it goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from autotune.home import Home
from autotune.objective import Metric
from autotune.search.tuner import Trial, Tuner
from autotune.store.leases import Lease, alive
from autotune.store.locks import exclusive
from autotune.store.records import TrialRecord
from autotune.store.trials import TrialStore
from autotune.study import Plan, StudyFile

_SILENT_SECONDS = 10.0  # a wait for the lock is reported after these


class Watcher(Protocol):
    """Is told how a run goes, in the run's own thread, so each method should return at once."""

    def started(self, name: str, metric: Metric, trials: list[TrialRecord], budget: int) -> None:
        """The study begins or is resumed; ``trials`` are those that have already ended."""

    def warned(self, warning: str) -> None:
        """Something about what the study tunes that its user should know; the run goes on."""

    def proposed(self, trial: Trial) -> None:
        """A trial begins."""

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> None:
        """A trial that runs has done an iteration."""

    def ended(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        """A trial ended."""

    def repeated(self, done: int, count: int) -> None:
        """The search has ended; ``done`` of ``count`` repeated measurements are evaluated."""

    def paused(self, reason: str) -> None:
        """The run waits for something that passes by itself, such as a full disk; nothing is lost."""

    def resumed(self) -> None:
        """It goes on."""

    def enough(self) -> str:
        """Why the search shall end now, in a few words; empty for it to go on. Asked before every trial."""


class Quiet:
    """A watcher that says nothing."""

    def started(self, name: str, metric: Metric, trials: list[TrialRecord], budget: int) -> None:
        """Say nothing."""

    def warned(self, warning: str) -> None:
        """Say nothing."""

    def proposed(self, trial: Trial) -> None:
        """Say nothing."""

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> None:
        """Say nothing."""

    def ended(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        """Say nothing."""

    def repeated(self, done: int, count: int) -> None:
        """Say nothing."""

    def paused(self, reason: str) -> None:
        """Say nothing."""

    def resumed(self) -> None:
        """Say nothing."""

    def enough(self) -> str:
        """Let the search go on."""
        return ""


@dataclass(frozen=True)
class RunningStudy:
    """A study that this process runs, perhaps together with others.

    Attributes:
        file: the study file.
        plan: what it searches.
        home: where it lives.
        store: its trials.
        tuner: proposes them.
        lease: shows other runs that this one is alive.
        summary: what the objective says of the measurement.
        truth: parameter name -> true value, where the measurement was simulated.
        divides: whether the objective divides its gradient (:class:`autotune.objective.DividesGradient`).
        noise: what the noise of the measurement is known from, where it can be repeated in simulation; empty otherwise.
        began: when the run began, on the monotonic clock.
        earlier: seconds that the study had taken before.
        watcher: is told how the run goes.
    """

    file: StudyFile
    plan: Plan
    home: Home
    store: TrialStore
    tuner: Tuner
    lease: Lease
    summary: Mapping[str, str]
    truth: Mapping[str, float]
    noise: str = ""
    divides: bool = False
    began: float = field(default_factory=time.monotonic)
    earlier: float = 0.0
    watcher: Watcher = field(default_factory=Quiet)

    @property
    def name(self) -> str:
        """The study's name."""
        return self.file.spec.name

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.home.study(self.name)

    def locked(self, timeout: float = -1) -> AbstractContextManager[None]:
        """Keep the other runs away from this study while the block lasts, for short reads and writes.

        Args:
            timeout: seconds to wait for another run; negative for as long as it takes, of which the watcher is told.

        Raises:
            TimeoutError: another run holds the study for longer.
        """
        if timeout >= 0:
            return exclusive(self.home.store_url, self.name, timeout)
        return lock_study(self.home.store_url, self.name, self.watcher)

    def others(self) -> frozenset[str]:
        """The other runs of this study that are alive."""
        return alive(self.store) - {self.lease.owner}

    def seconds(self) -> float:
        """Wall-clock time of the study so far, earlier runs included."""
        return self.earlier + time.monotonic() - self.began

    def keep_seconds(self) -> None:
        """Keep the time that the study has taken; of several runs at once, that of the one that began first."""
        self.store.keep(seconds=max(self.seconds(), self.store.facts.seconds))

    def release_own(self) -> None:
        """Release the trials that run here, because the user has ended the run or it cannot go on."""
        for trial in self.store.trials():
            if trial.state == "running" and trial.owner == self.lease.owner:
                self.store.release(trial, cancelled=True)


@contextmanager
def lock_study(url: str, study: str, watcher: Watcher) -> Iterator[None]:
    """Keep other runs away from a study while the block lasts; ``watcher`` is told of a long wait for them.

    Args:
        url, study: as for :func:`autotune.store.locks.exclusive`.
        watcher: is told where the wait is longer than a few seconds, and when it is over.
    """
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(url, study, _SILENT_SECONDS))
        except TimeoutError:
            watcher.paused("another run of this study is changing it")
            held.enter_context(exclusive(url, study))
            watcher.resumed()
        yield
