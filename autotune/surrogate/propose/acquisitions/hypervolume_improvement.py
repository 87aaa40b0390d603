"""qLogNEHVI: improvement of several metrics at once, of the hypervolume that their front encloses.

Source: S. Daulton, M. Balandat, E. Bakshy, "Parallel Bayesian optimization of multiple noisy objectives with expected
hypervolume improvement", NeurIPS 2021; its logarithm from S. Ament et al., NeurIPS 2023.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.multi_objective import logei
from botorch.acquisition.multi_objective.objective import WeightedMCMultiOutputObjective
from botorch.models.model import ModelList
from botorch.sampling.list_sampler import ListSampler
from botorch.sampling.normal import SobolQMCNormalSampler
from botorch.utils.multi_objective.hypervolume import infer_reference_point
from torch import Tensor

from autotune.objective import Metric
from autotune.problem.goals import SECONDS, non_dominated
from autotune.problem.space import Floats, Space
from autotune.surrogate.model.history import History
from autotune.surrogate.model.value_model import FittedModel, fit
from autotune.surrogate.propose.acquisitions.protocol import Situation
from autotune.surrogate.propose.incumbent import incumbent

if TYPE_CHECKING:
    from botorch.posteriors.gpytorch import GPyTorchPosterior

MONTE_CARLO_SAMPLES = 64
FEWEST_WEIGHED = 2
"""Trials that must report every weighed metric before it is weighed."""

# BoTorch would compile an extension for this processor at its first use, with whatever compiler it finds: half a minute
# within a search, files outside the project's folders, and other digits than without it.
logei._load_attempted = True


def suits(situation: Situation) -> bool:
    """Whether there are metrics to weigh, and enough admissible trials that report all of them."""
    if not situation.against:
        return False
    reported = np.isfinite([situation.history.reported(metric.name) for metric in situation.against]).all(axis=0)
    return int((situation.admissible & reported).sum()) >= FEWEST_WEIGHED


def make(situation: Situation) -> AcquisitionFunction:
    """Logarithm of the expected improvement of the front's hypervolume, over points (b, 1, D).

    Every metric counts in units of its spread over the trials; ``seconds`` by its logarithm. Only trials that keep the
    limits may be on the front.
    """
    fitted, history = situation.fitted, situation.history
    Y = np.column_stack([history.y, *(_larger_is_better(history, metric) for metric in situation.against)])
    complete = np.isfinite(Y).all(axis=1)
    kept = situation.admissible & complete
    models = [fitted, *(fit(history.X[complete], values) for values in Y[complete, 1:].T)]
    spread = Y[complete].std(axis=0)
    weights = 1 / np.where(spread > 0, spread, 1.0)
    pending = situation.pending
    sampler = ListSampler(
        *(SobolQMCNormalSampler(torch.Size([MONTE_CARLO_SAMPLES]), seed=situation.seed + i) for i in range(len(models)))
    )
    return logei.qLogNoisyExpectedHypervolumeImprovement(
        ModelList(*(model.model for model in models)),
        ref_point=reference_point(Y[kept] * weights, _ends(models, history, situation.space) * weights),
        X_baseline=torch.as_tensor(history.X[kept]),
        X_pending=pending if len(pending) else None,
        sampler=sampler,
        objective=WeightedMCMultiOutputObjective(torch.as_tensor(weights)),
        prune_baseline=True,
        cache_root=False,
    )


def reference_point(Y: Floats, ends: Floats) -> Tensor:
    """The point that a point of the front must beat in every metric to enclose any volume, shape (m,).

    A tenth of the front's range below its worst values (Ishibuchi et al., 2013). The front so far may be a short piece
    of the whole, and would never grow beyond the range that its own ends allow: the models' predictions at the best of
    every metric by itself count as part of it.

    Args:
        Y: values of the trials, larger is better, shape (n, m).
        ends: values predicted at the best of each metric, shape (m, m).
    """
    point: Tensor = infer_reference_point(torch.as_tensor(np.concatenate([Y[non_dominated(Y)], ends])))
    return point


def _ends(models: Sequence[FittedModel], history: History, space: Space) -> Floats:
    """The predictions of all models at the maximum of each of them, shape (m, m)."""
    points = torch.as_tensor(np.array([incumbent(model, history, space) for model in models])).unsqueeze(1)
    with torch.no_grad():
        expected = [cast("GPyTorchPosterior", model.model.posterior(points)).mean[:, 0, 0] for model in models]
    return np.asarray(torch.stack(expected, dim=1).numpy(), dtype=np.float64)


def _larger_is_better(history: History, metric: Metric) -> Floats:
    values = history.reported(metric.name)
    if metric.name == SECONDS.name:
        values = np.log(np.where(values > 0, values, math.nan))
    return metric.sign * values
