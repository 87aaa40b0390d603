"""Covariance of the value at new points with the observations: compiled, and differentiable for the points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autotune.problem.space import Floats
from autotune.surrogate.model.compiled_loops import cross, cross_slope
from autotune.surrogate.model.covariance import Groups, Profile
from autotune.surrogate.model.hyperparameters import HyperparameterArrays
from autotune.surrogate.model.marginal_likelihood import Blocks, Ints, is_squared_exponential


@dataclass(frozen=True)
class CrossCovariance:
    """The covariance of a value at level 0 with the observations, as a function of the point.

    Attributes:
        blocks: the observations, N rows.
        groups: which coordinates are smooth, which categorical.
        at: the hyperparameters.
        profile: ``matern52`` or ``rbf``.
    """

    blocks: Blocks
    groups: Groups
    at: HyperparameterArrays
    profile: Profile

    def __call__(self, X: Tensor) -> Tensor:
        """Covariance of the values at points (M, D) with the observations, (M, N).

        Differentiable for the smooth coordinates of X, once; the categorical ones have no derivative.
        """
        K: Tensor = _Cross.apply(X, self)  # type: ignore[no-untyped-call]
        return K

    def prepared(self, X: Tensor) -> tuple[Any, ...]:
        """The arguments that both compiled loops take."""
        x, blocks, at = X.detach().numpy(), self.blocks, self.at
        codes = [x[:, columns.numpy()].argmax(axis=1) for columns in self.groups.categorical]
        choice: Ints = np.array(codes, dtype=np.int64).reshape(len(codes), len(x)).T.copy()
        smooth: Floats = np.ascontiguousarray(x[:, self.groups.smooth.numpy()])
        return (
            smooth, choice, blocks.start, blocks.order, blocks.smooth, blocks.choice, blocks.level, blocks.coordinate,
            at.lengthscales, at.weights, at.scale, at.levels, is_squared_exponential(self.profile),
        )  # fmt: skip


class _Cross(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, X: Tensor, covariance: CrossCovariance) -> Tensor:
        ctx.groups, ctx.width, ctx.prepared = covariance.groups, X.shape[1], covariance.prepared(X)
        K = np.empty((len(X), len(covariance.blocks.y)))
        arguments: Any = (*ctx.prepared, K)
        cross(*arguments)
        return torch.from_numpy(K)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        V = np.ascontiguousarray(gradients[0].numpy())
        slope = np.empty((len(V), len(ctx.groups.smooth)))
        arguments: Any = (*ctx.prepared, V, slope)
        cross_slope(*arguments)
        gradient = torch.zeros(len(V), ctx.width, dtype=torch.float64)
        gradient[:, ctx.groups.smooth] = torch.from_numpy(slope)
        return gradient, None
