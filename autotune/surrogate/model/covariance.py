"""Covariances of functions and of their partial derivatives under a Gaussian process, in closed form.

The kernel is a product over groups of coordinates, and over levels:

    k(x, x') = s f(u) prod_c exp(-[x_c != x'_c] / w_c) B(l, l'),    u = sum_i (x_i - x'_i)^2 / l_i^2

with f of the smooth coordinates (floats and ints), one weight w per categorical dimension. Level 0 is the function
that is searched; another (a cheaper evaluation, an earlier study) is that function scaled, plus a deviation of its own:

    B(l, l') = a_l a_l' (1 + [l = l'] r_l),    a_0 = 1, r_0 = 0

(M. C. Kennedy and A. O'Hagan, Biometrika 87, 1 (2000), with a deviation per level). Differentiation is a linear map, so
derivatives are jointly Gaussian with the values (Rasmussen and Williams, Gaussian Processes for Machine Learning, sec.
9.4), with d_i = (x_i - x'_i) / l_i^2:

    cov(y, d_j y')     = -2 s f'(u) d_j
    cov(d_i y, d_j y') = -s (4 f''(u) d_i d_j + 2 f'(u) [i = j] / l_i^2)

each times the other factors. Every observation is a row: a point, its level, and either the value (coordinate -1) or
the derivative along one smooth coordinate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Profile = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
"""u -> f(u), f'(u), f''(u)."""


def matern52(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Matern kernel of smoothness 5/2 with r = sqrt(u): (1 + sqrt5 r + 5/3 r^2) exp(-sqrt5 r)."""
    # The square root has no slope at 0, where f' and f'' are finite all the same.
    a = (5 * u + 1e-24).sqrt()
    decay = torch.exp(-a)
    return (1 + a + a.square() / 3) * decay, -5 / 6 * (1 + a) * decay, 25 / 12 * decay


def rbf(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared-exponential kernel exp(-u / 2)."""
    f = torch.exp(-u / 2)
    return f, -f / 2, f / 4


@dataclass(frozen=True)
class Groups:
    """The coordinates of a point by kind.

    Attributes:
        smooth: (d,) indices of float and int coordinates.
        categorical: for every categorical dimension, the indices of its one-hot coordinates.
    """

    smooth: Tensor
    categorical: tuple[Tensor, ...]


@dataclass(frozen=True)
class Rows:
    """Observations, or quantities to predict: one row each.

    Attributes:
        X: (N, D) points.
        coordinate: (N,) int64: -1 for the value, else the position in ``Groups.smooth`` along which the derivative is.
        level: (N,) int64: 0 for the function that is searched.
    """

    X: Tensor
    coordinate: Tensor
    level: Tensor

    @classmethod
    def values(cls, X: Tensor, level: int = 0) -> Rows:
        """The values at X, (N, D)."""
        return cls(X, torch.full((len(X),), -1, dtype=torch.int64), torch.full((len(X),), level, dtype=torch.int64))

    @classmethod
    def slopes(cls, point: Tensor, smooth: int) -> Rows:
        """The derivatives along all ``smooth`` coordinates at one point, (D,), of the function that is searched."""
        return cls(point.expand(smooth, -1), torch.arange(smooth), torch.zeros(smooth, dtype=torch.int64))


@dataclass(frozen=True)
class Hyperparameters:
    """Hyperparameters of the kernel; all positive.

    Attributes:
        lengthscales: (d,) l, one per smooth coordinate.
        weights: (categorical dimensions,) w.
        scale: s, the prior variance.
        levels: (L, L) the matrix B.
    """

    lengthscales: Tensor
    weights: Tensor
    scale: Tensor
    levels: Tensor


def covariance(one: Rows, other: Rows, groups: Groups, at: Hyperparameters, profile: Profile = matern52) -> Tensor:
    """Prior covariance between two sets of rows, (N, M). Differentiable in the points and the hyperparameters."""
    x, z = one.X[:, groups.smooth] / at.lengthscales, other.X[:, groups.smooth] / at.lengthscales
    f, f1, f2 = profile(_squared_distances(x, z))
    factor = at.scale * _categorical(one.X, other.X, groups, at.weights)
    if len(at.levels) > 1:
        factor = factor * at.levels[one.level][:, other.level]
    i, j = one.coordinate, other.coordinate
    rows, columns = i >= 0, j >= 0
    if not rows.any() and not columns.any():
        return factor * f
    # (x_i - x'_i) / l_i^2 for the coordinate of each row and of each column; 0 where that is a value.
    along_row = _along(x, z, i, at.lengthscales)
    along_column = -_along(z, x, j, at.lengthscales).T
    same = (i[:, None] == j[None, :]) & rows[:, None]
    inverse = at.lengthscales.square().reciprocal()[i.clamp(min=0)][:, None]
    both = -(4 * f2 * along_row * along_column + 2 * f1 * same * inverse)
    mixed = torch.where(rows[:, None], 2 * f1 * along_row, -2 * f1 * along_column)
    kind = rows[:, None].to(torch.int64) + columns[None, :]
    return factor * torch.where(kind == 0, f, torch.where(kind == 1, mixed, both))


def among(X: Tensor, groups: Groups, at: Hyperparameters, profile: Profile = matern52) -> Tensor:
    """Prior covariance of the values at points (..., q, D) with each other, at level 0, (..., q, q)."""
    x = X[..., groups.smooth] / at.lengthscales
    f, _, _ = profile((x[..., :, None, :] - x[..., None, :, :]).square().sum(-1))
    exponent = torch.zeros_like(f)
    for columns, weight in zip(groups.categorical, at.weights, strict=True):
        exponent = exponent - (1 - X[..., columns] @ X[..., columns].transpose(-1, -2)) / weight
    return at.scale * f * torch.exp(exponent)


def prior_variance(rows: Rows, at: Hyperparameters, profile: Profile = matern52) -> Tensor:
    """The diagonal of :func:`covariance` of rows with themselves, (N,)."""
    of_level = at.levels.diagonal()[rows.level]
    if len(at.lengthscales) == 0:  # choices alone: every row is a value
        return at.scale * of_level
    _, slope, _ = profile(torch.zeros((), dtype=rows.X.dtype))
    derivative = -2 * slope * at.lengthscales.square().reciprocal()[rows.coordinate.clamp(min=0)]
    return at.scale * of_level * torch.where(rows.coordinate < 0, torch.ones_like(derivative), derivative)


def _squared_distances(x: Tensor, z: Tensor) -> Tensor:
    """(N, M) squared distances of scaled points, by differences: exact where points are close."""
    return (x[:, None, :] - z[None, :, :]).square().sum(-1)


def _along(x: Tensor, z: Tensor, coordinate: Tensor, lengthscales: Tensor) -> Tensor:
    """(x_i - z_i) / l_i of scaled points, over l_i, for the coordinate i of each row of x; 0 for values, (N, M)."""
    i = coordinate.clamp(min=0)
    mine = x.gather(1, i[:, None])
    theirs = z.T[i]
    return torch.where(coordinate[:, None] >= 0, (mine - theirs) / lengthscales[i][:, None], torch.zeros_like(theirs))


def _categorical(x: Tensor, z: Tensor, groups: Groups, weights: Tensor) -> Tensor:
    """The kernel's product over the categorical dimensions, (N, M); 1 without any."""
    exponent = torch.zeros(len(x), len(z), dtype=x.dtype)
    for columns, weight in zip(groups.categorical, weights, strict=True):
        exponent = exponent - (1 - x[:, columns] @ z[:, columns].T) / weight
    return torch.exp(exponent)
