"""The same physics a second time, in plain NumPy with explicit sums, written from the definitions alone.

Nothing here shares code with ``objectives``: every sign, factor and unit is spelled out once more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

Floats = NDArray[np.float64]
Waves = NDArray[np.complex128]
Values = Mapping[str, float]

INTEGRATED = 0.57
"""Of a pixel's side, where the aperture is ours."""


def detector_matrix(values: Values) -> Floats:
    """A of d = c + A q, (y, x) order, from its entries in (x, y) order where the angle is the usual one."""
    a, e = np.deg2rad(values["elliptical_angle"]), values["elliptical_distortion"]
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])  # of (x, y) columns, from +x towards +y
    xy = (1 + values["camera_length"] / 100) * turn @ np.diag([1 + e / 2, 1 - e / 2]) @ turn.T
    return xy[::-1, ::-1].copy()


def scan_positions(stated: Floats, values: Values) -> Floats:
    """True positions (position, 2) in the unit of the stated ones: shear, then rotation, then scale."""
    v, shear = np.deg2rad(values["scan_rotation"]), np.deg2rad(values["scan_shear"])
    true = []
    for y, x in stated:
        leaning = x - np.tan(shear) * y
        r_y = np.cos(v) * y - np.sin(v) * leaning
        r_x = np.sin(v) * y + np.cos(v) * leaning
        true.append([r_y * (1 + values["scan_scale"] / 100), r_x * (1 + values["scan_scale"] / 100)])
    return np.array(true)


def aberration_phase(ky: Floats, kx: Floats, wavelength: float, values: Values) -> Floats:
    """chi in rad of spatial frequencies in 1/angstrom; Krivanek coefficients, C10 = -defocus."""
    k, phi = np.hypot(ky, kx), np.arctan2(ky, kx)
    second = -values["defocus"] + values["astigmatism"] * np.cos(2 * (phi - np.deg2rad(values["astigmatism_angle"])))
    fourth = 1e4 * values["spherical_aberration"]
    return np.pi * wavelength * second * k**2 + 0.5 * np.pi * fourth * wavelength**3 * k**4


