"""Goals beside the tuned metric: limits that a trial must keep, and metrics that the tuned one is weighed against."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotune.objective import Metric, Twin

SECONDS = Metric("seconds", "minimize", "s", description="wall-clock time of an evaluation")
"""The time that every trial reports beside its metrics; a limit or a weighed metric may be this."""


@dataclass(frozen=True)
class Limit:
    """A limit on a metric that a trial must keep to be an answer.

    Attributes:
        metric: name of a metric that evaluations report, or ``seconds``.
        below, above: largest and smallest value allowed; None for no such limit.
        of_twins: whether it only says which of two equally good answers is right (:class:`autotune.objective.Twin`): a
            trial that misses it may be the answer where none as good keeps it.

    Raises:
        ValueError: neither is given, or no value is between them.
    """

    metric: str
    below: float | None = None
    above: float | None = None
    of_twins: bool = False

    def __post_init__(self) -> None:
        if self.below is None and self.above is None:
            raise ValueError(f"the limit of {self.metric} says neither below nor above what")
        if self.below is not None and self.above is not None and not self.above < self.below:
            raise ValueError(f"no {self.metric} is above {self.above:g} and below {self.below:g}")

    def kept_by(self, reported: Mapping[str, float]) -> bool:
        """Whether a trial's reported metrics keep the limit; without the metric they do not."""
        return self.missed_by(reported) == 0

    def missed_by(self, reported: Mapping[str, float]) -> float:
        """How far outside the limit a trial's reported metric is; 0 inside, infinity where it is missing or NaN."""
        value = reported.get(self.metric, math.nan)
        if math.isnan(value):
            return math.inf
        over = 0.0 if self.below is None else value - self.below
        under = 0.0 if self.above is None else self.above - value
        return max(over, under, 0.0)

    def __str__(self) -> str:
        ends = (("above", self.above), ("below", self.below))
        return f"{self.metric} {' and '.join(f'{side} {end:g}' for side, end in ends if end is not None)}"


@dataclass(frozen=True)
class Aims:
    """The aims of a search beside the best tuned metric.

    Attributes:
        against: metrics that the tuned one is weighed against.
        limits: limits that an answer must keep.
        per_second: whether an improvement counts per second of evaluation.
        twin: the twin that answers may have in the space; of the two the right one is the answer.
    """

    against: tuple[Metric, ...] = ()
    limits: tuple[Limit, ...] = ()
    per_second: bool = False
    twin: Twin | None = None

    @property
    def of_answers(self) -> tuple[Limit, ...]:
        """What a trial must keep to be the answer: the limits, and that it is not the wrong one of two twins."""
        return self.limits if self.twin is None else (*self.limits, Limit(self.twin.metric, above=0.0, of_twins=True))


def non_dominated(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows are not dominated: no other row is at least as good in every column and better in one.

    Args:
        values: shape (n, m), larger is better.

    Returns:
        Shape (n,).
    """
    as_good = np.all(values[None] >= values[:, None], axis=-1)
    better = np.any(values[None] > values[:, None], axis=-1)
    undominated: NDArray[np.bool_] = ~np.any(as_good & better, axis=1)
    return undominated


def signed(values: Mapping[str, float], metrics: Sequence[Metric]) -> list[float]:
    """The metrics of one trial with their sign such that larger is better; NaN for a metric that it did not report."""
    return [m.sign * values.get(m.name, math.nan) for m in metrics]
