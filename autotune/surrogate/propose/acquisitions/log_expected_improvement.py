"""log-EI: the logarithm of the expected improvement over the best value, for values that are almost free of noise.

Source: S. Ament et al., "Unexpected Improvements to Expected Improvement for Bayesian Optimization", NeurIPS 2023.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.analytic import LogExpectedImprovement

from autotune.surrogate.propose.acquisitions.protocol import Situation

if TYPE_CHECKING:
    from botorch.posteriors.gpytorch import GPyTorchPosterior

NOISE_FREE = 1e-2
"""Noise variance, as a fraction of the variance of the values, up to which values count as free of noise."""


def suits(situation: Situation) -> bool:
    """Whether no trial is pending and the values are almost free of noise."""
    return len(situation.pending) == 0 and situation.fitted.noise <= NOISE_FREE


def make(situation: Situation) -> AcquisitionFunction:
    """log-EI over the highest posterior mean among the baseline points."""
    model = situation.fitted.model
    with torch.no_grad():
        best = cast("GPyTorchPosterior", model.posterior(situation.baseline.unsqueeze(1))).mean.max()
    return LogExpectedImprovement(model, best_f=best)
