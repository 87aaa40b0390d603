"""Multislice once more, in plain NumPy, straight from the definitions: a third opinion beside abTEM and the model.

    wave_1 = probe,   exit_s = wave_s O_s
    wave_{s+1} = F^-1[ F[exit_s] exp(-i pi lambda dz k^2 + 2 pi i dz k . tan(t)) ]
    pattern = |F[exit_S]|^2,   thickness = S dz

The specimen tilt t = (t_y, t_x) makes atom columns lean towards +t on their way down the beam. Nothing here shares
code with ``objectives``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Waves = NDArray[np.complex128]


def propagator(n: int, pixel: float, wavelength: float, dz: float, tilt_mrad: Sequence[float]) -> Waves:
    """What free space over ``dz`` does to a spectrum, (n, n), zero frequency at [0, 0]; lengths in angstrom."""
    k = np.fft.fftfreq(n, pixel)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    lean = [dz * np.tan(1e-3 * t) for t in tilt_mrad]
    return np.exp(-1j * np.pi * wavelength * dz * (ky**2 + kx**2) + 2j * np.pi * (ky * lean[0] + kx * lean[1]))


def shifted(probe: Waves, fraction: Floats) -> Waves:
    """The probe displaced by ``fraction`` (y, x) pixels."""
    k = np.fft.fftfreq(len(probe))
    ramp = np.exp(-2j * np.pi * (k[:, None] * fraction[0] + k[None, :] * fraction[1]))
    return np.fft.ifft2(np.fft.fft2(probe) * ramp)


def pattern(wave: Waves, slices: Iterable[Waves], step: Waves) -> Floats:
    """Diffraction intensity behind ``slices`` (transmission functions), zero frequency at (n//2, n//2)."""
    exit_wave = wave
    for index, transmission in enumerate(slices):
        if index:
            wave = np.fft.ifft2(np.fft.fft2(exit_wave) * step)
        exit_wave = wave * transmission
    return np.abs(np.fft.fftshift(np.fft.fft2(exit_wave, norm="ortho"))) ** 2


def periodic_patches(period: Waves, position: Floats, n: int) -> Waves:
    """The n x n patches of periodic slices (slice, period_y, period_x) whose pixel (n//2, n//2) lies at ``position``.

    Args:
        period: one period of every slice; its pixel [0, 0] lies at position (0, 0).
        position: whole pixels (y, x).
        n: pixels along each side.
    """
    rows, columns = ((int(p) - n // 2 + np.arange(n)) % period.shape[1 + axis] for axis, p in enumerate(position))
    return period[:, rows[:, None], columns[None, :]]


def scan(
    probe: Waves,
    slices: Waves,
    positions: Floats,
    pixel: float,
    wavelength: float,
    dz: float,
    tilt_mrad: Sequence[float],
) -> Floats:
    """Patterns (position, n, n) of a periodic specimen.

    Args:
        probe: (n, n) centred at (n//2, n//2), unit total intensity.
        slices: (slice, period_y, period_x) transmission functions.
        positions: (position, 2) probe centres (y, x), angstrom.
        pixel: angstrom.
        wavelength: angstrom.
        dz: distance between slices, angstrom.
        tilt_mrad: specimen tilt (y, x).
    """
    n = len(probe)
    step = propagator(n, pixel, wavelength, dz, tilt_mrad)
    patterns = []
    for position in positions / pixel:
        whole = np.round(position)
        patterns.append(pattern(shifted(probe, position - whole), periodic_patches(slices, whole, n), step))
    return np.array(patterns)
