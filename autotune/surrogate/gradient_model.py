"""The value model of trials that carry gradients: a Gaussian process conditioned on values and partial derivatives.

A trial that returns its value and p derivatives tells 1 + p numbers about the metric. Values and derivatives have
noises of their own, both learned, so that derivatives which do not fit the values (an unconverged reconstruction) are
discounted, not trusted. The kernel is Matern-5/2 or squared-exponential, whichever explains the trials better: near its
optimum a metric is close to a quadratic, which is smoother than Matern-5/2 expects.

BoTorch's acquisition functions work on the model; its posterior is over the value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from botorch.models.model import Model
from botorch.posteriors.gpytorch import GPyTorchPosterior
from gpytorch.distributions import MultivariateNormal
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from autotune.space import Floats
from autotune.surrogate.covariance import (
    Groups,
    Hyperparameters,
    Profile,
    Rows,
    covariance,
    lengthscale_prior,
    matern52,
    prior_variance,
    rbf,
)

PROFILES: tuple[Profile, ...] = (matern52, rbf)

# Log-normal priors (mean, standard deviation of the logarithm) of variances of standardised values: the scale of the
# function, the noise of values, and the noise of derivatives as a fraction of their prior variance.
SCALE = (0.0, 1.5)
NOISE = (-8.0, 2.0)
SLOPE_NOISE = (-6.0, 2.0)
JITTER = 1e-8

FIT_ROWS = 240
"""Hyperparameters are fitted to at most so many observations, those of the best trials and their derivatives first."""
MOST_ROWS = 900
"""The model is conditioned on at most so many: every value, and the derivatives of the best trials."""
MAXITER = 50


@dataclass(frozen=True)
class Observations:
    """What was observed, standardised.

    Attributes:
        rows: (N,) where, and the value or which derivative.
        y: (N,) what.
        centre, spread: of the values in their own unit; derivatives are over ``spread``.
    """

    rows: Rows
    y: Tensor
    centre: float
    spread: float

    @classmethod
    def of(cls, X: Floats, y: Floats, gradient: Floats, most: int) -> Observations:
        """Standardise, and keep at most ``most`` rows: values first, then derivatives of the best trials.

        Args:
            X: (n, D) points.
            y: (n,) values.
            gradient: (n, d) derivatives along the smooth coordinates, NaN where there is none.
            most: rows to keep; at least two values are.
        """
        order = np.argsort(-y, kind="stable")
        values = order[: max(2, min(len(order), most))]
        spread = float(y.std()) or 1.0
        trial, along = np.nonzero(np.isfinite(gradient[order]))
        room = max(0, most - len(values))
        trial, along = order[trial[:room]], along[:room]
        rows = Rows(
            torch.as_tensor(np.concatenate([X[values], X[trial]])),
            torch.as_tensor(np.concatenate([np.full(len(values), -1), along]).astype(np.int64)),
        )
        observed = np.concatenate([(y[values] - y.mean()) / spread, gradient[trial, along] / spread])
        return cls(rows, torch.as_tensor(observed), float(y.mean()), spread)


@dataclass(frozen=True)
class Fit:
    """Fitted hyperparameters as one vector: log lengthscales, log weights, log scale, log noise, log slope noise."""

    theta: Tensor
    profile: Profile
    misfit: float

    @property
    def noise(self) -> float:
        """Noise variance of the values, as a fraction of the variance of the values."""
        return float(self.theta[-2].exp())


class GradientGP(Model):
    """Posterior of the value given values and derivatives."""

    def __init__(self, observations: Observations, groups: Groups, fitted: Fit) -> None:
        super().__init__()
        self._observations, self._groups, self._profile = observations, groups, fitted.profile
        self._at = unpack(fitted.theta, groups)
        self._factor, self._weights, self._mean = _condition(
            gram(observations.rows, groups, fitted.theta, fitted.profile), observations
        )

    @property
    def num_outputs(self) -> int:
        """One: the value."""
        return 1

    @property
    def batch_shape(self) -> torch.Size:
        """Of the model: none."""
        return torch.Size()

    def posterior(
        self,
        X: Tensor,
        output_indices: Sequence[int] | None = None,
        observation_noise: bool | Tensor = False,
        posterior_transform: Any = None,
    ) -> GPyTorchPosterior:
        """Joint posterior of the noise-free value at points (..., q, D), in the unit of the values."""
        if output_indices is not None or observation_noise is not False:
            raise ValueError("the model has one output, and its posterior is of the value without noise")
        q, width = X.shape[-2:]
        cross = covariance(
            Rows.values(X.reshape(-1, width)), self._observations.rows, self._groups, self._at, self._profile
        )
        mean = (self._mean + cross @ self._weights).reshape(X.shape[:-1])
        explained = torch.linalg.solve_triangular(self._factor, cross.T, upper=False).T.reshape(*X.shape[:-2], q, -1)
        prior = self._prior(X) - explained @ explained.transpose(-1, -2)
        variance = prior + JITTER * self._at.scale * torch.eye(q, dtype=X.dtype)
        spread = self._observations.spread
        posterior = GPyTorchPosterior(
            MultivariateNormal(self._observations.centre + spread * mean, spread**2 * variance)
        )
        return posterior if posterior_transform is None else posterior_transform(posterior)

    def _prior(self, X: Tensor) -> Tensor:
        """Prior covariance of the values at points (..., q, D) among themselves, (..., q, q)."""
        q, width = X.shape[-2:]
        if q == 1:
            return self._at.scale.expand(*X.shape[:-2], 1, 1)
        each = [Rows.values(points) for points in X.reshape(-1, q, width)]
        blocks = [covariance(rows, rows, self._groups, self._at, self._profile) for rows in each]
        return torch.stack(blocks).reshape(*X.shape[:-2], q, q)


def fit_gradient_gp(X: Floats, y: Floats, gradient: Floats, groups: Groups) -> tuple[GradientGP, Fit]:
    """Fit hyperparameters by maximum a posteriori, and condition on the observations.

    Args:
        X: (n, D) points of the unit cube; n >= 2.
        y: (n,) finite values, larger is better.
        gradient: (n, d) derivatives along the smooth coordinates, NaN where there is none.
        groups: which coordinates are smooth, which categorical.
    """
    some = Observations.of(X, y, gradient, FIT_ROWS)
    best = min((_fit(some, groups, profile) for profile in PROFILES), key=lambda found: found.misfit)
    return GradientGP(Observations.of(X, y, gradient, max(MOST_ROWS, len(y))), groups, best), best


def unpack(theta: Tensor, groups: Groups) -> Hyperparameters:
    """The kernel's hyperparameters of a vector (see :class:`Fit`)."""
    d, c = len(groups.smooth), len(groups.categorical)
    return Hyperparameters(theta[:d].exp(), theta[d : d + c].exp(), theta[d + c].exp())


