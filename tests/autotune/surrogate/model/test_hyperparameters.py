"""One table orders the vector of hyperparameters: priors, bounds, tensors, arrays and gradients agree with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autotune.surrogate.model.covariance import Groups
from autotune.surrogate.model.hyperparameters import SORTS, HyperparameterArrays, Shape, lengthscale_prior

MIXED = Groups(torch.tensor([0, 2, 3]), (torch.tensor([1, 4]), torch.tensor([5, 6, 7])))
shapes = pytest.mark.parametrize("shape", [Shape(2, 0, 1), Shape(0, 1, 1), Shape.of(MIXED, 3), Shape.of(MIXED, 1)])


def test_the_prior_of_lengthscales_grows_with_the_dimension() -> None:
    assert lengthscale_prior(1) == pytest.approx((2**0.5 - 3, 3**0.5))  # the mode over l of the published prior
    assert lengthscale_prior(9)[0] - lengthscale_prior(1)[0] == pytest.approx(0.5 * torch.tensor(9.0).log().item())


@shapes
def test_the_slices_cover_the_vector_once_in_the_order_of_the_table(shape: Shape) -> None:
    entries = [i for sort in SORTS for i in range(*shape.slices[sort.name].indices(1000))]
    assert entries == list(range(len(shape.priors()))) == list(range(len(shape.bounds())))
    assert len(entries) == shape.smooth + shape.categorical + 2 + shape.levels + 2 * (shape.levels - 1)


@shapes
def test_every_prior_lies_within_its_bounds(shape: Shape) -> None:
    for (centre, width), (low, high) in zip(shape.priors(), shape.bounds(), strict=True):
        assert low < centre < high and width > 0


@shapes
def test_a_vector_taken_apart_and_packed_is_the_same(shape: Shape) -> None:
    theta = np.random.default_rng(0).normal(size=len(shape.priors()))
    np.testing.assert_array_equal(shape.pack(**{name: theta[part] for name, part in shape.slices.items()}), theta)


@shapes
def test_tensors_and_arrays_of_a_vector_are_the_same_numbers(shape: Shape) -> None:
    theta = np.random.default_rng(1).normal(size=len(shape.priors()))
    at, noise, slope_noise = shape.unpack(torch.as_tensor(theta))
    arrays = HyperparameterArrays.of(theta, shape)
    pairs = [
        (at.lengthscales, arrays.lengthscales),
        (at.weights, arrays.weights),
        (at.scale, arrays.scale),
        (at.levels, arrays.levels),
        (noise, arrays.noise),
        (slope_noise, arrays.slope_noise),
    ]
    for tensor, array in pairs:
        np.testing.assert_allclose(tensor.numpy(), array, rtol=1e-14)
