from __future__ import annotations

import numpy as np
import pytest
import torch

from objectives.metrics import ResidualSums, consistency


@pytest.fixture
def counts():  # type: ignore[no-untyped-def]
    random = np.random.default_rng(0)
    return random.poisson(3.0, (5, 6, 7)).astype(float), random.gamma(3.0, size=(5, 6, 7))


def test_consistency_is_the_formula(counts) -> None:  # type: ignore[no-untyped-def]
    y, model = counts
    sums = ResidualSums.of(torch.as_tensor(y), torch.as_tensor(model))
    assert sums.consistency == pytest.approx(1 - np.linalg.norm(y - model) / np.linalg.norm(y), rel=1e-14)
    amplitude = np.linalg.norm(np.sqrt(y) - np.sqrt(model)) / np.linalg.norm(np.sqrt(y))
    assert sums.amplitude_consistency == pytest.approx(1 - amplitude, rel=1e-14)


def test_batches_add_up(counts) -> None:  # type: ignore[no-untyped-def]
    y, model = (torch.as_tensor(part) for part in counts)
    whole = ResidualSums.of(y, model)
    parts = ResidualSums.of(y[:2], model[:2]) + ResidualSums.of(y[2:], model[2:])
    assert parts.consistency == pytest.approx(whole.consistency, rel=1e-14)
    assert parts.amplitude_consistency == pytest.approx(whole.amplitude_consistency, rel=1e-14)


def test_perfect_and_empty_models(counts) -> None:  # type: ignore[no-untyped-def]
    y = torch.as_tensor(counts[0])
    perfect, empty = ResidualSums.of(y, y), ResidualSums.of(y, torch.zeros_like(y))
    assert (perfect.consistency, perfect.amplitude_consistency) == (1.0, 1.0)
    assert (empty.consistency, empty.amplitude_consistency) == (0.0, 0.0)


def test_an_expected_count_rounded_below_zero_is_zero() -> None:
    y = torch.tensor([4.0, 1.0], dtype=torch.float64)
    sums = ResidualSums.of(y, torch.tensor([4.0, -1e-12], dtype=torch.float64))
    assert sums.amplitude == 1.0


def test_single_precision_is_summed_in_double() -> None:
    # Beside 1e8, whose neighbour in float32 is 8 away, a hundredth counts a hundred times.
    y = torch.tensor([1e4] + 100 * [0.1], dtype=torch.float32)
    sums = ResidualSums.of(y, torch.zeros_like(y))
    assert sums.intensity == sums.intensity_norm == pytest.approx(1e8 + 1, rel=1e-10)


def test_true_model_reaches_the_shot_noise_ceiling() -> None:
    random = np.random.default_rng(1)
    expected = random.gamma(0.5, 20, (40, 50, 50))
    y = random.poisson(expected).astype(float)
    reached = ResidualSums.of(torch.as_tensor(y), torch.as_tensor(expected)).consistency
    ceiling = 1 - np.sqrt(y.sum()) / np.linalg.norm(y)
    assert reached == pytest.approx(ceiling, abs=5e-4)


def test_a_model_twice_too_bright_scores_zero() -> None:
    assert consistency(4.0, 4.0) == 0.0
    assert consistency(1.0, 4.0) == 0.5
    assert consistency(16.0, 4.0) == -1.0
