"""The compiled loops against the covariances in torch and their automatic differentiation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autotune.surrogate.model import marginal_likelihood as compiled
from autotune.surrogate.model.covariance import Groups, Profile, Rows, matern52, rbf
from autotune.surrogate.model.gradient_model import gram
from autotune.surrogate.model.hyperparameters import Fit, HyperparameterArrays, Shape
from autotune.surrogate.model.marginal_likelihood import SINGULAR, Blocks, misfit_and_gradient
from autotune.surrogate.model.observations import Observations

Floats = NDArray[np.float64]
NUMBERS = Groups(torch.tensor([0, 1]), ())
MIXED = Groups(torch.tensor([0, 2, 3]), (torch.tensor([1, 4]), torch.tensor([5, 6, 7])))
both = pytest.mark.parametrize("profile", [matern52, rbf])
spaces = pytest.mark.parametrize(("groups", "levels"), [(NUMBERS, 1), (MIXED, 1), (NUMBERS, 3), (MIXED, 3)])


def observations(groups: Groups, levels: int, seed: int, count: int = 30) -> Observations:
    """Values and derivatives in no order: some points coincide, some derivatives are missing, some are there twice."""
    random = np.random.default_rng(seed)
    X = random.random((12, len(groups.smooth) + sum(len(columns) for columns in groups.categorical)))
    for columns in groups.categorical:
        X[:, columns.numpy()] = np.eye(len(columns))[random.integers(0, len(columns), 12)]
    X[6] = X[0]
    X[7, groups.smooth[0]] = X[1, groups.smooth[0]]
    at = random.integers(0, 12, count)
    rows = Rows(
        torch.as_tensor(X[at]),
        torch.as_tensor(np.concatenate([[-1, -1], random.integers(-1, len(groups.smooth), count - 2)])),
        torch.as_tensor(random.integers(0, levels, 12)[at]),
    )
    return Observations(rows, torch.as_tensor(random.normal(size=count)), levels, np.zeros(levels), 1.0)


def hyperparameters(shape: Shape, seed: int) -> Floats:
    """Around the priors' medians, with noises that leave the covariance well conditioned."""
    theta = np.array([centre for centre, _ in shape.priors()]) + np.random.default_rng(seed).normal(
        0, 0.7, len(shape.priors())
    )
    for noise in (shape.slices[name] for name in ("noise", "slope_noise")):
        theta[noise] = np.clip(theta[noise] + 5, -4, -1)
    return theta


def compiled_gram(blocks: Blocks, theta: Floats, shape: Shape, profile: Profile) -> Floats:
    """The compiled covariance of the noisy observations, whole and in their own order, (N, N)."""
    K = compiled._lower(blocks, HyperparameterArrays.of(theta, shape), compiled.is_squared_exponential(profile))
    lower = np.tril(K, -1)
    whole = np.empty_like(K)
    whole[np.ix_(blocks.order, blocks.order)] = lower + lower.T + np.diag(K.diagonal())
    return whole


def traced(seen: Observations, groups: Groups, theta: Floats, profile: Profile) -> tuple[float, Floats]:
    """The same misfit with a dense inverse; the derivative by torch, through the levels' means too."""
    shape = Shape.of(groups, seen.levels)
    vector = torch.tensor(theta, requires_grad=True)
    K = gram(seen.rows, groups, Fit(vector, shape, profile, math.nan))
    inverse = torch.linalg.inv(K)
    of_level = seen.of_level[:, seen.of_level.sum(0) > 0]
    means = torch.linalg.solve(of_level.T @ inverse @ of_level, of_level.T @ inverse @ seen.y)
    residual = seen.y - of_level @ means
    value = 0.5 * (residual @ inverse @ residual + torch.logdet(K) + len(K) * math.log(2 * math.pi))
    for entry, (centre, width) in zip(vector, shape.priors(), strict=True):
        value = value + 0.5 * ((entry - centre) / width) ** 2
    (gradient,) = torch.autograd.grad(value, vector)
    return value.item(), gradient.numpy()


