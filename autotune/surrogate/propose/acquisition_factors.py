"""Factors of an expected improvement: the probability that a trial succeeds, or keeps a limit; one over its cost.

Each is the logarithm of a model's prediction over points (b, 1, D), so that it adds to log-EI and has a gradient.
Source: M. A. Gelbart, J. Snoek, R. P. Adams, "Bayesian optimization with unknown constraints", UAI 2014; for cost,
J. Snoek, H. Larochelle, R. P. Adams, "Practical Bayesian optimization of machine learning algorithms", NeurIPS 2012.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.utils.probability.utils import log_ndtr
from torch import Tensor

from autotune.problem.space import Floats
from autotune.surrogate.model.value_model import FittedModel, fit

if TYPE_CHECKING:
    from botorch.posteriors.gpytorch import GPyTorchPosterior

LogFactor = Callable[[Tensor], Tensor]
"""Points (b, 1, D) -> (b,) logarithm of a factor by which an improvement there is multiplied."""

LABEL_NOISE = 0.1
"""Variance of a label beyond the model's: one failure does not prove that a neighbouring trial fails as well."""


class Weighted(AcquisitionFunction):
    """The logarithm of an improvement multiplied by factors: probabilities, or one over a cost.

    Args:
        improvement: the logarithm of the improvement over points (b, 1, D).
        factors: logarithms of the factors.
        weight: exponent of the factors.
    """

    def __init__(self, improvement: AcquisitionFunction, factors: Sequence[LogFactor], weight: float = 1.0) -> None:
        super().__init__(improvement.model)
        self._improvement, self._factors, self._weight = improvement, tuple(factors), weight

    def forward(self, X: Tensor) -> Tensor:
        """Over points (b, 1, D): (b,)."""
        value: Tensor = self._improvement(X)
        for factor in self._factors:
            value = value + self._weight * factor(X)
        return value


def success(succeeded: Floats, failed: Floats) -> LogFactor:
    """log of the probability that a trial gives a value: least-squares Gaussian-process classification.

    A regression of +1 (a value) and -1 (diverged, crashed, timed out, not finite), seen through a probit: Rasmussen and
    Williams, Gaussian Processes for Machine Learning, sec. 6.5.

    Args:
        succeeded: points with a value, shape (n, D).
        failed: points without a value, shape (f, D); f >= 1.
    """
    points = np.concatenate([succeeded, failed])
    labels = np.concatenate([np.ones(len(succeeded)), -np.ones(len(failed))])
    if len(points) == 1:  # one label has no spread to fit
        return lambda X: torch.zeros(len(X), dtype=X.dtype)
    classifier = fit(points, labels)

    def log_probability(X: Tensor) -> Tensor:
        mean, variance = _moments(classifier, X)
        return log_ndtr(mean / (variance + LABEL_NOISE).sqrt())

    return log_probability


def keeps(model: FittedModel, values: Floats, *, below: float | None, above: float | None) -> LogFactor:
    """log of the probability that a metric keeps its limits.

    Args:
        model: the model of the metric.
        values: the values it was fitted to, shape (n,).
        below, above: largest and smallest value allowed; None for no such limit.
    """

    def log_probability(points: Tensor) -> Tensor:
        mean, variance = _moments(model, points)
        deviation = (variance + model.noise * float(values.var())).clamp(min=1e-18).sqrt()
        total = torch.zeros_like(mean)
        if below is not None:
            total = total + log_ndtr((below - mean) / deviation)
        if above is not None:
            total = total + log_ndtr((mean - above) / deviation)
        return total

    return log_probability


def cheapness(X: Floats, cost: Floats) -> LogFactor:
    """log of one over the cost, so that an improvement counts per unit of cost.

    Args:
        X: points, shape (n, D), n >= 2.
        cost: cost of each trial, shape (n,), positive.
    """
    model = fit(X, np.log(cost))
    return lambda points: -_moments(model, points)[0]


def _moments(fitted: FittedModel, X: Tensor) -> tuple[Tensor, Tensor]:
    """Posterior mean and variance at points (b, 1, D), each (b,)."""
    posterior = cast("GPyTorchPosterior", fitted.model.posterior(X))
    return posterior.mean[:, 0, 0], posterior.variance[:, 0, 0]
