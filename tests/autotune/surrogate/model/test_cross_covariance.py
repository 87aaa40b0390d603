"""The compiled covariance of values asked for with observations, against torch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.surrogate.model.covariance import Groups, Profile, Rows, covariance, matern52, rbf
from autotune.surrogate.model.cross_covariance import CrossCovariance
from autotune.surrogate.model.gradient_model import GradientGP
from autotune.surrogate.model.hyperparameters import Fit, HyperparameterArrays, Shape
from autotune.surrogate.model.marginal_likelihood import Blocks
from autotune.surrogate.model.observations import Observations

GROUPS = Groups(torch.tensor([0, 2, 3]), (torch.tensor([1, 4]), torch.tensor([5, 6, 7])))
both = pytest.mark.parametrize("profile", [matern52, rbf])


def points(count: int, random: np.random.Generator) -> torch.Tensor:
    X = random.random((count, 8))
    for columns in GROUPS.categorical:
        X[:, columns.numpy()] = np.eye(len(columns))[random.integers(0, len(columns), count)]
    return torch.as_tensor(X)


def observations(random: np.random.Generator) -> Observations:
    at, levels = random.integers(0, 6, 20), random.integers(0, 3, 6)
    coordinate = np.concatenate([[-1, -1], random.integers(-1, 3, 18)])
    rows = Rows(points(6, random)[at], torch.as_tensor(coordinate), torch.as_tensor(levels[at]))
    return Observations(rows, torch.as_tensor(random.normal(size=20)), 3, np.zeros(3), 1.5)


def theta(random: np.random.Generator) -> torch.Tensor:
    logarithms = random.normal(0, 0.5, len(Shape.of(GROUPS, 3).priors()))
    logarithms[6:10] -= 3.0
    return torch.as_tensor(logarithms)


@both
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_covariance_and_slope_are_those_of_torch(profile: Profile, seed: int) -> None:
    random = np.random.default_rng(seed)
    seen, vector, shape = observations(random), theta(random), Shape.of(GROUPS, 3)
    X = torch.cat([points(4, random), seen.rows.X[:1]])  # the last one coincides
    V = torch.as_tensor(random.normal(size=(5, 20)))
    compiled = CrossCovariance(Blocks.of(seen, GROUPS), GROUPS, HyperparameterArrays.of(vector.numpy(), shape), profile)
    mine, theirs = X.clone().requires_grad_(True), X.clone().requires_grad_(True)
    K = compiled(mine)
    expected = covariance(Rows.values(theirs), seen.rows, GROUPS, shape.unpack(vector)[0], profile)
    torch.testing.assert_close(K, expected, rtol=1e-12, atol=1e-12)
    (slope,), (by_torch,) = (
        torch.autograd.grad((V * K).sum(), mine),
        torch.autograd.grad((V * expected).sum(), theirs),
    )
    torch.testing.assert_close(slope[:, GROUPS.smooth], by_torch[:, GROUPS.smooth], rtol=1e-9, atol=1e-9)
    assert not slope[:, [1, 4, 5, 6, 7]].any()


@both
def test_the_improvement_is_the_difference_in_the_joint_posterior(profile: Profile) -> None:
    random = np.random.default_rng(1)
    seen = observations(random)
    model = GradientGP(seen, GROUPS, Fit(theta(random), Shape.of(GROUPS, 3), profile, math.nan))
    X = points(5, random)
    for over in (points(1, random)[0], seen.rows.X[0]):
        mean, variance = model.improvement(over)(X)
        for x, m, v in zip(X, mean, variance, strict=True):
            joint = model.posterior(torch.stack([x, over]))
            K = joint.distribution.covariance_matrix
            assert m.item() == pytest.approx((joint.mean[0, 0] - joint.mean[1, 0]).item(), rel=1e-9)
            # The posterior has a jitter on its diagonal.
            assert v.item() == pytest.approx((K[0, 0] + K[1, 1] - 2 * K[0, 1]).item(), rel=1e-6)