@both
@spaces
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_covariance_is_the_same(profile: Profile, groups: Groups, levels: int, seed: int) -> None:
    seen, shape = observations(groups, levels, seed), Shape.of(groups, levels)
    theta = hyperparameters(shape, seed)
    expected = gram(seen.rows, groups, Fit(torch.as_tensor(theta), shape, profile, math.nan)).numpy()
    covariance = compiled_gram(Blocks.of(seen, groups), theta, shape, profile)
    np.testing.assert_allclose(covariance, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


@both
@spaces
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_misfit_and_gradient_are_those_of_torch(profile: Profile, groups: Groups, levels: int, seed: int) -> None:
    seen, shape = observations(groups, levels, seed), Shape.of(groups, levels)
    theta = hyperparameters(shape, seed)
    value, gradient = misfit_and_gradient(Blocks.of(seen, groups), theta, shape, profile)
    expected, slope = traced(seen, groups, theta, profile)
    assert value == pytest.approx(expected, rel=1e-12, abs=1e-11)
    np.testing.assert_allclose(gradient, slope, rtol=1e-9, atol=1e-9 * np.abs(slope).max())


@both
def test_values_alone_and_derivatives_alone(profile: Profile) -> None:
    for coordinate in (torch.full((12,), -1), torch.arange(12) % 2):
        X = torch.rand(12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        rows = Rows(X, coordinate, torch.zeros(12, dtype=torch.int64))
        seen = Observations(rows, X.sum(1).sin(), 1, np.zeros(1), 1.0)
        shape = Shape.of(NUMBERS, 1)
        theta = hyperparameters(shape, 3)
        value, gradient = misfit_and_gradient(Blocks.of(seen, NUMBERS), theta, shape, profile)
        expected, slope = traced(seen, NUMBERS, theta, profile)
        assert value == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(gradient, slope, rtol=1e-9, atol=1e-9 * np.abs(slope).max())


@both
def test_a_level_without_values(profile: Profile) -> None:
    """Level 2 of 3 has no row: its mean is 0, and only the priors know its hyperparameters."""
    seen = observations(NUMBERS, 2, 5)
    seen = Observations(seen.rows, seen.y, 3, np.zeros(3), 1.0)
    shape = Shape.of(NUMBERS, 3)
    theta = hyperparameters(shape, 5)
    value, gradient = misfit_and_gradient(Blocks.of(seen, NUMBERS), theta, shape, profile)
    expected, slope = traced(seen, NUMBERS, theta, profile)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=1e-9, atol=1e-9 * np.abs(slope).max())
    centre, width = shape.priors()[-1]
    assert gradient[-1] == pytest.approx((theta[-1] - centre) / width**2)


def test_rows_of_one_point_are_one_block() -> None:
    """A trial's value and derivatives, listed apart as a fit lists them; the same point of another level is another."""
    X = torch.tensor([[0.2, 0.5], [0.7, 0.1], [0.2, 0.5], [0.7, 0.1], [0.2, 0.5], [0.2, 0.5]], dtype=torch.float64)
    rows = Rows(X, torch.tensor([-1, -1, 0, 1, 1, -1]), torch.tensor([0, 0, 0, 0, 0, 1]))
    blocks = Blocks.of(Observations(rows, torch.arange(6.0).double(), 2, np.zeros(2), 1.0), NUMBERS)
    assert blocks.start.tolist() == [0, 3, 4, 6]
    assert blocks.order.tolist() == [0, 2, 4, 5, 1, 3] == blocks.y.tolist()
    assert blocks.level.tolist() == [0, 1, 0]


@both
def test_a_singular_covariance_is_huge_and_flat(profile: Profile, monkeypatch: Any) -> None:
    seen, shape = observations(NUMBERS, 1, 0), Shape.of(NUMBERS, 1)
    centre, width = np.array(shape.priors()).T
    blocks, theta = Blocks.of(seen, NUMBERS), centre + 0.5
    monkeypatch.setattr(compiled, "_lower", lambda blocks, *_: np.ones((len(blocks.y), len(blocks.y))))
    value, gradient = misfit_and_gradient(blocks, theta, shape, profile)
    assert value == pytest.approx(SINGULAR + 0.5 * (0.25 / width**2).sum(), abs=1e-4)
    np.testing.assert_allclose(gradient, 0.5 / width**2)


@both
def test_a_covariance_that_overflows_is_huge_and_flat(profile: Profile) -> None:
    seen, shape = observations(NUMBERS, 1, 0), Shape.of(NUMBERS, 1)
    value, gradient = compiled.evidence(Blocks.of(seen, NUMBERS), np.array([-5.0, -5, 709, -2, -2]), shape, profile)
    assert value == SINGULAR and not gradient.any()


def test_another_profile_is_refused() -> None:
    seen, shape = observations(NUMBERS, 1, 0), Shape.of(NUMBERS, 1)
    with pytest.raises(ValueError, match="matern52 and rbf"):
        misfit_and_gradient(Blocks.of(seen, NUMBERS), np.zeros(5), shape, lambda u: (u, u, u))
