"""What the surrogate sees of a study: an Optuna study's trials as arrays over the unit cube."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autotune.objective import Value
from autotune.problem.space import Floats, Space

if TYPE_CHECKING:
    pass

MOST_TRIALS = 400
"""Trials with a value that a model is made of; see :meth:`History.bounded`."""


@dataclass(frozen=True)
class History:
    """Trials before the one being asked.

    Attributes:
        X: evaluated points, shape (n, D).
        y: their values, shape (n,), finite, larger is better.
        pending: points, shape (m, D), that are running: no value is known yet.
        position: of this trial in the search: how many count before it, or the place of an interrupted one.
        gradient: derivatives of the values, shape (n, D), per unit-cube coordinate; NaN where one is not known; None
            where none is.
        failed: points, shape (f, D), that ended without a value; nothing is gained by asking for them again.
        level: of each value, shape (n,): 0 for a full evaluation of this study. None where all are.
        expected: by how much each trial that counts was expected to improve the value; None where nothing was expected.
        reports: what each of the n trials reported beside its value; empty where no one asks.
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
        """Of each value, shape (n,)."""
        return np.zeros(len(self.y), dtype=np.int64) if self.level is None else self.level

    def reported(self, name: str) -> Floats:
        """A metric of each trial, or ``seconds``, shape (n,); NaN where it is not known."""
        return np.array([report.get(name, math.nan) for report in self._all_reports], dtype=np.float64)

    @property
    def _all_reports(self) -> tuple[Mapping[str, float], ...]:
        return self.reports or ({},) * len(self.y)

    @property
    def spread(self) -> float:
        """Of the values about the mean of their level: the power of two next below their standard deviation.

        Values divided by it are not rounded.
        """
        largest = float(np.abs(self.y).max(initial=0.0))
        if largest == 0:
            return 1.0
        of_levels = [self.y[self.levels == level] / largest for level in set(self.levels)]  # squares stay finite
        deviation = float(np.concatenate([values - values.mean() for values in of_levels]).std())
        return 2.0 ** math.floor(math.log2(deviation) + math.log2(largest)) if deviation > 0 else 1.0

    def divided(self, by: float) -> History:
        """The values, their derivatives and what was expected of them divided: all of it is in another unit."""
        gradient = None if self.gradient is None else self.gradient / by
        expected = tuple(None if each is None else each / by for each in self.expected)
        return replace(self, y=self.y / by, gradient=gradient, expected=expected)

    def known(self, level: int = 0) -> Floats:
        """Every point that need not be asked again at that level, shape (k, D)."""
        parts = [self.X[self.levels == level], self.pending]
        return np.concatenate(parts if self.failed is None else [*parts, self.failed])

    def of_levels(self, most: int) -> History:
        """Only the values of levels below ``most``."""
        return self._only(self.levels < most)

    def at_level(self, level: int) -> History:
        """Only the values of that level."""
        return self._only(self.levels == level)

    def bounded(self, most: int) -> History:
        """At most so many trials: half of them the best, full evaluations first, half evenly from all others by value.

        A model's time grows with their cube. The best alone would not tell how the values vary elsewhere.
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

    def told(self, point: Floats, value: float, slope: Floats) -> History:
        """With one more full evaluation: its point (D,), value and derivatives (D,)."""
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
        """With another study's trials as values of level ``level``: those of the level that most of them are of.

        A search with cheap evaluations has few full ones; what the metric looks like, the cheap ones tell.
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
    """Derivatives per unit-cube coordinate, shape (D,), of derivatives per parameter; NaN where one is not known."""
    known = space.gradient_to_unit(values, gradient)
    slopes = [[known.get(d.name, math.nan)] * d.width for d in space.dimensions]
    return np.array([slope if math.isfinite(slope) else math.nan for of_one in slopes for slope in of_one])
