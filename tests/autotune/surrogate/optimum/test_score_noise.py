"""The noise of scores against closed forms, and the coverage of intervals on problems that are exactly solvable."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from autotune.problem.space import Floats
from autotune.surrogate.optimum.score_noise import PRIOR, ScoreNoise

H = np.array([[4.0, 1.0, 0.5], [1.0, 2.0, -0.3], [0.5, -0.3, 1.0]])
OTHER = np.array([[1.0, 0.4, 0.0], [0.4, 5.0, 0.2], [0.0, 0.2, 0.5]])
BIAS = np.array([0.3, -0.2, 0.1])


def draws(count: int, covariance: Floats, mean: Floats, seed: int = 0) -> Floats:
    """Scores (count, p)."""
    random = np.random.default_rng(seed)
    noise: Floats = mean + random.normal(size=(count, len(mean))) @ np.linalg.cholesky(covariance).T
    return noise


def test_of_many_repetitions_the_estimate_is_the_truth_whatever_the_curvature() -> None:
    noise = ScoreNoise.of(draws(40_000, OTHER, BIAS), H)
    np.testing.assert_allclose(noise.mean, BIAS, atol=0.05)
    np.testing.assert_allclose(noise.covariance, OTHER, rtol=0.03, atol=0.05)
    assert noise.size == pytest.approx(np.median(np.diag(OTHER) / np.diag(H)), rel=0.03)
    assert (noise.freedom, noise.repetitions) == (PRIOR + 40_000 - 1, 40_000)


def test_of_few_it_is_the_mean_of_the_scatter_and_a_multiple_of_the_curvature() -> None:
    """Inverse-Wishart prior worth PRIOR repetitions, closed form."""
    scores = draws(3, OTHER, BIAS)
    noise = ScoreNoise.of(scores, H)
    scatter = np.cov(scores.T)
    size = np.median(np.diag(scatter) / np.diag(H))
    np.testing.assert_allclose(noise.mean, scores.mean(axis=0))
    assert noise.size == pytest.approx(size)
    np.testing.assert_allclose(noise.covariance, (PRIOR * size * H + 2 * scatter) / (PRIOR + 2))
    assert np.linalg.eigvalsh(noise.covariance).min() > 0.1 * size * np.linalg.eigvalsh(H).min()  # two would leave it 0


def test_of_few_it_is_like_what_is_known_to_be_nearer_than_the_curvature() -> None:
    """In proportion: its size does not matter."""
    scores = draws(3, OTHER, BIAS)
    found = [ScoreNoise.of(scores, H, like) for like in (OTHER, 1e6 * OTHER)]
    scatter = np.cov(scores.T)
    guess = OTHER * np.median(np.diag(scatter) / np.diag(OTHER))
    for noise in found:
        np.testing.assert_allclose(noise.covariance, (PRIOR * guess + 2 * scatter) / (PRIOR + 2))
        assert noise.size == ScoreNoise.of(scores, H).size
    known = np.column_stack([scores, np.full(3, np.nan)])
    wider = [np.pad(matrix, (0, 1)) + np.diag([0] * len(H) + [1]) for matrix in (H, OTHER)]
    np.testing.assert_allclose(ScoreNoise.of(known, *wider).covariance[:-1, :-1], found[0].covariance)


def test_an_even_number_of_coordinates_is_as_good_as_an_odd_one() -> None:
    """The median over coordinates takes the middle of two."""
    scores = np.array([[1.0, 3.0], [-1.0, -3.0]])
    noise = ScoreNoise.of(scores, np.diag([1.0, 1.0]))
    assert noise.size == pytest.approx((2.0 + 18.0) / 2)


def test_a_coordinate_without_scores_is_as_noisy_as_its_curvature_says() -> None:
    known = draws(6, OTHER, BIAS)
    scores = known.copy()
    scores[:, 1] = np.nan
    noise, keep = ScoreNoise.of(scores, H), [0, 2]
    alone = ScoreNoise.of(known[:, keep], H[np.ix_(keep, keep)])
    assert noise.mean[1] == 0.0
    np.testing.assert_allclose(noise.mean[keep], alone.mean)
    np.testing.assert_allclose(noise.covariance[np.ix_(keep, keep)], alone.covariance)
    np.testing.assert_allclose(noise.covariance[1], alone.size * H[1])
    assert noise.size == pytest.approx(alone.size)


def test_a_score_that_is_missing_once_is_not_known() -> None:
    scores = draws(6, OTHER, BIAS)
    scores[4, 2] = np.nan
    gone = scores.copy()
    gone[:, 2] = np.nan
    one, other = ScoreNoise.of(scores, H), ScoreNoise.of(gone, H)
    np.testing.assert_array_equal(one.covariance, other.covariance)
    np.testing.assert_array_equal(one.mean, other.mean)


def test_without_any_scores_there_is_no_noise() -> None:
    noise = ScoreNoise.of(np.full((6, 3), np.nan), H)
    assert noise.size == 0.0 and not noise.covariance.any() and not noise.mean.any()
    assert not noise.draw(5, np.random.default_rng(0)).any()


def test_draws_are_those_of_students_t_with_the_mean_taken_off() -> None:
    """Covariance of a t distribution: freedom / (freedom - 2) of its scale matrix, which has the mean's own noise."""
    noise = ScoreNoise.of(draws(6, OTHER, BIAS), H)
    samples = noise.draw(200_000, np.random.default_rng(1))
    assert noise.freedom == PRIOR + 5
    scale = noise.covariance * (1 + 1 / 6)
    np.testing.assert_allclose(samples.mean(axis=0), -noise.mean, atol=0.03)
    np.testing.assert_allclose(np.cov(samples.T), scale * noise.freedom / (noise.freedom - 2), rtol=0.05, atol=0.05)
    standard = (samples + noise.mean) / np.sqrt(np.diag(scale))
    for level in (0.05, 0.25, 0.75, 0.95, 0.99):
        expected = t.ppf(level, noise.freedom)
        np.testing.assert_allclose(np.quantile(standard, level, axis=0), expected, rtol=0.03)
    np.testing.assert_array_equal(noise.draw(9, np.random.default_rng(3)), noise.draw(9, np.random.default_rng(3)))


