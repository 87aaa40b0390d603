"""Guess defocus and scan rotation from the scan's Fourier transform, before anything is reconstructed.

Over a thin specimen, the counts of pixel k, transformed along the scan, are at frequency Q its phase Phi(Q) times

    i gamma(k, Q),  gamma = P*(k) P(k - Q) - P(k) P*(k + Q),  P = aperture exp(-i chi):

two side bands, over which the aberrations write their phases (Rodenburg, McCallum & Nellist, Ultramicroscopy 48, 304
(1993); Yang et al., Ultramicroscopy 171, 117 (2016)). So defocus and rotation are those at which gamma explains most of
what is there; at others it explains next to nothing, even of a crystal. A rotation by half a turn with the other sign
of the defocus explains as much, by the opposite phase.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

_FEWEST, _MOST = 8, 48
"""Scan points along each axis: so many at least, and so many of the middle at most."""
_PIXELS = 4000
"""Pixels of the disk above which they are binned."""
_COARSE, _FINE = 24, 240
"""Frequencies, the strongest ones, of the search on a grid and of the fit."""
_BAND = (0.05, 1.9)
"""Frequencies over the aperture's radius between which there are side bands, and no slow drift of the beam."""
_TURN = 0.15
"""Steps of the grid: so many turns of the phase at the disk's edge, at a frequency as usual."""
_WIDEST = 6.0
"""Widest step of the rotation, degree."""
_NEAR = 10.0
"""Steps of the grid within which places are neighbours."""
_AT_ONCE = 512

Array = NDArray[Any]


@dataclass(frozen=True)
class Guess:
    """The guess.

    Attributes:
        defocus: angstrom, positive = underfocus.
        rotation: degree, with the sign of the parameter ``scan_rotation``.
        defocus_deviation, rotation_deviation: standard errors, from how differently the frequencies pull; what else is
            wrong with the instrument is not in them.
        contrast: how many times as much it explains as the next best place of the search that is no neighbour.
    """

    defocus: float
    rotation: float
    defocus_deviation: float
    rotation_deviation: float
    contrast: float


@dataclass(frozen=True)
class _Bands:
    """What is to be explained.

    Attributes:
        counts: (frequency, pixel) complex transform of the counts along the scan, strongest first.
        q: (frequency, 2) of the scan as stated, (y, x), 1/angstrom.
        k: (pixel, 2) of the disk, 1/angstrom.
        edge: width of a pixel, 1/angstrom.
        aperture: its radius, 1/angstrom.
        wavelength: angstrom.
    """

    counts: Array
    q: Array
    k: Array
    edge: float
    aperture: float
    wavelength: float

    def first(self, count: int) -> _Bands:
        """The strongest ones alone."""
        return _Bands(self.counts[:count], self.q[:count], self.k, self.edge, self.aperture, self.wavelength)

    def explained(self, defocus: float, rotation: float) -> Array:
        """For each frequency, the power that gamma explains."""
        turn = math.radians(rotation)
        q = self.q @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        spread = math.pi * self.wavelength * defocus
        along = 2 * (q @ self.k.T).astype(np.float32)
        squared = (np.square(self.k).sum(1) + np.square(q).sum(1)[:, None]).astype(np.float32)
        less, more = self._open(squared - along), self._open(squared + along)
        own = np.exp(1j * spread * np.square(q).sum(1)).astype(np.complex64)[:, None]
        along *= np.float32(spread)
        gamma = (np.cos(along) + 1j * np.sin(along)) * (less * own.conj() - more * own)  # its conjugate
        product = np.einsum("qk,qk->q", self.counts, gamma)
        norm = np.einsum("qk,qk->q", gamma, gamma.conj()).real
        found: Array = np.square(np.abs(product)) / np.maximum(norm, 1e-9 * len(self.k))
        return found

    def _open(self, squared: Array) -> Array:
        inside = np.float32(self.aperture) - np.sqrt(np.maximum(squared, 0))
        found: Array = np.clip(inside * np.float32(1 / self.edge) + np.float32(0.5), 0, 1)
        return found


