"""What the trials told: as arrays, and as standardised observations of values and derivatives."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autotune.problem.space import Floats
from autotune.surrogate.model.covariance import Rows


@dataclass(frozen=True)
class Trials:
    """What the trials told, as arrays.

    Attributes:
        X: (n, D) points of the unit cube.
        y: (n,) finite values, larger is better.
        gradient: (n, d) derivatives along the smooth coordinates, NaN where there is none.
        level: (n,) int64, 0 for the metric that is searched.
    """

    X: Floats
    y: Floats
    gradient: Floats
    level: NDArray[np.int64]

    @property
    def centred(self) -> Floats:
        """(n,) values less the mean of their level."""
        means: dict[int, float] = {int(level): self.y[self.level == level].mean() for level in np.unique(self.level)}
        centred: Floats = self.y - np.array([means[int(level)] for level in self.level])
        return centred

    def best_first(self) -> NDArray[np.int64]:
        """(n,) indices: the level searched before the others, then by value."""
        order: NDArray[np.int64] = np.lexsort((-self.centred, self.level != 0))
        return order


@dataclass(frozen=True)
class Observations:
    """What was observed, standardised.

    Attributes:
        rows: (N,) where, on which level, and the value or which derivative.
        y: (N,) what.
        levels: how many.
        centre: (levels,) mean of the values of each, in their own unit; 0 where there is none.
        spread: standard deviation of the values about these; derivatives are over it.
    """

    rows: Rows
    y: Tensor
    levels: int
    centre: Floats
    spread: float

    @classmethod
    def of(cls, trials: Trials, levels: int, most: int) -> Observations:
        """Standardise, and keep at most ``most`` rows: values first, then derivatives of the best trials."""
        order = trials.best_first()
        values = order[: max(2, min(len(order), most))]
        trial, along = np.nonzero(np.isfinite(trials.gradient[order]))
        room = max(0, most - len(values))
        return cls._standardised(trials, levels, values, order[trial[:room]], along[:room])

    @classmethod
    def some(cls, trials: Trials, levels: int, most: int) -> Observations:
        """Standardise, and keep about ``most`` rows: whole trials, half the best ones, half evenly from all others.

        The best alone lie so near each other that they do not tell how the function varies elsewhere; values without
        their derivatives do not tell how noisy these are.
        """
        order, size = trials.best_first(), 1 + np.isfinite(trials.gradient).sum(axis=1)
        best = max(2, int((size[order].cumsum() <= most // 2).sum()))
        others = order[best:]
        if size.sum() > most and len(others):
            count = max(0, int((most - size[order[:best]].sum()) / size[others].mean()))
            others = others[np.linspace(0, len(others) - 1, count).round().astype(int)]
        values = np.concatenate([order[:best], others])
        trial, along = np.nonzero(np.isfinite(trials.gradient[values]))
        return cls._standardised(trials, levels, values, values[trial], along)

    @classmethod
    def _standardised(
        cls, trials: Trials, levels: int, values: NDArray[np.int64], trial: NDArray[np.int64], along: NDArray[np.int64]
    ) -> Observations:
        """The values of some trials, and derivatives: of which trial, along which smooth coordinate."""
        centred = trials.centred
        spread = float(centred.std()) or 1.0
        both = np.concatenate([values, trial])
        rows = Rows(
            torch.as_tensor(trials.X[both]),
            torch.as_tensor(np.concatenate([np.full(len(values), -1), along]).astype(np.int64)),
            torch.as_tensor(trials.level[both]),
        )
        observed = np.concatenate([centred[values], trials.gradient[trial, along]]) / spread
        centre = np.array(
            [trials.y[trials.level == level].mean() if level in trials.level else 0.0 for level in range(levels)]
        )
        return cls(rows, torch.as_tensor(observed), levels, centre, spread)

    def with_rows(self, rows: Rows, y: Tensor) -> Observations:
        """These and more, standardised as these are."""
        mine = self.rows
        both = Rows(
            torch.cat([mine.X, rows.X]),
            torch.cat([mine.coordinate, rows.coordinate]),
            torch.cat([mine.level, rows.level]),
        )
        return replace(self, rows=both, y=torch.cat([self.y, y]))

    @property
    def of_level(self) -> Tensor:
        """(N, levels) 1 where a row is a value of the level: what the levels' means add to."""
        values = (self.rows.coordinate < 0).to(self.y.dtype)
        return torch.nn.functional.one_hot(self.rows.level, self.levels) * values[:, None]
