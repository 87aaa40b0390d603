"""The marginal likelihood of the hyperparameters, as a misfit to be minimised, and its gradient.

A fit evaluates both some hundred times, and automatic differentiation would keep dozens of N x N arrays each time. The
derivative with respect to the hyperparameters needs no array beside the inverse of the covariance:

    d misfit / d theta = sum_ab G_ab dK_ab / d theta,    G = (K^-1 - w w') / 2,  w = K^-1 (y - means)

(Rasmussen and Williams, Gaussian Processes for Machine Learning, eq. 5.9), whose sum is a compiled loop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

from autotune.problem.space import Floats
from autotune.surrogate.model.compiled_loops import contract, fill
from autotune.surrogate.model.covariance import Groups, Profile, matern52, rbf
from autotune.surrogate.model.hyperparameters import HyperparameterArrays, Shape

if TYPE_CHECKING:
    from autotune.surrogate.model.observations import Observations

Ints = NDArray[np.int64]

SINGULAR = 1e10
"""The misfit, beside the priors' part, where the covariance is numerically singular."""


@dataclass(frozen=True)
class Blocks:
    """Observations ordered by point: n points, N rows.

    Attributes:
        order: (N,) index of the observation that each row holds.
        start: (n + 1,) the rows of point p are start[p] to start[p + 1].
        smooth: (n, d) float and int coordinates of the points.
        choice: (n, categorical dimensions) index of the choice.
        level: (n,) level of each point; one point at two levels counts as two.
        coordinate: (N,) -1 for the value, else the smooth coordinate along which the derivative is.
        y: (N,) the observed values and derivatives, standardised.
        of_level: (N, levels) 1 where a row is a value of the level.
    """

    order: Ints
    start: Ints
    smooth: Floats
    choice: Ints
    level: Ints
    coordinate: Ints
    y: Floats
    of_level: Floats

    @classmethod
    def of(cls, observations: Observations, groups: Groups) -> Blocks:
        """Gather the rows at one point and level."""
        X, level = observations.rows.X.numpy(), observations.rows.level.numpy()
        _, first, index = np.unique(np.column_stack([X, level]), axis=0, return_index=True, return_inverse=True)
        index = index.reshape(-1)  # NumPy 2.0 kept the dimension
        order = np.argsort(index, kind="stable")
        codes = [X[first][:, columns.numpy()].argmax(axis=1) for columns in groups.categorical]
        return cls(
            order=order,
            start=np.concatenate([[0], np.cumsum(np.bincount(index))]),
            smooth=np.ascontiguousarray(X[first][:, groups.smooth.numpy()]),
            choice=np.array(codes, dtype=np.int64).reshape(len(codes), len(first)).T.copy(),
            level=level[first],
            coordinate=observations.rows.coordinate.numpy()[order],
            y=observations.y.numpy()[order],
            of_level=observations.of_level.numpy()[order],
        )


def misfit_and_gradient(blocks: Blocks, theta: Floats, shape: Shape, profile: Profile) -> tuple[float, Floats]:
    """Negative logarithm of the posterior of the hyperparameters, up to a constant of the priors, and its gradient.

    The levels' means are those of generalised least squares. Where the covariance is numerically singular, the misfit
    is ``SINGULAR`` and flat, but for the priors.

    Args:
        blocks: the observations.
        theta: hyperparameters in the order of ``shape``, (h,).
        shape: how many there are of each sort.
        profile: ``matern52`` or ``rbf``.

    Returns:
        The misfit and its derivatives for theta, (h,).

    Raises:
        ValueError: another profile.
    """
    centre, width = np.array(shape.priors()).T
    scaled = (theta - centre) / width
    value, gradient = evidence(blocks, theta, shape, profile)
    return value + 0.5 * float(scaled @ scaled), gradient + scaled / width


