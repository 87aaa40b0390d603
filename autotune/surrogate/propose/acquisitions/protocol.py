"""A row of the table of acquisition functions: when the function suits, and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from numpy.typing import NDArray
from torch import Tensor

from autotune.objective import Metric
from autotune.problem.space import Space
from autotune.surrogate.model.history import History
from autotune.surrogate.model.value_model import FittedModel


@dataclass(frozen=True)
class Situation:
    """Everything that an acquisition function is chosen by and made from.

    Attributes:
        fitted: the value model.
        history: the study's own trials, at least one with a value, and those pending.
        space: the search space.
        seed: seed of Monte Carlo samples.
        against: other metrics that the tuned one is weighed against.
        kept: which of the n trials with a value keep the limits, shape (n,); None where all do.
        held: column of a dimension whose value nobody chooses -> its coordinate in the next trial.
    """

    fitted: FittedModel
    history: History
    space: Space
    seed: int
    against: Sequence[Metric] = ()
    kept: NDArray[np.bool_] | None = None
    held: Mapping[int, float] = field(default_factory=dict)

    @property
    def admissible(self) -> NDArray[np.bool_]:
        """Which of the trials with a value may be the answer, shape (n,): those that keep the limits."""
        return np.ones(len(self.history.y), dtype=np.bool_) if self.kept is None else self.kept

    @property
    def baseline(self) -> Tensor:
        """Points, shape (k, D), of the admissible trials, the best of which is to be improved on.

        Each is moved to the coordinates that are held: what was best at another temperature is no measure at this one.
        """
        points = torch.tensor(self.history.X[self.admissible], dtype=torch.float64)
        for column, coordinate in self.held.items():
            points[:, column] = coordinate
        return points

    @property
    def pending(self) -> Tensor:
        """Points, shape (m, D), of the trials that run."""
        return torch.as_tensor(self.history.pending, dtype=torch.float64)


@dataclass(frozen=True)
class Acquisition:
    """One row of the table of acquisition functions.

    Attributes:
        name: its name in the literature, or in words.
        suits: whether it is the right one for a situation in which no row above it is.
        make: makes the function, over points (b, 1, D) -> (b,): the logarithm of an expected improvement.
        in_the_metrics_unit: whether the improvement is one of the tuned metric, in its unit.
    """

    name: str
    suits: Callable[[Situation], bool]
    make: Callable[[Situation], AcquisitionFunction]
    in_the_metrics_unit: bool = True
