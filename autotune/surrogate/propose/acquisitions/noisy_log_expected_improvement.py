"""qLogNEI: the logarithm of the noisy expected improvement, for noisy values or pending trials.

Source: S. Ament et al., "Unexpected Improvements to Expected Improvement for Bayesian Optimization", NeurIPS 2023.
"""

from __future__ import annotations

import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.models.gpytorch import GPyTorchModel
from botorch.sampling.normal import SobolQMCNormalSampler

from autotune.surrogate.propose.acquisitions.protocol import Situation

MONTE_CARLO_SAMPLES = 128


def suits(situation: Situation) -> bool:
    """Always."""
    return True


def make(situation: Situation) -> AcquisitionFunction:
    """qLogNEI over the baseline points, with the trials that run as pending points."""
    model, pending = situation.fitted.model, situation.pending
    return qLogNoisyExpectedImprovement(
        model,
        X_baseline=situation.baseline,
        X_pending=pending if len(pending) else None,
        sampler=SobolQMCNormalSampler(torch.Size([MONTE_CARLO_SAMPLES]), seed=situation.seed),
        prune_baseline=True,
        cache_root=isinstance(model, GPyTorchModel),
    )
