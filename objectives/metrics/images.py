"""Metrics of a reconstructed image, alone or compared with the truth where that is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from objectives.metrics.phase_plane import aligned, flattened

_LEAST_PHASE = 1e-6
"""Standard deviation of a phase, radians, below which it does not vary but for rounding."""


def phase_contrast(field: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Root-mean-square phase of an object, without its offset and ramp, in radians.

    This is the rms contrast of Peli (J. Opt. Soc. Am. A 7, 2032 (1990)) of the phase image: its standard deviation, not
    divided by its mean, which is undetermined. It can only compare similar reconstructions of the same specimen, for
    noise is contrast, too.

    Args:
        field: complex object (rows, columns), cut to the scanned region; for several slices, their product.
        weights: real and not negative, of the same shape, such as the illumination; 1 where left out.

    Raises:
        ValueError: ``field`` is not an image, or zero everywhere.
    """
    flat = flattened(field, weights)
    w = np.ones(flat.shape) if weights is None else np.asarray(weights, np.float64)
    phase = np.angle(flat)
    mean = np.average(phase, weights=w)
    return float(np.sqrt(np.average((phase - mean) ** 2, weights=w)))


def phase_skewness(field: ArrayLike) -> float:
    """Skewness of the phase of an object, without its offset and ramp: its third standardised moment.

    Positive where few places, such as atoms, advance the phase far; an object and its conjugate differ in sign. 0 where
    the phase does not vary.

    Args:
        field: complex object (rows, columns), cut to the scanned region.

    Raises:
        ValueError: ``field`` is not an image, or zero everywhere.
    """
    phase = np.angle(flattened(field)).ravel()
    return float(stats.skew(phase)) if phase.std() > _LEAST_PHASE else 0.0


def correlation(field: ArrayLike, truth: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Correlation of a complex reconstruction with the truth, 0..1, independent of phase offset, ramp and scale.

    ``|sum w (a - <a>) conj(b - <b>)| / sqrt(sum w |a - <a>|^2 sum w |b - <b>|^2)``, Pearson's coefficient of complex
    numbers, after the phase ramp by which the two differ is removed. The means are subtracted because a thin specimen
    is 1 almost everywhere, so that any two would correlate.

    Args:
        field, truth: complex (rows, columns), of equal sampling and position.
        weights: w, real and not negative, of the same shape; 1 where left out.

    Raises:
        ValueError: the shapes differ, or one of them is constant.
    """
    a, b = aligned(field, truth, weights), np.asarray(truth, np.complex128)
    w = np.ones(a.shape) if weights is None else np.asarray(weights, np.float64)
    a, b = (part - np.average(part, weights=w) for part in (a, b))
    powers = np.sum(w * np.abs(a) ** 2) * np.sum(w * np.abs(b) ** 2)
    if not powers > 0:
        raise ValueError("a constant image has no correlation")
    return float(min(1.0, np.abs(np.sum(w * a * b.conj())) / np.sqrt(powers)))


def peak_signal_to_noise(image: ArrayLike, truth: ArrayLike) -> float:
    """PSNR of a real image, decibel: ``20 log10(range of the truth / rms error)``; infinite if the error is 0.

    Computed by ``skimage.metrics.peak_signal_noise_ratio``. For phases see
    :func:`objectives.metrics.phase_plane.aligned_phases`.

    Raises:
        ValueError: the shapes differ, or the truth is constant.
    """
    a, b, span = _real_pair(image, truth)
    if np.array_equal(a, b):
        return float("inf")
    from skimage import metrics

    return float(metrics.peak_signal_noise_ratio(b, a, data_range=span))  # type: ignore[no-untyped-call]


def structural_similarity(image: ArrayLike, truth: ArrayLike) -> float:
    """SSIM of a real image, at most 1 (Wang et al., IEEE Trans. Image Process. 13, 600 (2004)), over the truth's range.

    Computed by ``skimage.metrics.structural_similarity`` with that paper's Gaussian window of 1.5 pixels.

    Raises:
        ValueError: the shapes differ, one side is below 11 pixels, or the truth is constant.
    """
    a, b, span = _real_pair(image, truth)
    if min(a.shape) < 11:
        raise ValueError(f"an image of {a.shape} is smaller than the window of 11 x 11 pixels")
    from skimage import metrics

    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(metrics.structural_similarity(b, a, data_range=span, **options))  # type: ignore[no-untyped-call]


def _real_pair(image: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Both images in double precision, and the truth's range."""
    a, b = np.asarray(image), np.asarray(truth)
    if np.iscomplexobj(a) or np.iscomplexobj(b):
        raise ValueError("complex images have no range; compare phases or amplitudes")
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"images of {a.shape} and {b.shape} are not two of one shape (rows, columns)")
    a, b = a.astype(np.float64), b.astype(np.float64)
    span = float(np.ptp(b))
    if not span > 0:
        raise ValueError("the truth is constant: it has no range")
    return a, b, span
