"""Learning curves: stop a trial that cannot become the best any more, and predict the final value of a stopped one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autotune.objective import Metric
from autotune.store.records import TrialRecord

FEWEST_CURVES = 4
"""Fewest finished trials that show how much the metric still gains after an iteration."""
MARGIN = 1.5
"""A trial is stopped only where even this multiple of the largest gain of a finished trial would not do."""


@dataclass(frozen=True)
class Curves:
    """The curves of the finished trials of one level.

    Attributes:
        curves: each with one value per iteration, the last one the trial's final metric; larger is better.
    """

    curves: Sequence[Sequence[float]]

    @classmethod
    def of(cls, trials: Sequence[TrialRecord], metric: Metric, level: int) -> Curves:
        """The curves of the trials of that level that finished with a curve of the metric."""
        sign = metric.sign
        finished = [
            t for t in trials if t.state == "finished" and t.level == level and len(t.curve.get(metric.name, ()))
        ]
        return cls([[*(sign * c for c in t.curve[metric.name][:-1]), sign * t.metrics[metric.name]] for t in finished])

    def gains(self, iteration: int) -> list[float]:
        """Gains of the trials after an iteration (from 1), in ascending order; empty where too few reached it."""
        gains = [curve[-1] - curve[iteration - 1] for curve in self.curves if len(curve) >= iteration]
        return sorted(gains) if len(gains) >= FEWEST_CURVES else []

    def hopeless(self, iteration: int, value: float) -> bool:
        """Whether a trial with this value after an iteration would stay below the best even with an unseen gain."""
        gains = self.gains(iteration)
        return bool(gains) and value + MARGIN * max(gains[-1], 0.0) < max(curve[-1] for curve in self.curves)

    def heading_for(self, iteration: int, value: float) -> float | None:
        """Predicted final value of a trial with this value after an iteration; None where too few curves are known."""
        gains = self.gains(iteration)
        return value + gains[len(gains) // 2] if gains else None
