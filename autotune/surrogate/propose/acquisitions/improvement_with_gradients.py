"""log of the expected improvement for the model of values and derivatives, or of several levels: in closed form.

Pending trials will bring derivatives, so they are believed to bring what the model expects: a pending value alone,
which qLogNEI knows, hides little of a place that derivatives will settle.
"""

from __future__ import annotations

from typing import cast

from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.analytic import _log_ei_helper
from torch import Tensor

from autotune.surrogate.model.gradient_model import GradientGP
from autotune.surrogate.propose.acquisitions.protocol import Situation


def suits(situation: Situation) -> bool:
    """Whether the model is one of values and derivatives, or of several levels."""
    return isinstance(situation.fitted.model, GradientGP)


def make(situation: Situation) -> AcquisitionFunction:
    """The improvement over the baseline point with the highest posterior mean."""
    model = cast(GradientGP, situation.fitted.model)
    if len(situation.pending):
        model = model.believing(situation.pending)
    return LogImprovement(model, model.highest(situation.baseline))


class LogImprovement(AcquisitionFunction):
    """log of the expected improvement over the value at one point, which need not be known exactly.

    Closed form of the expectation of max(f(x) - f(x0), 0): with a cheap level's deviation, or noise, both values are
    uncertain, but what they share cancels. The same as log-EI where the value at x0 is known.

    Args:
        model: of the values.
        over: x0, shape (D,).
    """

    def __init__(self, model: GradientGP, over: Tensor) -> None:
        super().__init__(model)
        self._improvement_over = model.improvement(over)

    def forward(self, X: Tensor) -> Tensor:
        """Over points (b, 1, D): (b,)."""
        mean, variance = self._improvement_over(X[:, 0])
        deviation = variance.sqrt()
        value: Tensor = _log_ei_helper(mean / deviation) + deviation.log()
        return value
