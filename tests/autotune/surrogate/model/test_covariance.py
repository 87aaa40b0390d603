"""Closed-form covariances of values and derivatives against automatic differentiation of the kernel."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autotune.surrogate.model.covariance import (
    Groups,
    Hyperparameters,
    Profile,
    Rows,
    among,
    covariance,
    matern52,
    prior_variance,
    rbf,
)
from autotune.surrogate.model.hyperparameters import level_covariance

GROUPS = Groups(torch.tensor([0, 2, 3]), (torch.tensor([1, 4]), torch.tensor([5, 6, 7])))
AT = Hyperparameters(
    torch.tensor([0.3, 0.7, 1.2], dtype=torch.float64),
    torch.tensor([0.8, 2.0], dtype=torch.float64),
    torch.tensor(1.7, dtype=torch.float64),
    level_covariance(torch.tensor([0.3, -0.2], dtype=torch.float64), torch.tensor([-1.0, 0.4], dtype=torch.float64)),
)
both = pytest.mark.parametrize("profile", [matern52, rbf])


def on_level_0(X: Tensor, coordinate: Tensor) -> Rows:
    return Rows(X, coordinate, torch.zeros(len(X), dtype=torch.int64))


def points(count: int, seed: int) -> Tensor:
    """Random points of a space with three numbers and two categorical parameters."""
    random = torch.Generator().manual_seed(seed)
    X = torch.rand(count, 8, dtype=torch.float64, generator=random)
    for columns in GROUPS.categorical:
        choice = torch.randint(0, len(columns), (count,), generator=random)
        X[:, columns] = torch.eye(len(columns), dtype=torch.float64)[choice]
    return X


def value_covariance(x: Tensor, z: Tensor, profile: Profile) -> Tensor:
    """The kernel written out once more."""
    u = sum(((x[i] - z[i]) / length) ** 2 for i, length in zip(GROUPS.smooth.tolist(), AT.lengthscales, strict=True))
    r = torch.sqrt(torch.as_tensor(u))
    f = torch.exp(-u / 2) if profile is rbf else (1 + 5**0.5 * r + 5 / 3 * u) * torch.exp(-(5**0.5) * r)
    differ = [(x[c] * z[c]).sum() < 0.5 for c in GROUPS.categorical]
    return AT.scale * f * torch.exp(-sum(d / w for d, w in zip(differ, AT.weights, strict=True)))


@both
def test_every_block_is_the_derivative_of_the_kernel(profile: Profile) -> None:
    X, Z = points(8, 0), points(6, 1)
    i, j = torch.tensor([-1, 0, 1, 2, -1, 0, 1, 2]), torch.tensor([0, -1, 1, 2, -1, 0])
    K = covariance(on_level_0(X, i), on_level_0(Z, j), GROUPS, AT, profile)
    for a in range(8):
        for b in range(6):
            x, z = X[a].clone().requires_grad_(True), Z[b].clone().requires_grad_(True)
            expected = value_covariance(x, z, profile)
            if i[a] >= 0:
                expected = torch.autograd.grad(expected, x, create_graph=True)[0][GROUPS.smooth[i[a]]]
            if j[b] >= 0:
                expected = torch.autograd.grad(expected, z, create_graph=True)[0][GROUPS.smooth[j[b]]]
            assert K[a, b].item() == pytest.approx(expected.item(), abs=1e-10)


@both
def test_values_alone_are_the_kernel(profile: Profile) -> None:
    X, Z = points(5, 2), points(4, 3)
    K = covariance(Rows.values(X), Rows.values(Z), GROUPS, AT, profile)
    expected = torch.stack([torch.stack([value_covariance(x, z, profile) for z in Z]) for x in X])
    torch.testing.assert_close(K, expected, rtol=1e-12, atol=1e-12)


@both
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_covariance_is_symmetric_and_positive_with_a_known_diagonal(profile: Profile, seed: int) -> None:
    X = points(4, seed).repeat(4, 1)
    rows = Rows(X, torch.arange(-1, 3).repeat_interleave(4), torch.arange(16) % 3)
    K = covariance(rows, rows, GROUPS, AT, profile)
    torch.testing.assert_close(K, K.T, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(K.diagonal(), prior_variance(rows, AT, profile), rtol=1e-9, atol=1e-9)
    assert torch.linalg.eigvalsh(K).min() > -1e-9 * K.diagonal().max()


@both
def test_it_can_be_differentiated_where_points_coincide(profile: Profile) -> None:
    """The square root inside Matern-5/2 has no slope at 0; the kernel has."""
    lengths = AT.lengthscales.clone().requires_grad_(True)
    X = points(3, 4)
    rows = on_level_0(torch.cat([X, X]), torch.tensor([-1, -1, -1, 0, 1, 2]))
    K = covariance(rows, rows, GROUPS, replace(AT, lengthscales=lengths), profile)
    (slope,) = torch.autograd.grad(K.sum(), lengths)
    assert torch.isfinite(slope).all()


@both
def test_levels_share_a_function_and_have_a_deviation_each(profile: Profile) -> None:
    """a_l f + a_l g_l, written out: the deviation g_l is the level's own."""
    X, i = points(6, 5), torch.tensor([-1, 0, 1, 2, -1, 0])
    one, other = Rows(X, i, torch.tensor([0, 1, 2, 0, 1, 2])), Rows(X.flip(0), i, torch.tensor([1, 1, 0, 2, 2, 0]))
    K = covariance(one, other, GROUPS, AT, profile)
    of_f = covariance(on_level_0(X, i), on_level_0(X.flip(0), i), GROUPS, AT, profile)
    a, r = (torch.tensor(of, dtype=torch.float64).exp() for of in ([0.0, 0.3, -0.2], [-torch.inf, -1.0, 0.4]))
    for m in range(6):
        for n in range(6):
            k, h = one.level[m], other.level[n]
            share = a[k] * a[h] * (1 + (r[k] if k == h else 0))
            assert K[m, n].item() == pytest.approx((share * of_f[m, n]).item(), rel=1e-12)


@both
def test_values_among_each_other_in_batches(profile: Profile) -> None:
    X = points(6, 7).reshape(2, 3, 8)
    K = among(X, GROUPS, AT, profile)
    for batch in range(2):
        rows = Rows.values(X[batch])
        torch.testing.assert_close(K[batch], covariance(rows, rows, GROUPS, AT, profile))