def evidence(blocks: Blocks, theta: Floats, shape: Shape, profile: Profile) -> tuple[float, Floats]:
    """Negative log marginal likelihood and its derivatives for theta, (h,); see :func:`misfit_and_gradient`."""
    at, is_rbf = HyperparameterArrays.of(theta, shape), is_squared_exponential(profile)
    # LAPACK's columns are our rows: its upper triangle is our lower one, and nothing is copied.
    factor, failed = dpotrf(_lower(blocks, at, is_rbf).T, lower=0, overwrite_a=1, clean=0)
    half_log_determinant = math.nan if failed else float(np.log(factor.diagonal()).sum())
    if not math.isfinite(half_log_determinant):  # LAPACK may let NaN pass
        return SINGULAR, np.zeros_like(theta)
    solved, _ = dpotrs(factor, np.column_stack([blocks.y, blocks.of_level]), lower=0)
    # A level without values has no mean; a one on the diagonal sets it to 0.
    seen = np.diag((blocks.of_level.sum(axis=0) == 0).astype(np.float64))
    means = np.linalg.solve(blocks.of_level.T @ solved[:, 1:] + seen, blocks.of_level.T @ solved[:, 0])
    weights = solved[:, 0] - solved[:, 1:] @ means
    residual = blocks.y - blocks.of_level @ means
    value = 0.5 * float(residual @ weights) + half_log_determinant + 0.5 * len(residual) * math.log(2 * math.pi)
    inverse, _ = dpotri(factor, lower=0, overwrite_c=1)
    return value, _contracted(blocks, at, shape, is_rbf, inverse.T, weights)


def is_squared_exponential(profile: Profile) -> bool:
    """Whether a profile is the squared exponential; False for Matern-5/2.

    Raises:
        ValueError: it is neither of the two.
    """
    if profile not in (matern52, rbf):
        raise ValueError(f"the profile is {profile}; the compiled loops know matern52 and rbf")
    return profile is rbf


def _lower(blocks: Blocks, at: HyperparameterArrays, is_rbf: bool) -> Floats:
    """Lower triangle of the covariance of the noisy observations, (N, N); entries above the diagonal are not set."""
    K = np.empty((len(blocks.y), len(blocks.y)))
    fill(
        blocks.start, blocks.smooth, blocks.choice, blocks.level, blocks.coordinate, at.lengthscales, at.weights,
        at.scale, at.noise, at.slope_noise, at.levels, is_rbf, K,
    )  # fmt: skip
    return K


def _contracted(
    blocks: Blocks, at: HyperparameterArrays, shape: Shape, is_rbf: bool, inverse: Floats, weights: Floats
) -> Floats:
    """The sum over all rows of (K^-1 - w w') / 2 times dK / d theta, (h,), in the order of ``Shape``.

    Args:
        blocks: the observations.
        at: hyperparameters.
        shape: the layout of their vector.
        is_rbf: whether the profile is squared-exponential, not Matern-5/2.
        inverse: K^-1, (N, N), its lower triangle.
        weights: w, (N,).
    """
    lengths, factors = np.zeros(len(at.lengthscales)), np.zeros(len(at.weights))
    scale_and_noise, slopes = np.zeros(2), np.zeros(len(at.levels))
    of_a, of_r = np.zeros(len(at.levels)), np.zeros(len(at.levels))
    contract(
        blocks.start, blocks.smooth, blocks.choice, blocks.level, blocks.coordinate, at.lengthscales, at.weights,
        at.scale, at.noise, at.slope_noise, at.levels, is_rbf, inverse, weights,
        lengths, factors, scale_and_noise, slopes, of_a, of_r,
    )  # fmt: skip
    share = at.deviation / (1 + at.deviation)
    return shape.pack(
        lengthscale=lengths,
        weight=factors / at.weights,
        scale=scale_and_noise[:1],
        noise=scale_and_noise[1:],
        slope_noise=slopes,
        level_scale=of_a[1:],
        level_deviation=(of_r * share)[1:],
    )
