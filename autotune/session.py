"""What one process's run of a study is about, and who watches it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
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


class Watcher(Protocol):
    """Who wants to know how a run goes; called in the run's own thread, so it should return at once."""

    def started(self, name: str, metric: Metric, trials: list[TrialRecord], budget: int) -> None:
        """The study was taken up; ``trials`` are those that already ended."""

    def warned(self, warning: str) -> None:
        """Something about what the study tunes that its user should know; the run goes on."""

    def proposed(self, trial: Trial) -> None:
        """A trial begins."""

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> None:
        """A trial that runs has done an iteration."""

    def ended(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        """A trial ended."""

    def repeated(self, done: int, count: int) -> None:
        """The search has ended; so many of ``count`` repetitions of the measurement are evaluated."""

    def paused(self, reason: str) -> None:
        """The run waits for something that passes by itself, such as a full disk; nothing is lost."""

    def resumed(self) -> None:
        """It goes on."""


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


@dataclass(frozen=True)
class RunningStudy:
    """A study that this process runs, perhaps together with others.

    Attributes:
        file: the study file.
        plan: what it searches.
        home: where it lives.
        store: its trials.
        tuner: proposes them.
        lease: by which other runs know that this one is alive.
        summary: what the objective says of the measurement.
        truth: parameter name -> true value, where the measurement was simulated.
        noise: what the noise of the measurement is known from, where it can be repeated in simulation; empty otherwise.
        began: on the monotonic clock.
        earlier: seconds that the study had taken before.
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
    began: float = field(default_factory=time.monotonic)
    earlier: float = 0.0

    @property
    def name(self) -> str:
        """The study's name."""
        return self.file.spec.name

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.home.study(self.name)

    def locked(self, timeout: float = -1) -> AbstractContextManager[None]:
        """Hold the other runs of this study off; see :func:`autotune.store.locks.exclusive`."""
        return exclusive(self.home.store_url, self.name, timeout)

    def others(self) -> frozenset[str]:
        """The other runs of this study that are alive."""
        return alive(self.store) - {self.lease.owner}

    def seconds(self) -> float:
        """Wall-clock time of the study so far, earlier runs included."""
        return self.earlier + time.monotonic() - self.began

    def note_seconds(self) -> None:
        """Keep the time that the study has taken; of several runs at once, that of the one that began first."""
        self.store.keep(seconds=max(self.seconds(), self.store.facts.seconds))

    def release_own(self) -> None:
        """Release what this run has running, because the user has ended it or it cannot go on."""
        for trial in self.store.trials():
            if trial.state == "running" and trial.owner == self.lease.owner:
                self.store.release(trial, cancelled=True)
