"""The results of the trials: as arrays, and as standardised observations of values and derivatives."""

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
    """The results of the trials, as arrays.

    Attributes:
        X: (n, D) points of the unit cube.
        y: (n,) finite values, larger is better.
        gradient: (n, d) derivatives along the smooth coordinates, NaN where one is missing.
        level: (n,) int64, 0 for the metric that is searched.
    """

    X: Floats
    y: Floats
    gradient: Floats
    level: NDArray[np.int64]

    @property
    def centred(self) -> Floats:
        """Values minus the mean of their level, (n,)."""
        means: dict[int, float] = {int(level): self.y[self.level == level].mean() for level in np.unique(self.level)}
        centred: Floats = self.y - np.array([means[int(level)] for level in self.level])
        return centred

    def best_first(self) -> NDArray[np.int64]:
        """Indices of the trials, (n,), best first: the level that is searched before the others, then by value."""
        order: NDArray[np.int64] = np.lexsort((-self.centred, self.level != 0))
        return order


@dataclass(frozen=True)
class Observations:
    """Standardised observations of values and derivatives.

    Attributes:
        rows: for each of N observations its point, its level, and whether it is the value or which derivative.
        y: (N,) the observed numbers.
        levels: number of levels.
        centre: (levels,) mean of the values of each level, in their own unit; 0 where there are none.
        spread: standard deviation of the values about these means; derivatives are divided by it.
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

        The best alone lie so near each other that they do not show how the function varies elsewhere; values without
        their derivatives do not show how noisy these are.
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
        """Observations of the values of some trials, and of derivatives.

        Args:
            trials: all trials.
            levels: number of levels.
            values: indices of the trials whose values are kept.
            trial, along: trial and smooth coordinate of each derivative that is kept.
        """
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
        """These observations and further ones, which are standardised already."""
        mine = self.rows
        both = Rows(
            torch.cat([mine.X, rows.X]),
            torch.cat([mine.coordinate, rows.coordinate]),
            torch.cat([mine.level, rows.level]),
        )
        return replace(self, rows=both, y=torch.cat([self.y, y]))

    @property
    def of_level(self) -> Tensor:
        """1 where a row is a value of the level, (N, levels): the rows to which the level's mean is added."""
        values = (self.rows.coordinate < 0).to(self.y.dtype)
        return torch.nn.functional.one_hot(self.rows.level, self.levels) * values[:, None]
