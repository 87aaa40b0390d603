"""The interface of executors: an executor runs evaluations somewhere and reports when each has ended.

The side that evaluates keeps the arrays (:mod:`autotune.execution.artifacts`), so little travels back.
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
        at: values of all parameters, at which the expected measurement is computed.
        seed: seed of the noise.
    """

    at: Mapping[str, Value]
    seed: int


AGAIN = 3
"""Further reconstructions at the same values that a divided evaluation makes, at most."""
TO_LEARN = 4
"""Full evaluations that an objective may spend on learning what to repeat, before it repeats a measurement."""
_TO_EXAMINE = 4


@dataclass(frozen=True)
class Task:
    """One evaluation to make.

    Attributes:
        number: the trial's number, or one that no other task has.
        values: values of all parameters, tuned and held; those left out take the objective's defaults.
        seed: seed of everything random in the evaluation.
        folder: folder for its arrays and pictures, written under a temporary name and renamed; None to keep none.
        repetition: the repeated measurement to evaluate on; None for the measurement itself.
        examine: whether to examine instead (:class:`autotune.objective.Examines`): the metrics of the evaluation that
            comes back are those of the examination.
        in_parts: to divide the gradient (:class:`autotune.objective.DividesGradient`): parameter name -> another value
            of it; None for an evaluation as usual.
    """

    number: int
    values: Mapping[str, Value]
    seed: int
    folder: Path | None
    repetition: Repetition | None = None
    examine: bool = False
    in_parts: Mapping[str, float] | None = None

    @property
    def reconstructions(self) -> int:
        """How many times as long as a trial it may take."""
        moved = 0 if self.in_parts is None else len(self.in_parts) + AGAIN
        learned = TO_LEARN if self.repetition is not None else _TO_EXAMINE - 1 if self.examine else 0
        return 1 + moved + learned


@dataclass(frozen=True)
class Ended:
    """The end of an evaluation.

    Attributes:
        number: the task's number.
        evaluation: the evaluation without its arrays, which are in the task's folder.
        done: share of the iterations that was done, below 1 where the evaluation was stopped.
        infrastructure: whether it failed through no fault of its own (its worker was killed from outside, or lost), so
            that it may be tried again (:mod:`autotune.execution.retries`).
    """

    number: int
    evaluation: Evaluation
    done: float = 1.0
    infrastructure: bool = False


class Listener(Protocol):
    """Is told about evaluations while an executor waits, in the thread that waits."""

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        """An iteration is done; returns whether to go on. The evaluation waits for the answer."""

    def paused(self, reason: str) -> None:
        """An evaluation waits for something that passes, such as a full disk."""

    def resumed(self) -> None:
        """It goes on."""


class Executor(Protocol):
    """Runs evaluations, up to :attr:`workers` at once. Made for one study; used from one thread."""

    @property
    def workers(self) -> int:
        """How many evaluations may run at once."""

    def submit(self, task: Task) -> None:
        """Begin an evaluation, where fewer than :attr:`workers` run. Returns at once."""

    def wait(self, listener: Listener, timeout: float) -> Ended | None:
        """Wait until an evaluation has ended; None where none has within ``timeout`` seconds, or none runs.

        Raises:
            AutotuneError: no evaluation can be made here (the objective cannot be opened).
        """

    def close(self, seconds: float = 5.0) -> None:
        """Release all resources; evaluations that still run are ended at once. May be called again.

        Args:
            seconds: longest wait for what ends by itself.
        """
