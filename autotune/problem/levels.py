"""Levels of evaluation: a full one, cheaper ones, and those of earlier studies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Levels:
    """The levels that the sampler ``gp`` may propose, and those that its model is fitted to beside them.

    Attributes:
        costs: cost of a trial by level, as a fraction of a full evaluation: 1 for that, then one for each cheap level.
        sources: number of earlier studies of the same parameters, whose full evaluations are further levels.
        finish: whether the next trial is to be a full evaluation at the highest posterior mean.
        tolerance: an improvement below which it does not matter; None where every improvement matters.
    """

    costs: tuple[float, ...] = (1.0,)
    sources: int = 0
    finish: bool = False
    tolerance: float | None = None

    @property
    def cheapest(self) -> int:
        """The level that costs least."""
        return int(np.argmin(self.costs))

    @property
    def count(self) -> int:
        """Number of levels: those that can be evaluated, and the sources."""
        return len(self.costs) + self.sources
