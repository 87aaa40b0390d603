"""Metrics of counts against the formulas written out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from objectives.metrics import (
    amplitude_consistency,
    consistency,
    fraction_of_ceiling,
    intensity_consistency,
    noise_ceiling,
    poisson_deviance,
)

Floats = NDArray[Any]


@pytest.fixture
def counts() -> tuple[Floats, Floats]:
    random = np.random.default_rng(0)
    return random.poisson(3.0, (5, 6, 7)).astype(float), random.gamma(3.0, size=(5, 6, 7))


def test_consistencies_are_the_formula(counts: tuple[Floats, Floats]) -> None:
    y, expected = counts
    value = 1 - np.linalg.norm(y - expected) / np.linalg.norm(y)
    assert intensity_consistency(y, expected) == pytest.approx(value, rel=1e-14)
    amplitude = 1 - np.linalg.norm(np.sqrt(y) - np.sqrt(expected)) / np.linalg.norm(np.sqrt(y))
    assert amplitude_consistency(y, expected) == pytest.approx(amplitude, rel=1e-14)


@pytest.mark.parametrize("metric", [intensity_consistency, amplitude_consistency, poisson_deviance])
def test_pixels_that_are_not_valid_do_not_count(metric: Any, counts: tuple[Floats, Floats]) -> None:
    y, expected = counts
    valid = np.random.default_rng(1).random((6, 7)) > 0.3
    spoiled = np.where(valid, y, 1e9)
    assert metric(spoiled, expected, valid) == pytest.approx(metric(y[:, valid], expected[:, valid]), rel=1e-14)
    assert metric(spoiled, expected, valid.astype(np.float32)) == metric(spoiled, expected, valid)
    assert metric(y, expected, np.ones_like(valid)) == pytest.approx(metric(y, expected), rel=1e-14)


@pytest.mark.parametrize("metric", [intensity_consistency, amplitude_consistency])
def test_perfect_and_empty_models(metric: Any, counts: tuple[Floats, Floats]) -> None:
    y = counts[0]
    assert (metric(y, y), metric(y, np.zeros_like(y))) == (1.0, 0.0)


def test_an_expected_count_rounded_below_zero_is_zero() -> None:
    assert amplitude_consistency([4.0, 1.0], [4.0, -1e-12]) == pytest.approx(1 - math.sqrt(1 / 5), rel=1e-14)


def test_single_precision_is_summed_in_double() -> None:
    # Beside 1e8, whose neighbour in float32 is 8 away, a hundredth counts a hundred times.
    y = np.array([1e4] + 100 * [0.1], np.float32)
    assert intensity_consistency(y, np.where(y > 1, y, 0)) == pytest.approx(1 - math.sqrt(1 / (1e8 + 1)), rel=1e-9)


def test_a_model_twice_too_bright_scores_zero() -> None:
    assert consistency(4.0, 4.0) == 0.0
    assert consistency(1.0, 4.0) == 0.5
    assert consistency(16.0, 4.0) == -1.0


def test_the_true_model_reaches_the_noise_ceiling() -> None:
    random = np.random.default_rng(1)
    expected = random.gamma(0.5, 20, (40, 50, 50))
    y = random.poisson(expected).astype(float)
    ceiling = noise_ceiling(y.sum(), (y**2).sum())
    assert ceiling == pytest.approx(1 - np.sqrt(y.sum()) / np.linalg.norm(y), rel=1e-14)
    assert intensity_consistency(y, expected) == pytest.approx(ceiling, abs=5e-4)
    assert fraction_of_ceiling(0.45, 0.9) == 0.5
    assert noise_ceiling(0.0, 0.0) is None


def test_deviance_is_twice_the_likelihood_lost() -> None:
    from scipy.stats import poisson

    y, expected = np.array([0.0, 1.0, 5.0, 12.0]), np.array([0.5, 2.0, 5.0, 9.0])
    lost = poisson.logpmf(y, y).sum() - poisson.logpmf(y, expected).sum()
    assert poisson_deviance(y, expected) == pytest.approx(2 * lost / 4, rel=1e-12)
    assert poisson_deviance(y, y) == 0.0
    assert poisson_deviance([0.0], [3.0]) == 6.0


def test_deviance_of_the_truth_is_one_where_counts_are_many() -> None:
    random = np.random.default_rng(2)
    bright = np.full(100_000, 200.0)
    assert poisson_deviance(random.poisson(bright), bright) == pytest.approx(1.0, abs=0.02)
    dark = np.full(100_000, 0.01)
    assert poisson_deviance(random.poisson(dark), dark) < 0.2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: intensity_consistency([1.0], [1.0, 2.0]), r"measured \(1,\) and expected counts \(2,\)"),
        (lambda: intensity_consistency([0.0], [1.0]), "without counts there is nothing to explain"),
        (lambda: amplitude_consistency([1.0, 2.0], [1.0, 2.0], [0, 0]), "without counts"),
        (lambda: poisson_deviance([1.0], [1.0], [False]), "no pixel is valid"),
        (lambda: poisson_deviance([1.0], [0.0]), "counts lie in pixels where none are expected"),
        (lambda: poisson_deviance([1.0], [-1.0]), "counts lie in pixels where none are expected"),
        (lambda: fraction_of_ceiling(0.1, 0.0), "noise ceiling is 0.0, not above 0"),
    ],
)
def test_what_means_nothing_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