def test_more_repetitions_make_the_draws_narrower() -> None:
    """Of the same scatter: fewer degrees of freedom have wider tails, and a mean of few is less sure."""
    pair = np.array([1.0, -1.0])
    few, many = (
        ScoreNoise.of(np.tile(pair, half)[:, None] * np.sqrt((2 * half - 1) / (2 * half)), np.eye(1))
        for half in (1, 50)
    )
    assert few.covariance == pytest.approx(many.covariance)
    wide, narrow = (np.ptp(np.quantile(n.draw(50_000, np.random.default_rng(0)), [0.05, 0.95])) for n in (few, many))
    expected = t.ppf(0.95, PRIOR + 1) * np.sqrt(1.5) / (t.ppf(0.95, PRIOR + 99) * np.sqrt(1.01))
    assert wide / narrow == pytest.approx(expected, rel=0.03)


CURVATURES = {
    "two": np.array([[3.0, 0.8], [0.8, 1.0]]),
    "six": np.diag([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]) + 0.5 * (np.ones((6, 6)) - np.eye(6)),
}


def coverage(curvature: Floats, J: Floats, bias: Floats, repetitions: int = 6, runs: int = 700) -> Floats:
    """How often 90 % intervals of a linear-Gaussian problem hold its truth, by coordinate.

    The metric is ``-(x - x1)' H (x - x1) / 2`` with ``x1 = x0 + H^-1 g`` and ``g ~ N(bias, J)``: its maximum is seen
    exactly, and the intervals are those of what noise does to it.
    """
    inverse, root = np.linalg.inv(curvature), np.linalg.cholesky(J)
    p, random = len(curvature), np.random.default_rng(0)
    held = np.zeros(p)
    for _ in range(runs):
        moved = inverse @ (bias + root @ random.normal(size=p))
        scores = bias + random.normal(size=(repetitions, p)) @ root.T
        samples = moved + ScoreNoise.of(scores, curvature).draw(1000, random) @ inverse
        low, high = np.percentile(samples, [5, 95], axis=0)
        held += (low <= 0) & (high >= 0)
    return held / runs


@pytest.mark.parametrize("name", CURVATURES)
def test_intervals_hold_the_truth_nine_times_of_ten_where_noise_is_like_the_curvature(name: str) -> None:
    """Without bias, with one, and with few or many repetitions."""
    curvature = CURVATURES[name]
    p = len(curvature)
    for bias, repetitions in ((0.0, 6), (0.7, 6), (0.7, 3), (0.0, 20)):
        noise = coverage(curvature, 0.01 * curvature, np.full(p, bias), repetitions)
        assert (noise >= 0.86).all() and (noise <= 0.94).all(), (bias, repetitions, noise)


@pytest.mark.parametrize("name", CURVATURES)
@pytest.mark.parametrize("factor", [3.0, 1 / 3])
def test_and_where_one_coordinate_is_noisier_or_less_noisy_by_three(name: str, factor: float) -> None:
    """On average over the coordinates; that one's own intervals are too narrow or too wide, yet not by much."""
    curvature = CURVATURES[name]
    p = len(curvature)
    for odd in (0, p - 1):
        scale = np.ones(p)
        scale[odd] = np.sqrt(factor)
        noise = coverage(curvature, 0.01 * np.diag(scale) @ curvature @ np.diag(scale), np.full(p, 0.5))
        assert 0.86 <= noise.mean() <= 0.94, noise
        assert noise.min() >= 0.8 and noise.max() <= 0.975, noise
