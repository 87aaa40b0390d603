"""While no trial keeps the limits: no improvement at all, so that the chance of keeping them decides alone."""

from __future__ import annotations

from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.models.model import Model
from torch import Tensor

from autotune.surrogate.propose.acquisitions.protocol import Situation


def suits(situation: Situation) -> bool:
    """Whether no trial keeps the limits."""
    return not situation.admissible.any()


def make(situation: Situation) -> AcquisitionFunction:
    """A function that is the same everywhere."""
    return Nowhere(situation.fitted.model)


class Nowhere(AcquisitionFunction):
    """An acquisition function that prefers no place: the factors that are added to it decide."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)

    def forward(self, X: Tensor) -> Tensor:
        """Over points (b, 1, D): (b,) of zeros."""
        return 0.0 * X.sum(dim=(-1, -2))
