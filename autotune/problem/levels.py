"""Levels of evaluation: a full one, cheaper ones, and those of earlier studies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Levels:
    """What the sampler ``gp`` may ask for and learn from, beside full evaluations.

    Attributes:
        costs: of a full evaluation (1) and of each cheap one, as fractions of it; a trial of level l costs
            ``costs[l]``.
        sources: how many earlier studies of the same parameters there are, whose full evaluations are further levels.
        finish: the next trial is to be a full evaluation where the model's mean is highest.
        tolerance: an improvement that does not matter; None where any does.
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
        """Those that can be evaluated, and the sources."""
        return len(self.costs) + self.sources
