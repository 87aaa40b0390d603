"""What the service says of studies, as values. Keys that a newer service adds are left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar

from autotune.text import metric_text

Value = TypeVar("Value")


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Attributes:
        doing: what its process does now, in words.
        trials: trials that have ended.
        budget: trials that it may start; None before it has begun.
        metric, goal: name of the tuned metric, and whether it is maximized or minimized; None before it has begun.
        best, best_trial: the tuned metric of the best trial, in the metric's unit, and that trial's number; None before
            one has finished.
        noise_ceiling: value of the metric that the true model would reach; None where it is not known.
        seconds_left: estimated time until the search ends, in seconds; None where it is not known.
    """

    doing: str = ""
    trials: int = 0
    budget: int | None = None
    metric: str | None = None
    goal: str | None = None
    best: float | None = None
    best_trial: int | None = None
    noise_ceiling: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class Study:
    """A study of the service's queue.

    Attributes:
        id: its identifier in the service.
        name: its name, as its study file has it.
        study: its name in the trial store and in MLflow.
        state: queued, starting, running or cancelling; or how it ended: finished, failed, rejected, cancelled or
            interrupted.
        state_in_words: the same in words.
        reason: why it is in this state; may be empty.
        position: its place in the queue, from 1; None where it does not wait.
        owner: who submitted it.
        data: the measurement that it names; may be empty.
        created, started, ended: UTC times; None where that has not happened.
        attempts: how often its process was started.
        progress: how far it is.
        links: paths of what belongs to it, by what they are.
    """

    id: str
    name: str
    study: str
    state: str
    state_in_words: str
    reason: str
    position: int | None
    owner: str
    data: str
    created: datetime
    started: datetime | None
    ended: datetime | None
    attempts: int
    progress: Progress
    links: Mapping[str, str]

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.ended is not None

    @property
    def has_finished(self) -> bool:
        """Whether it has its answer."""
        return self.state == "finished"

    def __str__(self) -> str:
        done = self.progress
        trials = "" if done.budget is None else f", {done.trials} of {done.budget} trials"
        best = "" if done.best is None else f", {done.metric} {metric_text(done.best)}"
        why = f": {self.reason}" if self.reason else ""
        return f"study {self.id} ({self.name}) is {self.state}{why}{trials}{best}"


@dataclass(frozen=True)
class Event:
    """An event of a study; docs/execution.md lists them. The service adds ``state``, with ``state`` and ``reason``.

    Attributes:
        id: where to go on after it: the argument ``after`` of ``events``.
        event: its kind, such as ``ended``.
        data: all its keys and values, ``event`` and ``time`` (UTC, ISO 8601) among them.
    """

    id: int
    event: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Artifact:
    """A file of a study.

    Attributes:
        name: its path below the study's folder, with slashes.
        bytes: its size.
    """

    name: str
    bytes: int


@dataclass(frozen=True)
class Checked:
    """What a study would do.

    Attributes:
        name: its name.
        plan: what is tuned, how and on what, as ``autotune check`` prints it.
    """

    name: str
    plan: str


def read_study(document: Mapping[str, Any]) -> Study:
    """The study that a document of the service describes.

    Raises:
        KeyError, TypeError, ValueError: it describes none.
    """
    values = {field.name: document[field.name] for field in fields(Study)}
    values["created"] = datetime.fromisoformat(document["created"])
    for name in ("started", "ended"):
        values[name] = None if document[name] is None else datetime.fromisoformat(document[name])
    progress = {field.name: document["progress"][field.name] for field in fields(Progress)}
    values |= {"progress": Progress(**progress), "links": dict(document["links"])}
    return Study(**values)


def read_plain(kind: type[Value], document: Mapping[str, Any]) -> Value:
    """A value of one of the classes here whose attributes are plain.

    Raises:
        KeyError, TypeError: the document describes none.
    """
    return kind(**{field.name: document[field.name] for field in fields(kind)})  # type: ignore[arg-type]
