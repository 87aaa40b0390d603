"""The value model of trials that carry gradients, or that are of several levels: one Gaussian process for them all.

A trial that returns its value and p derivatives tells 1 + p numbers about the metric. Values and derivatives have
noises of their own, both learned, so that derivatives which do not fit the values (an unconverged reconstruction) are
discounted, not trusted. The kernel is Matern-5/2 or squared-exponential, whichever explains the trials better: near its
optimum a metric is close to a quadratic, which is smoother than Matern-5/2 expects.

Level 0 is the metric that is searched. A cheap evaluation of it, or an earlier study's, is another level: it has a
mean, a scale and a deviation of its own, which are learned too, so that a level that misleads is discounted as well.

BoTorch's acquisition functions work on the model; its posterior is over the value at level 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from botorch.models.model import Model
from botorch.posteriors.gpytorch import GPyTorchPosterior
from gpytorch.distributions import MultivariateNormal
from scipy.optimize import minimize
from torch import Tensor

from autotune.surrogate.model.compiled_loops import JITTER
from autotune.surrogate.model.covariance import (
    Groups,
    Profile,
    Rows,
    among,
    covariance,
    matern52,
    prior_variance,
    rbf,
)
from autotune.surrogate.model.cross_covariance import CrossCovariance
from autotune.surrogate.model.hyperparameters import Fit, HyperparameterArrays, Shape
from autotune.surrogate.model.marginal_likelihood import Blocks, misfit_and_gradient
from autotune.surrogate.model.observations import Observations, Trials

PROFILES: tuple[Profile, ...] = (matern52, rbf)

FIT_ROWS = 240
"""Number of observations, about, to which hyperparameters are fitted: see :meth:`Observations.some`."""
MOST_ROWS = 900
"""Most observations that the model is conditioned on: every value, and the derivatives of the best trials."""
MAXITER = 50


class GradientGP(Model):
    """Posterior of the value given values and derivatives of all levels.

    Args:
        observations: the values and derivatives.
        groups: which coordinates are smooth, which categorical.
        fitted: the hyperparameters.
    """

    def __init__(self, observations: Observations, groups: Groups, fitted: Fit) -> None:
        super().__init__()
        self._observations, self._groups, self._fitted, self._profile = observations, groups, fitted, fitted.profile
        self._at, self._noise, _ = fitted.shape.unpack(fitted.theta)
        at = HyperparameterArrays.of(fitted.theta.numpy(), fitted.shape)
        self._cross = CrossCovariance(Blocks.of(observations, groups), groups, at, fitted.profile)
        self._factor, self._weights, self._means = _condition(gram(observations.rows, groups, fitted), observations)

    @property
    def num_outputs(self) -> int:
        """Number of outputs: one, the value."""
        return 1

    @property
    def batch_shape(self) -> torch.Size:
        """Batch shape of the model: always empty (required by BoTorch)."""
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
        cross, explained = self._explained(Rows.values(X.reshape(-1, width)))
        mean = (self._means[0] + cross @ self._weights).reshape(X.shape[:-1])
        explained = explained.T.reshape(*X.shape[:-2], q, -1)
        own = self._at.scale.expand(*X.shape[:-2], 1, 1) if q == 1 else among(X, self._groups, self._at, self._profile)
        prior = own - explained @ explained.transpose(-1, -2)
        variance = prior + JITTER * self._at.scale * torch.eye(q, dtype=X.dtype)
        spread, centre = self._observations.spread, float(self._observations.centre[0])
        posterior = GPyTorchPosterior(MultivariateNormal(centre + spread * mean, spread**2 * variance))
        return posterior if posterior_transform is None else posterior_transform(posterior)

    def highest(self, X: Tensor) -> Tensor:
        """The point, shape (D,), among X (n, D) with the highest posterior mean."""
        with torch.no_grad():
            return X[self.posterior(X.unsqueeze(1)).mean[:, 0, 0].argmax()]

    @property
    def noise_deviation(self) -> float:
        """Standard deviation of the noise of one value, in the unit of the values."""
        return self._observations.spread * math.sqrt(float(self._noise))

    def slopes(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior of the derivatives along the smooth coordinates at a point, (D,): mean (d,), covariance (d, d)."""
        rows = Rows.slopes(point, len(self._groups.smooth))
        cross, explained = self._explained(rows)
        prior = covariance(rows, rows, self._groups, self._at, self._profile)
        spread = self._observations.spread
        return spread * (cross @ self._weights), spread**2 * (prior - explained.T @ explained)

    def improvement(self, over: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """Posterior of the improvement over the value at one point, (D,).

        Returns a function from points (m, D) to mean and variance of the improvement there, each (m,).
        The uncertainty that both values share (of a level's deviation, say) is not in the variance.
        """
        # As if the value at ``over`` were one more observation: the last column is the prior covariance with it.
        extended = self._observations.with_rows(Rows.values(over[None]), torch.zeros(1, dtype=over.dtype))
        cross = replace(self._cross, blocks=Blocks.of(extended, self._groups))
        there, spread = cross(over[None]), self._observations.spread

        def moments(X: Tensor) -> tuple[Tensor, Tensor]:
            higher = cross(X) - there
            whitened = torch.linalg.solve_triangular(self._factor, higher[:, :-1].T, upper=False)
            variance = -2 * higher[:, -1] - whitened.square().sum(0)
            return spread * (higher[:, :-1] @ self._weights), spread**2 * variance.clamp(min=JITTER * self._at.scale)

        return moments

    def learned_from(self, point: Tensor, over: Tensor) -> Tensor:
        """How much a further value at a point would reduce the variance of its improvement over another, by level.

        Args:
            point: where the value would be observed, (D,).
            over: the point that is to be improved on, (D,).

        Returns:
            Variances, (levels,), in the squared unit of the values.
        """
        targets = Rows.values(torch.stack([point, over]))
        here = Rows(
            point.expand(self._observations.levels, -1),
            torch.full((self._observations.levels,), -1),
            torch.arange(self._observations.levels),
        )
        _, of_targets = self._explained(targets)
        _, of_levels = self._explained(here)
        prior = covariance(targets, here, self._groups, self._at, self._profile)
        shared = prior - of_targets.T @ of_levels
        own = prior_variance(here, self._at, self._profile) - of_levels.square().sum(0)
        return self._observations.spread**2 * (shared[0] - shared[1]).square() / (own + self._noise)

    def believing(self, X: Tensor) -> GradientGP:
        """This model, conditioned on the values and derivatives that it expects at points (m, D).

        For running trials: they will bring derivatives too, which pending values alone do not represent.
        """
        smooth = len(self._groups.smooth)
        each = [rows for point in X for rows in (Rows.values(point[None]), Rows.slopes(point, smooth))]
        new = Rows(*(torch.cat(parts) for parts in zip(*((r.X, r.coordinate, r.level) for r in each), strict=True)))
        expected = covariance(new, self._observations.rows, self._groups, self._at, self._profile) @ self._weights
        values = (new.coordinate < 0).to(expected.dtype)
        return GradientGP(
            self._observations.with_rows(new, expected + self._means[0] * values), self._groups, self._fitted
        )

    def leave_one_out(self) -> float:
        """Sum of the log densities of each value of level 0 given all other trials, in the values' unit.

        A trial is left out whole, with its derivatives. Closed form, by blocks of the inverse covariance (Rasmussen and
        Williams, Gaussian Processes for Machine Learning, sec. 5.4.2); the levels' means are kept.
        """
        rows = self._observations.rows
        inverse = torch.cholesky_inverse(self._factor)
        _, trial = torch.unique(torch.cat([rows.X, rows.level[:, None].to(rows.X)], dim=1), dim=0, return_inverse=True)
        total = 0.0
        for value in torch.nonzero((rows.coordinate < 0) & (rows.level == 0))[:, 0].tolist():
            block = torch.nonzero(trial == trial[value])[:, 0]
            covariance_left = torch.linalg.inv(inverse[block][:, block])
            own = int((block == value).nonzero()[0, 0])
            residual = float(covariance_left[own] @ self._weights[block])
            variance = float(covariance_left[own, own])
            total -= 0.5 * (residual**2 / variance + math.log(2 * math.pi * variance * self._observations.spread**2))
        return total

    def _explained(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Covariance K of rows with the observations, (M, N), and L^-1 K^T, (N, M), with L the Cholesky factor."""
        if bool(((rows.coordinate < 0) & (rows.level == 0)).all()):
            cross = self._cross(rows.X)
        else:
            cross = covariance(rows, self._observations.rows, self._groups, self._at, self._profile)
        return cross, torch.linalg.solve_triangular(self._factor, cross.T, upper=False)


def fit_gradient_gp(trials: Trials, groups: Groups, levels: int = 1) -> tuple[GradientGP, Fit]:
    """Fit hyperparameters by maximum a posteriori, and condition on the observations.

    Args:
        trials: two or more.
        groups: which coordinates are smooth, which categorical.
        levels: number of levels, whether or not any trial is of them.
    """
    some = Observations.some(trials, levels, FIT_ROWS)
    best = min((_fit(some, groups, profile) for profile in PROFILES), key=lambda fit: fit.misfit)
    return GradientGP(Observations.of(trials, levels, max(MOST_ROWS, len(trials.y))), groups, best), best


def gram(rows: Rows, groups: Groups, fitted: Fit) -> Tensor:
    """Covariance of the noisy observations, (N, N)."""
    at, noise, slope_noise = fitted.shape.unpack(fitted.theta)
    prior = prior_variance(rows, at, fitted.profile)
    own = torch.where(rows.coordinate < 0, noise, slope_noise[rows.level] * prior)
    return covariance(rows, rows, groups, at, fitted.profile) + torch.diag(own + JITTER * prior)


def _condition(K: Tensor, observations: Observations) -> tuple[Tensor, Tensor, Tensor]:
    """Cholesky factor, weights K^-1 (y - means), and the generalised least-squares means of the levels, (levels,)."""
    of_level = observations.of_level
    factor = torch.linalg.cholesky(K)
    solved = torch.cholesky_solve(torch.cat([observations.y[:, None], of_level], dim=1), factor)
    # A level without values has no mean; a one on the diagonal sets it to 0.
    seen = torch.diag((of_level.sum(0) == 0).to(K.dtype))
    means = torch.linalg.solve(of_level.T @ solved[:, 1:] + seen, of_level.T @ solved[:, 0])
    return factor, solved[:, 0] - solved[:, 1:] @ means, means


def _fit(observations: Observations, groups: Groups, profile: Profile) -> Fit:
    """The mode of the posterior of the hyperparameters, by L-BFGS from the priors' medians."""
    shape, blocks = Shape.of(groups, observations.levels), Blocks.of(observations, groups)
    mode = minimize(
        lambda theta: misfit_and_gradient(blocks, theta, shape, profile),
        [centre for centre, _ in shape.priors()],
        jac=True,
        method="L-BFGS-B",
        bounds=shape.bounds(),
        options={"maxiter": MAXITER},
    )
    return Fit(torch.as_tensor(mode.x), shape, profile, float(mode.fun))
