"""The interface of executors: what runs a trial's evaluation somewhere, and says when it has ended.

The side that evaluates keeps the arrays (:mod:`autotune.execution.artifacts`), so what travels back is small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from autotune.objective import Evaluation, Value


@dataclass(frozen=True)
class Repetition:
    """A measurement repeated in simulation; see :class:`autotune.objective.MeasuresAgain`.

    Attributes:
        at: values of all parameters, at which the model says what to expect.
        seed: of the noise.
    """

    at: Mapping[str, Value]
    seed: int


@dataclass(frozen=True)
class Task:
    """One evaluation to make.

    Attributes:
        number: the trial's, or any that no other task has.
        values: of all parameters, tuned and held; those left out take the objective's defaults.
        seed: for everything random in it.
        folder: where its arrays and pictures are kept, written under a temporary name and renamed; None where they are
            not.
        repetition: what it is evaluated on instead of the measurement itself.
        examine: whether it is an examination instead (:class:`autotune.objective.Examines`), whose metrics are those of
            the evaluation that comes back.
    """

    number: int
    values: Mapping[str, Value]
    seed: int
    folder: Path | None
    repetition: Repetition | None = None
    examine: bool = False


@dataclass(frozen=True)
class Ended:
    """How an evaluation ended.

    Attributes:
        number: the trial's.
        evaluation: without its arrays, which are in the task's folder.
        done: share of it that was done, below 1 where it was stopped.
        infrastructure: whether it failed through no fault of its own (its worker was killed from outside, or lost), so
            that it may be tried again.
    """

    number: int
    evaluation: Evaluation
    done: float = 1.0
    infrastructure: bool = False


class Listener(Protocol):
    """Who hears of evaluations while an executor waits; called in the thread that waits."""

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        """An iteration is done; whether to go on. The evaluation waits for the answer."""

    def paused(self, reason: str) -> None:
        """An evaluation waits for something that passes, such as a full disk."""

    def resumed(self) -> None:
        """It goes on."""


class Executor(Protocol):
    """Runs evaluations, so many at once. Made for one study; used from one thread."""

    @property
    def workers(self) -> int:
        """How many evaluations may run at once."""

    def submit(self, task: Task) -> None:
        """Begin an evaluation; not more at once than :attr:`workers`. Returns at once."""

    def wait(self, listener: Listener, timeout: float) -> Ended | None:
        """Wait until an evaluation has ended; None where none has within ``timeout`` seconds, or none runs.

        Raises:
            AutotuneError: no evaluation can be made here (the objective cannot be opened).
        """

    def close(self) -> None:
        """Give everything back; what still runs is ended at once. May be called again."""
