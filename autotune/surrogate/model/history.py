"""The trials of a study as the surrogate sees them: arrays over the unit cube."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autotune.objective import Value
from autotune.problem.space import Floats, Space

FEWEST_VALUES = 2
"""Fewest values of a metric that show how it varies."""
MOST_TRIALS = 400
"""Most trials with a value that a model is fitted to; see :meth:`History.bounded`."""


@dataclass(frozen=True)
class History:
    """Trials before the one being asked.

    Attributes:
        X: evaluated points, shape (n, D).
        y: their values, shape (n,), finite, larger is better.
        pending: points, shape (m, D), of running trials, whose values are not known yet.
        position: place of the trial being asked in the search: how many trials count before it, or the place of an
            interrupted one.
        gradient: derivatives of the values, shape (n, D), per unit-cube coordinate; NaN where one is not known; None
            where none is.
        failed: points, shape (f, D), of trials that ended without a value; nothing is gained by asking for them again.
        level: level of each value, shape (n,): 0 for a full evaluation of this study. None where all are.
        expected: expected improvement of each trial that counts; None where none was computed.
        reports: the metrics that each of the n trials reported beside its value; empty where they are not needed.
    """

    X: Floats
    y: Floats
    pending: Floats
    position: int
    gradient: Floats | None = None
    failed: Floats | None = None
    level: NDArray[np.int64] | None = None
    reports: tuple[Mapping[str, float], ...] = ()
    expected: tuple[float | None, ...] = ()

    @property
    def has_gradient(self) -> bool:
        """Whether any derivative is known."""
        return self.gradient is not None and bool(np.isfinite(self.gradient).any())

    @property
    def has_full_gradient(self) -> bool:
        """Whether some trial has derivatives along every coordinate."""
        return self.gradient is not None and bool(np.isfinite(self.gradient).all(axis=1).any())

    @property
    def levels(self) -> NDArray[np.int64]:
        """Level of each value, shape (n,)."""
        return np.zeros(len(self.y), dtype=np.int64) if self.level is None else self.level

    def reported(self, name: str) -> Floats:
        """A metric of each trial, or ``seconds``, shape (n,); NaN where it is not known."""
        return np.array([report.get(name, math.nan) for report in self._all_reports], dtype=np.float64)

    @property
    def _all_reports(self) -> tuple[Mapping[str, float], ...]:
        return self.reports or ({},) * len(self.y)

    @property
    def spread(self) -> float:
        """Scale of the values: the largest power of two not above their pooled standard deviation within levels.

        A power of two, so that dividing by it is exact. 1 where the values do not vary.
        """
        largest = float(np.abs(self.y).max(initial=0.0))
        if largest == 0:
            return 1.0
        of_levels = [self.y[self.levels == level] / largest for level in set(self.levels)]  # squares stay finite
        deviation = float(np.concatenate([values - values.mean() for values in of_levels]).std())
        return 2.0 ** math.floor(math.log2(deviation) + math.log2(largest)) if deviation > 0 else 1.0

    def divided(self, by: float) -> History:
        """The same trials in another unit: values, derivatives and expected improvements divided by a number."""
        gradient = None if self.gradient is None else self.gradient / by
        expected = tuple(None if each is None else each / by for each in self.expected)
        return replace(self, y=self.y / by, gradient=gradient, expected=expected)

    def known(self, level: int = 0) -> Floats:
        """The points that need not be asked for again at that level, shape (k, D): evaluated, running, or failed."""
        parts = [self.X[self.levels == level], self.pending]
        return np.concatenate(parts if self.failed is None else [*parts, self.failed])

    def of_levels(self, most: int) -> History:
        """The history with only the values of levels below ``most``."""
        return self._only(self.levels < most)

    def at_level(self, level: int) -> History:
        """The history with only the values of that level."""
        return self._only(self.levels == level)

    def bounded(self, most: int) -> History:
        """The history with at most ``most`` trials with values, since the time of a fit grows with their number cubed.

        Half of them are the best, full evaluations first; the other half is taken evenly from all others by value,
        because the best alone would not show how the values vary elsewhere.
        """
        if len(self.y) <= most:
            return self
        order = np.lexsort((-self.y, self.levels != 0))
        others = order[most // 2 :]
        kept = np.zeros(len(self.y), dtype=bool)
        kept[order[: most // 2]] = True
        kept[others[np.linspace(0, len(others) - 1, most - most // 2).round().astype(int)]] = True
        failed = None if self.failed is None else self.failed[-most:]
        return replace(self._only(kept), failed=failed)

    def _only(self, kept: NDArray[np.bool_]) -> History:
        gradient = None if self.gradient is None else self.gradient[kept]
        reports = tuple(report for report, keep in zip(self.reports, kept, strict=False) if keep)
        return replace(
            self, X=self.X[kept], y=self.y[kept], gradient=gradient, level=self.levels[kept], reports=reports
        )

    def with_evaluation(self, point: Floats, value: float, slope: Floats) -> History:
        """The history with one more full evaluation: its point (D,), value and derivatives (D,)."""
        gradient = np.full_like(self.X, math.nan) if self.gradient is None else self.gradient
        return replace(
            self,
            X=np.concatenate([self.X, point[None]]),
            y=np.append(self.y, value),
            gradient=np.concatenate([gradient, slope[None]]),
            level=np.append(self.levels, 0),
            reports=(*self._all_reports, {}),
        )

    def joined(self, other: History, level: int) -> History:
        """The history with another study's trials as values of level ``level``.

        Only its trials of one level are taken, the one with most trials: a search with cheap evaluations has few full
        ones, and the cheap ones show what the metric looks like.
        """
        most = int(np.bincount(other.levels).argmax()) if len(other.y) else 0
        full = other.at_level(most)
        mine, theirs = (np.full_like(h.X, math.nan) if h.gradient is None else h.gradient for h in (self, full))
        return replace(
            self,
            X=np.concatenate([self.X, full.X]),
            y=np.concatenate([self.y, full.y]),
            gradient=np.concatenate([mine, theirs]),
            level=np.concatenate([self.levels, np.full(len(full.y), level)]),
            reports=(*self._all_reports, *full._all_reports),
        )


def slope_to_unit(space: Space, values: Mapping[str, Value], gradient: Mapping[str, float]) -> Floats:
    """Convert derivatives per parameter to those per unit-cube coordinate, shape (D,); NaN where one is missing."""
    by_name = space.gradient_to_unit(values, gradient)
    slopes = [by_name.get(d.name, math.nan) for d in space.dimensions for _ in range(d.width)]
    return np.array([slope if math.isfinite(slope) else math.nan for slope in slopes])
