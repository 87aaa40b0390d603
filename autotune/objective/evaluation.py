"""Evaluations: the result of one reconstruction, and the callback through which its caller follows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np

LONGEST_NAME = 200
"""Bytes of a file's name."""


class Status(StrEnum):
    """How an evaluation ended."""

    COMPLETE = "complete"
    STOPPED = "stopped"  # the caller asked for an early end; the metrics are those of the state reached
    DIVERGED = "diverged"  # the reconstruction produced NaN, infinity or a residual beyond reason
    FAILED = "failed"  # it raised an error; set by the executor, so an objective may simply raise


@dataclass(frozen=True)
class Evaluation:
    """The result of one reconstruction.

    Attributes:
        status: how it ended.
        metrics: metric name -> value, computed on the frozen final state. Empty when diverged.
        gradient: parameter name -> derivative of the tuned metric, per unit of the parameter itself or, as all below,
            of its square where it acts by that (:attr:`autotune.objective.Parameter.by_square`), for those
            differentiable parameters the objective could differentiate. By the envelope theorem this is the
            partial derivative at the fixed, converged reconstruction.
        gradient_parts: parameter name -> derivative of the tuned metric in each part of the data, per unit, by the
            difference of two reconstructions; this and the following four are empty where it was not asked for
            (:class:`autotune.objective.DividesGradient`).
        gradient_changes: parameter name -> parameter name -> change of the first one's derivative, in each part of the
            data, per unit of the second.
        gradient_noise: parameter name -> parameter name -> covariance of the sum of the parts by noise alone that is
            independent from one value of the data to the next.
        gradient_shifts: parameter name -> parameter name -> change of the second one's ``gradient`` where the first
            one was moved.
        gradient_again: the ``gradient`` of further reconstructions at the same values that are as valid, such as on
            another grid: what they differ by means nothing.
        confounded: parameter name -> standard deviation, in its unit, of unknowns that act on the data as the parameter
            does, such as a specimen's own wedge on the centre of its patterns: the best value is off by them.
        curve: metric name -> its value after each iteration of the solver (index 0 = after the first).
        arrays: name -> array worth keeping (object, probe, ...).
        attributes: scalar facts that a reader of ``arrays`` needs, such as pixel sizes, with the unit in the key.
        seconds: wall-clock time of the evaluation.
        reason: one sentence where ``status`` is not complete.
        resources: use of the machine, such as ``cpu_seconds``; measured by the executor where it is left empty.
        remarks: what people should know of it, in sentences that stand by themselves. Those of the best trial are
            printed with a study's result.
        software: name -> version of software that made it and is not in this Python: a package in a Python of its own.
        files: name -> content of a file that is kept as it is, such as one in the format of a package. Names are
            without folders.
    """

    status: Status
    metrics: Mapping[str, float] = field(default_factory=dict)
    gradient: Mapping[str, float] = field(default_factory=dict)
    curve: Mapping[str, Sequence[float]] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    attributes: Mapping[str, float | int | str] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    resources: Mapping[str, float] = field(default_factory=dict)
    gradient_parts: Mapping[str, Sequence[float]] = field(default_factory=dict)
    gradient_changes: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    gradient_noise: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    gradient_shifts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    gradient_again: Sequence[Mapping[str, float]] = ()
    confounded: Mapping[str, float] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    software: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.remarks, str):
            raise TypeError(f"remarks are sentences, not one text: {self.remarks!r}")
        for name, content in self.files.items():
            if not isinstance(name, str) or not isinstance(content, bytes):
                raise TypeError(f"files: {name!r} is {type(content).__name__}, not a name with bytes")
            if not 0 < len(name.encode()) <= LONGEST_NAME or set(name) & {"/", "\0"} or name in (".", ".."):
                raise ValueError(f"files: {name[:LONGEST_NAME]!r} is no name of a file")
        if self.status is Status.COMPLETE:
            bad = [name for name, value in self.metrics.items() if not math.isfinite(value)]
            if bad or not self.metrics:
                raise ValueError(
                    f"a complete evaluation needs finite metrics; not finite: {', '.join(bad) or 'none given'}"
                )
        elif not self.reason:
            raise ValueError(f"an evaluation that ended as {self.status} must give a reason")


class Progress(Protocol):
    """Callback by which an objective reports how far it is, and learns whether to go on."""

    def __call__(self, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        """Report after an iteration.

        Args:
            iteration: iterations done so far (1 after the first).
            iterations: iterations planned.
            metrics: metrics that are cheap to compute now; may be empty.

        Returns:
            True to go on; False to stop: finish with :attr:`Status.STOPPED` as soon as convenient.
        """


def never_stop(iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
    """Progress callback of a caller that only wants the result."""
    return True
