"""Fourier ring correlation: the resolution to which two reconstructions, from half of the data each, agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from objectives.metrics.phase_plane import aligned, flattened


@dataclass(frozen=True)
class RingCorrelation:
    """Agreement of two images by spatial frequency.

    Attributes:
        frequency: (ring,) frequency of each ring's middle, in 1 / unit of the pixel size, above 0 and up to the Nyquist
            frequency.
        correlation: (ring,) -1..1.
        threshold: (ring,) correlation above which a ring holds enough information.
        resolution: 1 / frequency at which the correlation first falls below the threshold, in the pixel size's unit;
            1 / Nyquist frequency if it never does; infinite if it is below from the first ring on.
        crosses: whether the correlation falls below the threshold at all. If not, the sampling limits ``resolution``,
            not the data.
    """

    frequency: NDArray[np.float64]
    correlation: NDArray[np.float64]
    threshold: NDArray[np.float64]
    resolution: float
    crosses: bool


def half_bit_threshold(samples: ArrayLike) -> NDArray[np.float64]:
    """Correlation at which a ring holds half a bit per sample; van Heel and Schatz, J. Struct. Biol. 151, 250 (2005).

    Their equation 17, ``(0.2071 + 1.9102 / sqrt n) / (1.2071 + 0.9102 / sqrt n)``, for two halves of the data.

    Args:
        samples: n, independent coefficients in the ring, at least 1.
    """
    root = np.sqrt(np.asarray(samples, np.float64))
    threshold: NDArray[np.float64] = (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root)
    return threshold


def fourier_ring_correlation(
    one: ArrayLike, other: ArrayLike, pixel: tuple[float, float] = (1.0, 1.0), *, window: bool = True
) -> RingCorrelation:
    """Fourier ring correlation ``Re sum F G* / sqrt(sum |F|^2 sum |G|^2)`` of two images, with the 1/2-bit threshold.

    The phase plane by which complex images differ is removed first, for it is arbitrary in a reconstruction; then the
    mean is removed. The independent coefficients of a ring are all of them for a complex image and half of them for a
    real one. A window reduces their number by the factor (mean of its squares)^2 / mean of its fourth powers.

    Args:
        one, other: images (rows, columns) from independent halves of the data, of equal sampling and position, both
            real or both complex.
        pixel: size (y, x) of a pixel.
        window: whether to apply a Hann window, without which the edges imitate agreement; False for periodic images.

    Raises:
        ValueError: the shapes differ, fewer than 8 rows or columns, or one image is constant.
    """
    a, b = np.asarray(one), np.asarray(other)
    if a.shape != b.shape or a.ndim != 2 or min(a.shape) < 8:
        raise ValueError(f"images of {a.shape} and {b.shape} are not two of one shape, at least 8 x 8")
    real = not (np.iscomplexobj(a) or np.iscomplexobj(b))
    if not real:
        b = flattened(b)
        a = aligned(a, b)
    taper = np.outer(*(np.hanning(n + 2)[1:-1] for n in a.shape)) if window else np.ones(a.shape)
    F, G = (np.fft.fft2((image - np.average(image, weights=taper)) * taper) for image in (a, b))
    cross, ring, frequency = (F * G.conj()).real, *_rings(a.shape, pixel)
    kept = ring < len(frequency)

    def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        of_rings: NDArray[np.float64] = np.bincount(ring[kept], values[kept], minlength=len(frequency)).astype(float)
        return of_rings[1:]

    norms = np.sqrt(summed(np.abs(F) ** 2) * summed(np.abs(G) ** 2))
    if not norms.any():
        raise ValueError("a constant image has no spectrum")
    correlation = summed(cross) / np.where(norms > 0, norms, 1.0)
    share = np.mean(taper**2) ** 2 / np.mean(taper**4)
    samples = summed(np.ones(a.shape)) * share / (2 if real else 1)
    threshold = half_bit_threshold(np.maximum(samples, 1.0))
    resolution, crosses = _first_crossing(frequency[1:], correlation - threshold)
    return RingCorrelation(frequency[1:], correlation, threshold, resolution, crosses)


def _rings(shape: tuple[int, ...], pixel: tuple[float, float]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Ring number of each coefficient (rows, columns), 0 for the mean; ring frequencies up to the lower Nyquist."""
    y, x = (np.fft.fftfreq(n, size) for n, size in zip(shape, pixel, strict=True))
    width = max(1 / (n * size) for n, size in zip(shape, pixel, strict=True))
    radius = np.hypot(y[:, None], x[None, :])
    last = int(np.floor(min(0.5 / size for size in pixel) / width + 1e-9))
    return np.rint(radius / width).astype(np.int64), (width * np.arange(last + 1)).astype(np.float64)


def _first_crossing(frequency: NDArray[np.float64], above: NDArray[np.float64]) -> tuple[float, bool]:
    """1 / frequency where ``above`` first becomes negative, interpolated between rings; and whether it does."""
    below = np.flatnonzero(above < 0)
    if not len(below):
        return float(1 / frequency[-1]), False
    first = int(below[0])
    if first == 0:
        return float("inf"), True
    high, low = above[first - 1], above[first]
    at = frequency[first - 1] + (frequency[first] - frequency[first - 1]) * high / (high - low)
    return float(1 / at), True