def frequencies(n: int, sampling_mrad: float, wavelength: float, values: Values) -> tuple[Floats, Floats]:
    """(ky, kx) in 1/angstrom that the pixels of an n x n detector see; undistorted where ``values`` do not say."""
    rows, columns = np.meshgrid(np.arange(n) - n // 2, np.arange(n) - n // 2, indexing="ij")
    q = np.stack([rows, columns]).astype(float)
    if "camera_length" in values:
        offset = np.array([values["center_offset_y"], values["center_offset_x"]])
        q = np.einsum("ij,jyx->iyx", np.linalg.inv(detector_matrix(values)), q - offset[:, None, None])
    ky, kx = q * (sampling_mrad * 1e-3 / wavelength)
    return ky, kx


def open_area(normal: tuple[float, float], reach: float) -> float:
    """Area of the unit square about 0 where normal . x < reach, by clipping the square's sides."""
    corners = [(-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5)]
    kept: list[tuple[float, float]] = []
    for (y0, x0), (y1, x1) in zip(corners, corners[1:] + corners[:1], strict=True):
        at0, at1 = normal[0] * y0 + normal[1] * x0 - reach, normal[0] * y1 + normal[1] * x1 - reach
        if at0 < 0:
            kept.append((y0, x0))
        if (at0 < 0) != (at1 < 0):
            t = at0 / (at0 - at1)
            kept.append((y0 + t * (y1 - y0), x0 + t * (x1 - x0)))
    pairs = zip(kept, kept[1:] + kept[:1], strict=True)
    return abs(sum(y0 * x1 - y1 * x0 for (y0, x0), (y1, x1) in pairs)) / 2


def aperture(qy: Floats, qx: Floats, edge: float) -> Floats:
    """Amplitude that a round aperture of radius ``edge`` passes at the points (qy, qx), all in detector pixels.

    Every pixel is open where a straight edge across the line from the middle leaves it so, 0.09 / ``edge`` further out
    (an edge along a side of the pixel is tilted by 0.01). Of two pixels side by side the brighter takes 1/24 of the
    product of the darker one and their difference from the darker one. The amplitude of an intensity I is
    I sqrt(1.01 / (I + 0.01)).
    """
    radius, area = np.hypot(qy, qx), np.zeros(qy.shape)
    for at in np.ndindex(qy.shape):
        inside = edge + 0.09 / edge - radius[at]
        if abs(inside) > 0.8:
            area[at] = float(inside > 0)
        else:
            area[at] = open_area(tuple(max(abs(q[at]) / radius[at], 0.01) for q in (qy, qx)), inside)  # type: ignore[arg-type]
    intensity = area.copy()
    for y, x in np.ndindex(qy.shape):
        for other in ((y + 1, x), (y, x + 1)):
            if other[0] < qy.shape[0] and other[1] < qy.shape[1]:
                taken = min(area[y, x], area[other]) * (area[y, x] - area[other]) / 24
                intensity[y, x] += taken
                intensity[other] -= taken
    return intensity * np.sqrt(1.01 / (intensity + 0.01))


def lens_spectrum(n: int, sampling_mrad: float, wavelength: float, values: Values) -> Waves:
    """What the lens lets through, at every detector pixel, shape (n, n), unit total intensity."""
    ky, kx = frequencies(n, sampling_mrad, wavelength, values)
    pixel = sampling_mrad * 1e-3 / wavelength
    edge = values["convergence_angle"] * 1e-3 / wavelength
    amplitude = aperture(ky / pixel, kx / pixel, edge / pixel)
    spectrum = amplitude * np.exp(-1j * aberration_phase(ky, kx, wavelength, values))
    return spectrum / np.sqrt((np.abs(spectrum) ** 2).sum())


def affine_pixels(positions: Floats, n: int, sampling_mrad: float, wavelength: float, values: Values) -> Floats:
    """Positions in pixels u = A^-T r / p of the object grid, p = 1 / (n dk) of the ideal detector."""
    p = wavelength / (n * sampling_mrad * 1e-3)
    inverse_transposed = np.linalg.inv(detector_matrix(values)).T
    return np.array([inverse_transposed @ r / p for r in positions])


def shifted(spectrum: Waves, fraction: Floats) -> Waves:
    """The probe displaced by ``fraction`` pixels, centred, from its centred spectrum, by explicit sums."""
    m = np.arange(len(spectrum)) - len(spectrum) // 2
    along_y = np.exp(2j * np.pi * np.outer(m - fraction[0], m) / len(m))
    along_x = np.exp(2j * np.pi * np.outer(m - fraction[1], m) / len(m))
    return along_y @ spectrum @ along_x.T / len(m)


def far_field(exit_wave: Waves) -> Waves:
    """Fraunhofer amplitude of a centred exit wave, zero frequency at (n//2, n//2), by an explicit unitary DFT."""
    m = np.arange(len(exit_wave)) - len(exit_wave) // 2
    transform = np.exp(-2j * np.pi * np.outer(m, m) / len(m))
    return transform @ exit_wave @ transform.T / len(m)


def on_detector(window: NDArray[Any], n: int) -> NDArray[Any]:
    """The n x n pixels that a detector sees of a window with its zero frequency at (N//2, N//2)."""
    first = len(window) // 2 - n // 2
    return window[first : first + n, first : first + n]


def near_field(
    exit_wave: Waves, at: Floats, wavelength_m: float, distance_m: float, focus_m: float, pitch_m: float
) -> Waves:
    """Fresnel amplitude of a cone beam, at the points ``at`` + pixel of the exit wave's window, by explicit sums.

    The focus lies ``focus_m`` before the sample, ``distance_m`` before the detector of pitch ``pitch_m``.
    """
    magnification = distance_m / focus_m
    n = len(exit_wave)
    k = np.arange(n) - n // 2  # periods in the window
    z = (distance_m - focus_m) / magnification
    fresnel = np.exp(-1j * np.pi * wavelength_m * z * (k / (n * pitch_m / magnification)) ** 2)
    m = np.arange(n)

    def kernel(shift: float) -> Waves:
        return (
            np.exp(2j * np.pi * np.outer(m + shift, k) / n)
            @ np.diag(fresnel)
            @ np.exp(-2j * np.pi * np.outer(k, m) / n)
        )

    return kernel(at[0]) @ exit_wave @ kernel(at[1]).T / n**2


def multislice(
    wave: Waves, patches: Waves, ky: Floats, kx: Floats, wavelength: float, dz: float, tilt_mrad: tuple[float, float]
) -> Waves:
    """The exit wave after the slices ``patches`` (slice, n, n), by explicit sums over plane waves.

    Between slices every plane wave (ky, kx), 1/angstrom on the centred grid (n, n), collects the paraxial phase
    -pi lambda dz k^2. The next slice's atoms lie dz tan(tilt) further along +y and +x in the laboratory, but in the
    same place in their own array: its origin moves with them, so the wave is read off at r + dz tan(tilt).
    """
    n = len(wave)
    m = np.arange(n) - n // 2
    analysis = np.exp(-2j * np.pi * np.outer(m, m) / n) / n
    synthesis = np.exp(2j * np.pi * np.outer(m, m) / n)
    lean_y, lean_x = (dz * np.tan(1e-3 * t) for t in tilt_mrad)
    for index, patch in enumerate(patches):
        wave = wave * patch
        if index < len(patches) - 1:
            waves = analysis @ wave @ analysis.T
            waves = waves * np.exp(-1j * np.pi * wavelength * dz * (ky**2 + kx**2))
            waves = waves * np.exp(2j * np.pi * (ky * lean_y + kx * lean_x))
            wave = synthesis @ waves @ synthesis.T
    return wave


def response_taps(blur: float, fill: float = 1.0) -> Floats:
    """Weights of the pixels at distance -t .. t: masses of that Gaussian whose masses have variance b^2 + f^2 / 12.

    Masses further out than 4.5 standard deviations are left out; the pixel itself gets what is missing to 1.
    """
    variance = blur**2 + fill**2 / 12
    if variance == 0:
        return np.ones(1)

    def masses(width: float) -> list[float]:
        def below(at: float) -> float:
            return 0.5 * math.erfc(-at / (width * math.sqrt(2)))

        return [below(d + 0.5) - below(d - 0.5) for d in range(1, max(1, math.ceil(4.5 * width - 0.5)) + 1)]

    def excess(width: float) -> float:
        return 2 * sum(d**2 * mass for d, mass in enumerate(masses(width), 1)) - variance

    beside = masses(optimize.brentq(excess, 0.1, 10, xtol=1e-13, rtol=1e-14))
    return np.array([*beside[::-1], 1 - 2 * sum(beside), *beside])


def responded(pattern: Floats, blur: float, fill: float = 1.0) -> Floats:
    """What such pixels count of ``pattern`` (..., rows, columns), the intensity at their middles."""
    taps = response_taps(blur, fill)
    for axis in (-2, -1):
        pattern = ndimage.correlate1d(pattern, taps, axis, mode="reflect")
    return pattern