def gram(rows: Rows, groups: Groups, theta: Tensor, profile: Profile) -> Tensor:
    """Covariance of noisy observations, (N, N)."""
    at = unpack(theta, groups)
    prior = prior_variance(rows, at, profile)
    noise = torch.where(rows.coordinate < 0, theta[-2].exp(), theta[-1].exp() * prior)
    return covariance(rows, rows, groups, at, profile) + torch.diag(noise + JITTER * prior)


def _condition(K: Tensor, observations: Observations) -> tuple[Tensor, Tensor, Tensor]:
    """Cholesky factor, weights K^-1 (y - mean), and the generalised least-squares mean of the values."""
    constant = (observations.rows.coordinate < 0).to(K.dtype)
    factor = torch.linalg.cholesky(K)
    solved = torch.cholesky_solve(torch.stack([observations.y, constant], dim=1), factor)
    mean = (constant @ solved[:, 0]) / (constant @ solved[:, 1])
    return factor, solved[:, 0] - mean * solved[:, 1], mean


def _fit(observations: Observations, groups: Groups, profile: Profile) -> Fit:
    """The mode of the posterior of the hyperparameters, by L-BFGS from the priors' medians."""
    d, c = len(groups.smooth), len(groups.categorical)
    length = lengthscale_prior(d + c)
    priors = [length] * d + [(0.0, 1.0)] * c + [SCALE, NOISE, SLOPE_NOISE]
    centre, width = (torch.tensor(column, dtype=torch.float64) for column in zip(*priors, strict=True))
    bounds = [(-4.6, 5.0)] * d + [(-3.0, 3.0)] * c + [(-6.0, 8.0), (-14.0, 0.0), (-14.0, 2.0)]

    def misfit(vector: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        theta = torch.tensor(vector, requires_grad=True)
        K = gram(observations.rows, groups, theta, profile)
        with torch.no_grad():
            value, slope = _evidence(K, observations)
        prior = 0.5 * ((theta - centre) / width).square().sum()
        # d misfit / d K is known in closed form, so only the building of K is traced.
        (gradient,) = torch.autograd.grad((slope * K).sum() + prior, theta)
        return value + float(prior.detach()), gradient.numpy()

    found = minimize(misfit, centre.numpy(), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": MAXITER})
    return Fit(torch.as_tensor(found.x), profile, float(found.fun))


def _evidence(K: Tensor, observations: Observations) -> tuple[float, Tensor]:
    """Negative log marginal likelihood, and its derivative for K; huge and flat where K is numerically singular."""
    if int(torch.linalg.cholesky_ex(K).info):
        return 1e10, torch.zeros_like(K)
    factor, weights, mean = _condition(K, observations)
    residual = observations.y - mean * (observations.rows.coordinate < 0)
    value = 0.5 * residual @ weights + factor.diagonal().log().sum() + 0.5 * len(K) * math.log(2 * math.pi)
    return float(value), 0.5 * (torch.cholesky_inverse(factor) - torch.outer(weights, weights))