def guess_from_sidebands(
    patterns: Array,
    valid: NDArray[np.bool_],
    axes: NDArray[np.float64],
    scan_shape: tuple[int, int],
    sampling: tuple[float, float],
    semi_convergence: float,
    wavelength: float,
    near: float = 0.0,
) -> Guess | None:
    """Guess defocus and rotation of a raster.

    Args:
        patterns: (position, y, x) counts, in row-major order of the scan, the beam near pixel N//2.
        valid: (y, x), pixels that count.
        axes: (2, 2) vectors (y, x) in angstrom from a scan point to the next along the slow and along the fast axis, as
            stated.
        scan_shape: (rows, columns).
        sampling: (y, x) mrad per pixel.
        semi_convergence: of the aperture, mrad.
        wavelength: angstrom.
        near: the rotation is within 90 degrees of this; what is half a turn away explains as much.

    Returns:
        The guess; None for a scan that is too small, an aperture of a few pixels, or steps so wide that no frequency of
        the scan has side bands; and where nothing varies.
    """
    if min(scan_shape) < _FEWEST:
        return None
    bands = _bands(patterns, valid, axes, scan_shape, np.asarray(sampling), semi_convergence, wavelength)
    if bands is None:
        return None
    coarse = bands.first(_COARSE)
    defocus, rotation, contrast = _searched(coarse, near)
    total = float(np.square(np.abs(bands.counts)).sum())
    step = _step(bands)
    scale = np.array([step, _turn(step, defocus)])

    def missed(at: Array) -> float:
        return -float(bands.explained(*(at * scale)).sum()) / total

    fit = minimize(missed, np.array([defocus, rotation]) / scale, method="Nelder-Mead", options={"xatol": 1e-3})
    defocus, rotation = fit.x * scale
    deviations = scale * _deviations(lambda at: bands.explained(*(at * scale)) / total, fit.x)
    return Guess(
        float(defocus),
        float((rotation + 180) % 360 - 180),
        float(deviations[0]),
        float(deviations[1]),
        contrast,
    )


