"""How far a study of the queue is, from its events."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from autotune.service.event_log import read_events, size_of


class Progress(BaseModel):
    """How far a study is."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    doing: str = ""
    """What its process does now, in words."""
    trials: int = 0
    """Trials that have ended."""
    budget: int | None = None
    """Trials that it may start; null before it has begun."""
    metric: str | None = None
    """Name of the tuned metric; null before it has begun."""
    goal: str | None = None
    """Whether larger or smaller values are better: maximize or minimize."""
    best: float | None = None
    """The tuned metric of the best trial, in the metric's unit; null before one has finished."""
    best_trial: int | None = None
    """Number of the best trial."""
    noise_ceiling: float | None = None
    """The value that the true model would reach; null where it is not known."""
    seconds_left: float | None = None
    """Estimate of the time until the search ends, in seconds; null where it is not known."""


_MUCH = 100_000
"""Bytes of events that take milliseconds to read."""


@dataclass
class Follower:
    """Reads the events of one study as they come, and keeps how far it is.

    Attributes:
        path: the file of its events.
        place: the place up to which it was read.
        progress: how far it is.
        steps: where the best value changed: how many trials had ended, and the value.
    """

    path: Path
    place: int = 0
    progress: Progress = field(default_factory=Progress)
    steps: list[tuple[int, float]] = field(default_factory=list)
    _began: datetime | None = None
    _before: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def now(self) -> Progress:
        """How far the study is now."""
        if size_of(self.path) > self.place:
            with self._lock:
                for place, event in read_events(self.path, self.place):
                    self.place = place
                    self._take(event)
        return self.progress

    @property
    def is_far_behind(self) -> bool:
        """Whether so much is to be read that other requests would wait for it."""
        return size_of(self.path) - self.place > _MUCH

    def _take(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "started":
                metric = event.get("metric") or {}
                self._began, self._before = _time(event), int(event.get("ended") or 0)
                self.steps = [step for step in self.steps if step[0] <= self._before]
                self._set(
                    doing="searches",
                    trials=self._before,
                    budget=event.get("budget"),
                    metric=metric.get("name"),
                    goal=metric.get("goal"),
                    noise_ceiling=metric.get("noise_ceiling"),
                )
            case "ended":
                best = event.get("best") or {}
                self._set(
                    doing="searches",
                    trials=self.progress.trials + 1,
                    best=best.get("value"),
                    best_trial=best.get("trial"),
                    seconds_left=self._left(event),
                )
                self._step()
            case "progressed":
                trial, iteration, iterations = (event.get(key) for key in ("trial", "iteration", "iterations"))
                self._set(doing=f"searches: trial {trial}, iteration {iteration} of {iterations}")
            case "repeated":
                done, count = event.get("done"), event.get("count")
                self._set(doing=f"computes intervals: {done} of {count} repeated measurements", seconds_left=None)
            case "paused":
                self._set(doing=f"waits: {event.get('reason')}")
            case "resumed":
                self._set(doing="searches")
            case "finished" | "state":
                self._set(doing="", seconds_left=None)

    def _left(self, event: dict[str, Any]) -> float | None:
        """Trials that are left, each as long as the last ones were on average."""
        now, done = _time(event), self.progress.trials + 1 - self._before
        if self._began is None or now is None or self.progress.budget is None or done < 1:
            return None
        left = self.progress.budget - self.progress.trials - 1
        return max(0.0, left * (now - self._began).total_seconds() / done)

    def _step(self) -> None:
        best = self.progress.best
        if best is not None and (not self.steps or self.steps[-1][1] != best):
            self.steps.append((self.progress.trials, best))

    def _set(self, **values: Any) -> None:
        self.progress = self.progress.model_copy(update=values)


def _time(event: dict[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(str(event.get("time")))
    except ValueError:
        return None
