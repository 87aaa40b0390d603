"""The hyperparameters of the Gaussian process: one table says what they are and in which order a vector holds them.

A fit moves one vector theta, (h,), of logarithms. Everything that knows its order is made of :data:`SORTS`: priors,
bounds, the way to tensors (for the covariance in torch) and to arrays (for the compiled loops), and the way back of a
gradient. A new hyperparameter is a row of that table, and a use of its name in :meth:`Shape.unpack` or
:meth:`HyperparameterArrays.of`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from autotune.problem.space import Floats
from autotune.surrogate.model.covariance import Groups, Hyperparameters, Profile


@dataclass(frozen=True)
class Sort:
    """One sort of hyperparameter: a run of entries of the vector with the same prior and bounds.

    Attributes:
        name: the key of its entries.
        size: how many entries a shape has of it.
        prior: mean and standard deviation of the logarithm, for a shape.
        bounds: least and largest value of the logarithm.
    """

    name: str
    size: Callable[[Shape], int]
    prior: Callable[[Shape], tuple[float, float]]
    bounds: tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """How many smooth coordinates, categorical dimensions and levels there are: all that the vector's layout depends
    on.
    """

    smooth: int
    categorical: int
    levels: int

    @classmethod
    def of(cls, groups: Groups, levels: int) -> Shape:
        """The shape for these coordinates and levels."""
        return cls(len(groups.smooth), len(groups.categorical), levels)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Name of each sort -> its entries of the vector."""
        ends = np.cumsum([0, *(sort.size(self) for sort in SORTS)]).tolist()
        return {sort.name: slice(*ends[i : i + 2]) for i, sort in enumerate(SORTS)}

    def priors(self) -> list[tuple[float, float]]:
        """Mean and standard deviation of every entry."""
        return [sort.prior(self) for sort in SORTS for _ in range(sort.size(self))]

    def bounds(self) -> list[tuple[float, float]]:
        """Lower and upper bound of every entry."""
        return [sort.bounds for sort in SORTS for _ in range(sort.size(self))]

    def unpack(self, theta: Tensor) -> tuple[Hyperparameters, Tensor, Tensor]:
        """The kernel's hyperparameters, the noise variance of values, and that of derivatives per level, (levels,)."""
        log = {name: theta[entries] for name, entries in self.slices.items()}
        B = level_covariance(log["level_scale"], log["level_deviation"])
        at = Hyperparameters(log["lengthscale"].exp(), log["weight"].exp(), log["scale"].exp()[0], B)
        return at, log["noise"].exp()[0], log["slope_noise"].exp()

    def pack(self, **parts: Floats) -> Floats:
        """One vector, (h,), of the parts by sort: the inverse of taking :attr:`slices`."""
        return np.concatenate([parts[sort.name] for sort in SORTS])


def _one(shape: Shape) -> int:
    return 1


def _further_levels(shape: Shape) -> int:
    return shape.levels - 1


def lengthscale_prior(dimensions: int) -> tuple[float, float]:
    """Mode and standard deviation of log l: sqrt 2 + log(d)/2 - 3 and sqrt 3, for d dimensions.

    Dimension-scaled, so that the prior's functions are equally complex whatever the number of parameters: a log-normal
    prior of l, in which log l has the mean sqrt 2 + log(d)/2 (Hvarfner et al., "Vanilla Bayesian Optimization Performs
    Great in High Dimensions", ICML 2024). Its density over l has the mode a variance lower; a fit of l by maximum a
    posteriori leans to that, and so does this one, which is over log l.
    """
    return math.sqrt(2) + 0.5 * math.log(max(dimensions, 1)) - 3.0, math.sqrt(3)


def _prior_of_lengthscales(shape: Shape) -> tuple[float, float]:
    return lengthscale_prior(shape.smooth + shape.categorical)


# Variances are of standardised values. The noise of derivatives is a fraction of their prior variance. A further level
# has a scale a and the variance r of its own deviation; see the module covariance.
SORTS: tuple[Sort, ...] = (
    Sort("lengthscale", lambda shape: shape.smooth, _prior_of_lengthscales, (-4.6, 5.0)),
    Sort("weight", lambda shape: shape.categorical, lambda shape: (0.0, 1.0), (-3.0, 3.0)),
    Sort("scale", _one, lambda shape: (0.0, 1.5), (-6.0, 8.0)),
    Sort("noise", _one, lambda shape: (-8.0, 2.0), (-14.0, 0.0)),
    Sort("slope_noise", lambda shape: shape.levels, lambda shape: (-6.0, 2.0), (-14.0, 2.0)),
    Sort("level_scale", _further_levels, lambda shape: (0.0, 0.5), (-2.0, 2.0)),
    Sort("level_deviation", _further_levels, lambda shape: (-4.0, 2.0), (-14.0, 3.0)),
)
"""The sorts of hyperparameters in the order of the vector; all priors are log-normal."""


@dataclass(frozen=True)
class Fit:
    """Fitted hyperparameters.

    Attributes:
        theta: their logarithms, (h,), in the order of ``shape``.
        shape: the layout of the vector.
        profile: the kernel's profile that they belong to.
        misfit: how badly they explain the observations; see :mod:`autotune.surrogate.model.marginal_likelihood`.
    """

    theta: Tensor
    shape: Shape
    profile: Profile
    misfit: float

    @property
    def noise(self) -> float:
        """Noise variance of the values, as a fraction of the variance of the values."""
        return float(self.shape.unpack(self.theta)[1])


@dataclass(frozen=True)
class HyperparameterArrays:
    """Hyperparameters of the kernel as in :mod:`autotune.surrogate.model.covariance`, and of the noise, as arrays.

    Attributes:
        lengthscales: (d,) l.
        weights: (categorical dimensions,) w.
        scale: s.
        noise: variance of the values' noise.
        slope_noise: (levels,) that of the derivatives, as fractions of their prior variance.
        levels: (levels, levels) B.
        deviation: (levels,) r, 0 for level 0.
    """

    lengthscales: Floats
    weights: Floats
    scale: float
    noise: float
    slope_noise: Floats
    levels: Floats
    deviation: Floats

    @classmethod
    def of(cls, theta: Floats, shape: Shape) -> HyperparameterArrays:
        """The arrays of a vector of logarithms, (h,)."""
        positive = np.exp(theta)
        at = {name: positive[entries] for name, entries in shape.slices.items()}
        a, r = np.append(1.0, at["level_scale"]), np.append(0.0, at["level_deviation"])
        B = np.outer(a, a) * (1 + np.diag(r))
        return cls(at["lengthscale"], at["weight"], at["scale"][0], at["noise"][0], at["slope_noise"], B, r)


def level_covariance(log_scale: Tensor, log_deviation: Tensor) -> Tensor:
    """The matrix B, (L, L), of the L - 1 further levels' log a and log r."""
    zero = torch.zeros(1, dtype=log_scale.dtype)
    a = torch.cat([zero, log_scale]).exp()
    r = torch.cat([zero, log_deviation.exp()])
    return torch.outer(a, a) * (1 + torch.diag(r))