def _bands(
    patterns: Array,
    valid: NDArray[np.bool_],
    axes: NDArray[np.float64],
    scan_shape: tuple[int, int],
    sampling: NDArray[np.float64],
    semi_convergence: float,
    wavelength: float,
) -> _Bands | None:
    """Transform the middle of the scan, and keep the strongest frequencies of half the plane."""
    rows, columns = (slice((n - min(n, _MOST)) // 2, (n + min(n, _MOST)) // 2) for n in scan_shape)
    kept = np.arange(math.prod(scan_shape)).reshape(scan_shape)[rows, columns]
    mean = patterns[kept.ravel()].mean(axis=0, dtype=np.float64) * valid
    if not mean.sum() > 0:
        return None
    pixels = np.moveaxis(np.indices(valid.shape), 0, -1).astype(np.float64)
    middle = (pixels * mean[..., None]).sum((0, 1)) / mean.sum()
    angles = (pixels - middle) * sampling
    inside = (np.hypot(*np.moveaxis(angles, -1, 0)) < semi_convergence) & valid
    side = max(1, math.ceil(math.sqrt(inside.sum() / _PIXELS)))
    bin_of = (pixels // side).astype(int) @ np.array([valid.shape[1], 1])
    _, bin_of = np.unique(bin_of[inside], return_inverse=True)
    count = np.bincount(bin_of)
    if len(count) < 16:
        return None
    k = np.stack([np.bincount(bin_of, angles[inside, axis]) / count for axis in (0, 1)], axis=1) * 1e-3 / wavelength
    series = np.empty((kept.size, len(count)), np.float32)
    for start in range(0, kept.size, _AT_ONCE):
        part = patterns[kept.ravel()[start : start + _AT_ONCE]][:, inside]
        for row, values in zip(series[start : start + _AT_ONCE], part, strict=True):
            row[:] = np.bincount(bin_of, values)
    series -= series.mean(axis=0)
    shape = kept.shape
    series = series.reshape(*shape, -1) * np.multiply.outer(*(np.hanning(n + 2)[1:-1] for n in shape))[..., None]
    counts = np.fft.fft2(series, axes=(0, 1)).reshape(kept.size, -1).astype(np.complex64)
    of_scan = np.stack(np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij"), axis=-1).reshape(-1, 2)
    q = of_scan @ np.linalg.inv(axes).T
    aperture = semi_convergence * 1e-3 / wavelength
    length = np.linalg.norm(q, axis=1) / aperture
    half = (of_scan[:, 0] > 0) | ((of_scan[:, 0] == 0) & (of_scan[:, 1] > 0))
    usable = np.flatnonzero(half & (length > _BAND[0]) & (length < _BAND[1]) & (of_scan > -0.5).all(axis=1))
    power = np.square(np.abs(counts[usable])).sum(1)
    if np.count_nonzero(power) < _FEWEST:
        return None
    order = usable[np.argsort(-power, kind="stable")]
    edge = side * float(sampling.mean()) * 1e-3 / wavelength
    return _Bands(counts[order[:_FINE]], q[order[:_FINE]], k, edge, aperture, wavelength)


def _step(bands: _Bands) -> float:
    """Step of the defocus by which the phases change by :data:`_TURN`."""
    power = np.square(np.abs(bands.counts)).sum(1)
    usual = math.sqrt(float((power * np.square(bands.q).sum(1)).sum() / power.sum()))
    return _TURN / (bands.wavelength * bands.aperture * usual)


def _turn(step: float, defocus: float) -> float:
    """Step of the rotation, in degrees, that moves as much at a defocus as that ``step`` of it."""
    return min(_WIDEST, math.degrees(step / max(abs(defocus), 1e-9)))


def _searched(bands: _Bands, near: float) -> tuple[float, float, float]:
    """The best of a grid of both, and how many times as much it explains as the best place that is no neighbour."""
    most = 0.5 / (bands.edge * bands.wavelength * 2 * bands.aperture)  # the probe fills half of the window
    step = _step(bands)
    tried: list[tuple[float, float, float]] = []
    for defocus in step * np.arange(-math.ceil(most / step), math.ceil(most / step) + 1):
        turns = math.ceil(180 / _turn(step, defocus))
        for rotation in near - 90 + 180 * np.arange(turns) / turns:
            tried.append((float(bands.explained(defocus, rotation).sum()), defocus, rotation))
    best, defocus, rotation = max(tried)
    turn = _turn(step, defocus)

    def neighbour(d: float, r: float) -> bool:
        """Of the best, or of its twin."""
        return any(
            abs(d - side * defocus) <= _NEAR * step and abs(r - rotation - away) <= _NEAR * turn
            for side, away in ((1, 0), (-1, -180), (-1, 180))
        )

    elsewhere = max((value for value, d, r in tried if not neighbour(d, r)), default=0.0)
    return float(defocus), float(rotation), best / max(elsewhere, 1e-300)


def _deviations(explained: Callable[[Array], Array], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard errors of a maximum of a sum of independent parts: a sandwich of its curvature and their slopes."""
    step = 0.25
    unit = step * np.eye(2)
    here = explained(at)
    plus = [explained(at + one) for one in unit]
    minus = [explained(at - one) for one in unit]
    slopes = np.stack([(p - m) / (2 * step) for p, m in zip(plus, minus, strict=True)])
    curvature = np.empty((2, 2))
    for i in (0, 1):
        curvature[i, i] = (plus[i] - 2 * here + minus[i]).sum() / step**2
    mixed = (
        explained(at + unit.sum(0)) - plus[0] - plus[1] + 2 * here - minus[0] - minus[1] + explained(at - unit.sum(0))
    )
    curvature[0, 1] = curvature[1, 0] = mixed.sum() / (2 * step**2)
    if not (np.linalg.eigvalsh(curvature) < 0).all():
        return np.full(2, np.inf)
    inverse = np.linalg.inv(curvature)
    found: NDArray[np.float64] = np.sqrt(np.diag(inverse @ (slopes @ slopes.T) @ inverse))
    return found
