"""Metrics of reconstructions against closed forms, scikit-image, and each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from objectives.metrics import (
    aligned_phases,
    correlation,
    flattened,
    fourier_ring_correlation,
    half_bit_threshold,
    peak_signal_to_noise,
    phase_contrast,
    phase_plane,
    structural_similarity,
)
from objectives.metrics.phase_plane import PhasePlane

Image = NDArray[Any]


def smooth(shape: tuple[int, int] = (40, 52), seed: int = 0, width: float = 2.0) -> Image:
    """A random real field of unit variance and mean 0."""
    k2 = sum(np.meshgrid(*[np.fft.fftfreq(n) ** 2 for n in shape], indexing="ij"))
    noise = np.random.default_rng(seed).normal(size=shape)
    field = np.fft.ifft2(np.fft.fft2(noise) * np.exp(-2 * (np.pi * width) ** 2 * k2)).real
    return (field - field.mean()) / field.std()


def specimen(phase: float = 0.4, seed: int = 0) -> Image:
    return np.asarray((1 - 0.1 * (smooth(seed=seed + 100) > 0)) * np.exp(1j * phase * smooth(seed=seed)))


def ramp(shape: tuple[int, ...], offset: float, slope_y: float, slope_x: float) -> Image:
    y, x = np.mgrid[: shape[0], : shape[1]]
    middle = [(n - 1) / 2 for n in shape]
    return np.asarray(np.exp(1j * (offset + slope_y * (y - middle[0]) + slope_x * (x - middle[1]))))


@settings(deadline=None, max_examples=50)
@given(
    offset=st.floats(-3, 3),
    slope_y=st.floats(-2.5, 2.5),
    slope_x=st.floats(-2.5, 2.5),
    shape=st.tuples(st.integers(3, 30), st.integers(3, 30)),
)
def test_a_plane_is_found_whatever_wraps(offset: float, slope_y: float, slope_x: float, shape: tuple[int, int]) -> None:
    plane = phase_plane(0.3 * ramp(shape, offset, slope_y, slope_x))
    assert [plane.offset, plane.slope_y, plane.slope_x] == pytest.approx([offset, slope_y, slope_x], abs=1e-6)


def test_a_plane_is_that_of_the_weights() -> None:
    field = ramp((20, 24), 0.2, 0.05, -0.1)
    field[:, 12:] = np.exp(2j)
    weights = np.zeros((20, 24))
    weights[:, :12] = 1
    plane = phase_plane(field, weights)
    assert [plane.offset, plane.slope_y, plane.slope_x] == pytest.approx([0.2, 0.05, -0.1], abs=1e-7)


def test_it_is_the_best_of_its_neighbours() -> None:
    field = specimen(1.2) * ramp((40, 52), 0.4, 0.3, -0.2)
    best = phase_plane(field)

    def agreement(plane: PhasePlane) -> float:
        return float((field * np.exp(-1j * plane.of(field.shape))).real.sum())

    for change in ((1e-3, 0, 0), (0, 1e-4, 0), (0, 0, 1e-4)):
        for sign in (-1, 1):
            moved = [a + sign * b for a, b in zip((best.offset, best.slope_y, best.slope_x), change, strict=True)]
            assert agreement(PhasePlane(*moved)) < agreement(best)


def test_flattening_undoes_offset_and_ramp_and_is_idempotent() -> None:
    plain = flattened(specimen())
    np.testing.assert_allclose(flattened(specimen() * ramp((40, 52), 1.0, 0.7, -1.1)), plain, atol=1e-6)
    np.testing.assert_allclose(flattened(plain), plain, atol=1e-6)
    with pytest.raises(ValueError, match="2 axes, not 3"):
        phase_plane(np.ones((2, 3, 4)))
    with pytest.raises(ValueError, match="zero everywhere"):
        phase_plane(np.zeros((3, 4)))


def test_phase_contrast_is_the_standard_deviation() -> None:
    y, x = np.mgrid[:48, :60]
    phase = 0.3 * np.cos(2 * np.pi * 5 * y / 48) * np.cos(2 * np.pi * 7 * x / 60)
    assert phase_contrast(np.exp(1j * phase)) == pytest.approx(0.15, abs=1e-6)
    tilted = 0.7 * np.exp(1j * phase) * ramp(phase.shape, 2.0, 0.4, -0.3)
    assert phase_contrast(tilted) == pytest.approx(0.15, abs=1e-6)
    weights = np.zeros((48, 60))
    weights[:, :30] = 2.0
    half = np.where(x < 30, np.exp(1j * phase), 1j)
    assert phase_contrast(half, weights) == pytest.approx(phase_contrast(np.exp(1j * phase[:, :30])), rel=1e-6)


def test_correlation_knows_no_phase_ramp_or_scale() -> None:
    truth = specimen()
    assert correlation(truth, truth) == pytest.approx(1.0, abs=1e-12)
    assert correlation(2.5 * truth * ramp(truth.shape, 0.4, 0.2, -0.6), truth) == pytest.approx(1.0, abs=1e-9)
    assert correlation(specimen(seed=5), truth) < 0.2


def test_correlation_is_pearsons() -> None:
    random = np.random.default_rng(0)
    signal, noise = (random.normal(size=(2, 200, 200)).T @ [1, 1j] for _ in range(2))
    # A strong constant part fixes the plane, and is taken out with the mean.
    value = correlation(100 + signal.T + noise.T, 100 + signal.T)
    assert value == pytest.approx(abs(np.corrcoef(signal.ravel() + noise.ravel(), signal.ravel())[0, 1]), abs=2e-3)
    assert value == pytest.approx(np.sqrt(0.5), abs=0.01)


def test_correlation_of_what_is_weighed() -> None:
    truth, weights = specimen(), np.zeros((40, 52))
    weights[5:30, 5:40] = 1
    spoiled = np.where(weights > 0, truth, 3j)
    assert correlation(spoiled, truth, weights) == pytest.approx(1.0, abs=1e-9)
    assert correlation(spoiled, truth) < 0.9


def test_aligned_phases_are_comparable() -> None:
    truth = specimen()
    one, other = aligned_phases(truth * ramp(truth.shape, 2.0, 0.3, -0.4), truth * ramp(truth.shape, -1.0, 0.1, 0.9))
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert abs(other.mean()) < 0.05 and other.std() == pytest.approx(phase_contrast(truth), rel=1e-6)
    with pytest.raises(ValueError, match="not of one shape"):
        aligned_phases(truth, truth[1:])


def test_psnr_and_ssim_are_those_of_scikit_image() -> None:
    from skimage.metrics import peak_signal_noise_ratio
    from skimage.metrics import structural_similarity as of_skimage

    truth = smooth()
    image = truth + 0.1 * np.random.default_rng(1).normal(size=truth.shape)
    span = np.ptp(truth)
    by_hand = 20 * np.log10(span / np.sqrt(np.mean((image - truth) ** 2)))
    assert peak_signal_to_noise(image, truth) == pytest.approx(by_hand, rel=1e-12)
    assert peak_signal_to_noise(image, truth) == peak_signal_noise_ratio(truth, image, data_range=span)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    assert structural_similarity(image, truth) == of_skimage(truth, image, data_range=span, **options)
    assert peak_signal_to_noise(truth, truth) == np.inf and structural_similarity(truth, truth) == pytest.approx(1.0)


@pytest.mark.parametrize("metric", [peak_signal_to_noise, structural_similarity])
def test_images_that_cannot_be_compared(metric: Any) -> None:
    for one, other, message in (
        (np.ones((20, 20)) * 1j, smooth((20, 20)), "complex images"),
        (smooth((20, 20)), smooth((20, 21)), "not two of one shape"),
        (smooth((20, 20)), np.ones((20, 20)), "the truth is constant"),
    ):
        with pytest.raises(ValueError, match=message):
            metric(one, other)
    with pytest.raises(ValueError, match="smaller than the window"):
        structural_similarity(smooth((10, 20)), smooth((10, 20)))
    with pytest.raises(ValueError, match="constant image"):
        correlation(np.ones((8, 8)), np.ones((8, 8)))


def test_half_a_bit() -> None:
    """Of information per sample at the threshold: log2(1 + SNR of the two halves together) / 2 = 1/4 ... in the limit.

    A large ring's correlation 0.1716 = SNR / (1 + SNR) of each half, SNR 0.2071, doubled 0.4142 = 2^(1/2) - 1.
    """
    limit = float(half_bit_threshold(1e12))
    assert limit == pytest.approx((2**0.5 - 1) / 2 / (1 + (2**0.5 - 1) / 2), abs=1e-4)
    assert float(half_bit_threshold(1.0)) == pytest.approx(1.0, abs=1e-3)
    assert (np.diff(half_bit_threshold(np.arange(1, 100))) < 0).all()


def test_ring_correlation_of_equal_images_is_one() -> None:
    image = specimen()
    rings = fourier_ring_correlation(image, image * ramp(image.shape, 1.0, 0.3, 0.2), (2.0, 2.0))
    np.testing.assert_allclose(rings.correlation, 1.0, atol=1e-6)
    assert not rings.crosses and rings.resolution == pytest.approx(4.0)
    assert rings.frequency[-1] == pytest.approx(0.25) and (np.diff(rings.frequency) > 0).all()


@pytest.mark.parametrize("window", [True, False])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_ring_correlation_of_noise_stays_below_the_threshold(kind: str, window: bool) -> None:
    random = np.random.default_rng(3)
    one, other = random.normal(size=(2, 128, 128))
    if kind == "complex":
        one, other = (np.exp(0.3j * part) for part in (one, other))
    rings = fourier_ring_correlation(one, other, window=window)
    assert rings.crosses and (rings.correlation[3:] < rings.threshold[3:]).all()
    assert abs(rings.correlation[10:].mean()) < 0.05


def test_ring_correlation_is_that_of_signal_and_noise() -> None:
    """SNR / (1 + SNR) where both images are one signal with independent noise."""
    random, n = np.random.default_rng(4), 256
    signal = random.normal(size=(n, n))
    one, other = (signal + random.normal(scale=np.sqrt(2), size=(n, n)) for _ in range(2))
    for window in (True, False):
        rings = fourier_ring_correlation(one, other, window=window)
        assert rings.correlation[20:].mean() == pytest.approx(1 / 3, abs=0.02)


def test_resolution_is_where_the_band_ends() -> None:
    """Signal up to frequency 0.2 per pixel, and noise; rings are 0.005 wide, and the window leaks into one more."""
    random, n = np.random.default_rng(5), 200
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n), indexing="ij"))
    signal = np.fft.ifft2(np.fft.fft2(random.normal(size=(n, n))) * (radius < 0.2)).real

    def noise() -> Image:
        return 0.05 * random.normal(size=(n, n))

    for window, error in ((False, 0.012), (True, 0.022)):
        rings = fourier_ring_correlation(signal + noise(), signal + noise(), (0.5, 0.5), window=window)
        assert rings.crosses and 1 / rings.resolution == pytest.approx(0.4, abs=error)
    fields = [1 + 0.2j * (signal + noise()) for _ in range(2)]
    tilted = fields[0] * ramp((n, n), 1.0, 0.5, -0.7)
    assert 1 / fourier_ring_correlation(tilted, fields[1], (0.5, 0.5)).resolution == pytest.approx(0.4, abs=0.022)


def test_pixels_need_not_be_square() -> None:
    random, shape = np.random.default_rng(6), (160, 120)
    axes = np.meshgrid(np.fft.fftfreq(shape[0], 0.5), np.fft.fftfreq(shape[1], 1.0), indexing="ij")
    signal = np.fft.ifft2(np.fft.fft2(random.normal(size=shape)) * (np.hypot(*axes) < 0.3)).real
    one, other = (signal + 0.05 * random.normal(size=shape) for _ in range(2))
    rings = fourier_ring_correlation(one, other, (0.5, 1.0), window=False)
    assert 1 / rings.resolution == pytest.approx(0.3, abs=0.0125) and rings.frequency[-1] == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_threshold_counts_what_is_independent(kind: str) -> None:
    random, n = np.random.default_rng(7), 64
    one, other = random.normal(size=(2, n, n)) * (1 if kind == "real" else 1j)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(n, 1 / n), np.fft.fftfreq(n, 1 / n), indexing="ij"))
    rings = fourier_ring_correlation(one, other, window=False)
    samples = ((radius >= 9.5) & (radius < 10.5)).sum() / (2 if kind == "real" else 1)
    assert rings.threshold[9] == half_bit_threshold(samples)
    assert fourier_ring_correlation(one, other).threshold[9] == pytest.approx(
        float(half_bit_threshold(samples * (9 / 64 / (35 / 128)) ** 2)), rel=0.01
    )


def test_ring_correlation_needs_two_images() -> None:
    for one, other in ((np.ones((8, 9)), np.ones((9, 8))), (np.ones((7, 9)), np.ones((7, 9)))):
        with pytest.raises(ValueError, match="at least 8 x 8"):
            fourier_ring_correlation(one, other)
    with pytest.raises(ValueError, match="constant image"):
        fourier_ring_correlation(np.ones((9, 9)), np.ones((9, 9)))
