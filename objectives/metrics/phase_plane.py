"""Remove the phase plane (a constant and a linear phase), which no ptychographic measurement determines.

An object times a constant phase gives the same patterns; an object times a linear phase gives the same patterns with a
probe that is shifted in angle. So two reconstructions, or a reconstruction and the truth, can only be compared after
the planes are removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_PASSES = 200
_ENOUGH = 1e-9
"""Convergence: the largest change of the plane at the image's edge in a step, radians."""


@dataclass(frozen=True)
class PhasePlane:
    """A phase ``offset + slope_y y + slope_x x``, y and x in pixels from the image's middle.

    Attributes:
        offset: radians.
        slope_y, slope_x: radians per pixel.
    """

    offset: float
    slope_y: float
    slope_x: float

    def of(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The plane, radians, (rows, columns)."""
        y, x = _coordinates(shape)
        return self.offset + self.slope_y * y + self.slope_x * x


def phase_plane(field: ArrayLike, weights: ArrayLike | None = None) -> PhasePlane:
    """Fit the phase plane a(y, x) that maximises ``Re sum w z exp(-i a)`` to a complex image.

    Unlike a plane fitted to the phase, it is not affected by phase wraps. The fit starts from the largest Fourier
    coefficient and takes Newton-like steps.

    Args:
        field: z, complex (rows, columns).
        weights: w, real and not negative, of the same shape; 1 where left out.

    Raises:
        ValueError: ``field`` is not an image, or zero everywhere.
    """
    z = np.asarray(field, np.complex128)
    if z.ndim != 2:
        raise ValueError(f"an image has 2 axes, not {z.ndim}")
    if weights is not None:
        z = z * np.asarray(weights, np.float64)
    size = np.abs(z)
    if not size.any():
        raise ValueError("the image is zero everywhere: it has no phase")
    y, x = (axis.ravel() for axis in np.broadcast_arrays(*_coordinates(z.shape)))
    basis = np.stack([np.ones(z.size), y / max(1.0, y.max()), x / max(1.0, x.max())])
    # sin(residual) instead of its tangent, and |z| as the curvature, bound the step, so that every step ascends.
    curvature = (basis * size.ravel()) @ basis.T
    plane = _highest_frequency(z) * [1.0, max(1.0, y.max()), max(1.0, x.max())]
    plane[0] = np.angle(np.sum(z.ravel() * np.exp(-1j * (plane[1:] @ basis[1:]))))
    for _ in range(_PASSES):
        slope = basis @ (z.ravel() * np.exp(-1j * (plane @ basis))).imag
        step = np.linalg.lstsq(curvature, slope, rcond=None)[0]
        plane = plane + step
        if np.abs(step).max() < _ENOUGH:
            break
    return PhasePlane(
        float(np.angle(np.exp(1j * plane[0]))),
        float(plane[1] / max(1.0, y.max())),
        float(plane[2] / max(1.0, x.max())),
    )


def flattened(field: ArrayLike, weights: ArrayLike | None = None) -> NDArray[np.complex128]:
    """Return a complex image (rows, columns) without its own phase plane; see :func:`phase_plane`."""
    z = np.asarray(field, np.complex128)
    flat: NDArray[np.complex128] = z * np.exp(-1j * phase_plane(z, weights).of(z.shape))
    return flat


def aligned(image: ArrayLike, reference: ArrayLike, weights: ArrayLike | None = None) -> NDArray[np.complex128]:
    """Return ``image``, complex (rows, columns), without the phase plane by which it differs from ``reference``.

    Raises:
        ValueError: the shapes differ, or one image is zero wherever the other is not.
    """
    a, b = np.asarray(image, np.complex128), np.asarray(reference, np.complex128)
    if a.shape != b.shape:
        raise ValueError(f"images of {a.shape} and {b.shape} are not of one shape")
    turned: NDArray[np.complex128] = a * np.exp(-1j * phase_plane(a * b.conj(), weights).of(a.shape))
    return turned


def aligned_phases(
    image: ArrayLike, reference: ArrayLike, weights: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Comparable phases of two complex images, radians: the second image flattened, the first aligned to it.

    Both are in -pi..pi: where a specimen's phase has a larger range, parts of it wrap.
    """
    flat = flattened(reference, weights)
    return np.angle(aligned(image, flat, weights)), np.angle(flat)


def _coordinates(shape: tuple[int, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows (rows, 1) and columns (1, columns), from the image's middle."""
    rows, columns = shape
    return np.arange(rows)[:, None] - (rows - 1) / 2, np.arange(columns)[None, :] - (columns - 1) / 2


def _highest_frequency(z: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Slopes (0, y, x) of the largest coefficient of the spectrum, sampled twice as finely, in radians per pixel."""
    padded = tuple(2 * n for n in z.shape)
    spectrum = np.abs(np.fft.fft2(z, s=padded))
    highest = np.unravel_index(int(spectrum.argmax()), padded)
    slopes = [2 * np.pi * np.fft.fftfreq(n)[i] for n, i in zip(padded, highest, strict=True)]
    return np.array([0.0, *slopes])
