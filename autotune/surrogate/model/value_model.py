"""The value model: a Gaussian process over the unit cube.

Matern-5/2 kernel with one lengthscale per coordinate under the dimension-scaled log-normal prior of C.
Hvarfner et al., "Vanilla Bayesian Optimization Performs Great in High Dimensions", ICML 2024; standardised
values; float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from botorch.exceptions.errors import ModelFittingError
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from gpytorch.constraints import GreaterThan
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.priors import LogNormalPrior

from autotune.problem.space import Floats, Space
from autotune.surrogate.model.coordinates import Coordinates
from autotune.surrogate.model.history import History

if TYPE_CHECKING:
    from botorch.models.model import Model

    from autotune.surrogate.model.gradient_model import GradientGP
    from autotune.surrogate.model.hyperparameters import Fit

# Reconstructions repeat almost exactly, so the prior puts the noise far below the spread of the values, and
# leaves room (two e-folds of its standard deviation) for the data to say otherwise. Variances of standardised
# values.
NOISE_PRIOR_LOG_MEAN = -8.0
NOISE_PRIOR_LOG_STD = 2.0
NOISE_FLOOR = 1e-6
FEWEST_TO_JUDGE = 12
"""Fewest trials with which derivatives may be judged to mislead: with fewer, a few lucky values decide."""
MOST_TO_JUDGE = 150
"""Most trials with which derivatives are judged: beyond, the judgement is not worth its time."""


@dataclass(frozen=True)
class FittedModel:
    """A Gaussian process with its hyperparameters.

    Attributes:
        model: BoTorch model over (..., q, D) points of the unit cube; its posterior is in the units of ``y``.
        noise: fitted noise variance, as a fraction of the variance of the values.
    """

    model: Model
    noise: float


def fit_history(history: History, space: Space, levels: int = 1) -> FittedModel:
    """Fit the model of a study's trials: of values and derivatives where any trial has derivatives, else of values.

    Where derivatives mislead, so that each value is predicted better without them, the model is of the values.

    Args:
        history: the trials, at least two with a value.
        space: the search space.
        levels: how many levels trials may be of; more than one are always modelled together.
    """
    if not history.has_gradient and levels == 1:
        return fit(history.X, history.y)
    model, hyperparameters = fit_derivatives(history, space, levels)
    if levels == 1 and FEWEST_TO_JUDGE <= len(history.y) <= MOST_TO_JUDGE:
        values_only = fit(history.X, history.y)
        if leave_one_out(values_only, float(history.y.std(ddof=1))) > model.leave_one_out():
            return values_only
    return FittedModel(model, hyperparameters.noise)


def fit_derivatives(history: History, space: Space, levels: int = 1) -> tuple[GradientGP, Fit]:
    """Fit the model of values and derivatives of all levels, whether or not any trial has derivatives.

    Args:
        history, space, levels: as for :func:`fit_history`.
    """
    from autotune.surrogate.model.gradient_model import fit_gradient_gp
    from autotune.surrogate.model.observations import Trials

    groups = Coordinates(space).groups
    gradient = np.full_like(history.X, math.nan) if history.gradient is None else history.gradient
    trials = Trials(history.X, history.y, gradient[:, groups.smooth.numpy()], history.levels)
    return fit_gradient_gp(trials, groups, levels)


def leave_one_out(fitted: FittedModel, spread: float) -> float:
    """Sum of the log densities of each value given all others, in the values' unit, for a model made by :func:`fit`.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, eq. 5.10 to 5.12.

    Args:
        fitted: the model.
        spread: standard deviation of the values, by which the model standardises them.
    """
    model = cast("SingleTaskGP", fitted.model)
    with torch.no_grad():
        X = model.train_inputs[0]
        prior = model.forward(X)
        K = prior.covariance_matrix + fitted.noise * torch.eye(len(X), dtype=X.dtype)
        inverse = torch.linalg.inv(K)
        variance = 1 / inverse.diagonal()
        residual = variance * (inverse @ (model.train_targets - prior.mean))
        density = -0.5 * (residual.square() / variance + (2 * math.pi * variance * spread**2).log())
    return float(density.sum())


def fit(X: Floats, y: Floats) -> FittedModel:
    """Fit the model of values alone: hyperparameters by maximum a posteriori.

    Args:
        X: points, shape (n, D), in the unit cube.
        y: values, shape (n,), finite; n >= 2.

    Returns:
        The fitted model; with hyperparameters at the modes of their priors where the fit fails numerically.
    """
    points = torch.as_tensor(X, dtype=torch.float64, device="cpu")
    values = torch.as_tensor(y, dtype=torch.float64, device="cpu").unsqueeze(-1)
    model = SingleTaskGP(
        points,
        values,
        likelihood=_likelihood(),
        covar_module=get_covar_module_with_dim_scaled_prior(ard_num_dims=points.shape[-1], use_rbf_kernel=False),
    )
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        fit_gpytorch_mll(
            ExactMarginalLogLikelihood(model.likelihood, model),
            optimizer_kwargs={"options": {"maxiter": 200}},
        )
    except ModelFittingError:
        model.load_state_dict(start)
        model.eval()
    return FittedModel(model, float(model.likelihood.noise.item()))


def _likelihood() -> GaussianLikelihood:
    prior = LogNormalPrior(loc=NOISE_PRIOR_LOG_MEAN, scale=NOISE_PRIOR_LOG_STD)
    return GaussianLikelihood(
        noise_prior=prior,
        # Started at the median: the mode lies below the floor.
        noise_constraint=GreaterThan(NOISE_FLOOR, transform=None, initial_value=math.exp(NOISE_PRIOR_LOG_MEAN)),
    )
