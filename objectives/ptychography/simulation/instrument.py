"""The instrument of every simulation engine: the truth, the true scan positions, the detector's true map.

The code that reconstructs is not used here, on purpose: the finely sampled intensity of a diffraction pattern is
interpolated by splines at the place where each detector pixel really looks, with the Jacobian of the map, and
integrated over the pixel's area. The detector's blur is a Gaussian convolution before that integration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from objectives.diffraction.data.radiation import wavelength_angstrom
from objectives.ptychography.simulation.settings import MISMATCH, SPECIMEN_MISMATCH, SimulationSettings

Floats = NDArray[np.float64]

_PARTS_OF_PIXEL = 3
"""A pixel's area is integrated as the mean over this many points along each of its sides."""

_OF_POSITIONS = 1
"""Number of the stream of random numbers that position errors have."""


@dataclass(frozen=True)
class Experiment:
    """A simulated experiment before any electron is counted.

    Attributes:
        expected: (position, det_y, det_x) expected fraction of the beam's electrons in each detector pixel.
        stated: (position, 2) stated scan positions (y, x) in angstrom.
        truth: parameter -> true value.
        source: description of the simulation, for people.
    """

    expected: Floats
    stated: Floats
    truth: dict[str, float]
    source: str


def draw_truth(settings: SimulationSettings, random: np.random.Generator) -> dict[str, float]:
    """The true mismatch: stated values, or values drawn uniformly from stated ranges; else the nominal ones, or 0.

    A thickness that is stated nowhere is absent: the specimen's file decides.
    """
    truth = dict.fromkeys(MISMATCH, 0.0) | {"convergence_angle": settings.semi_convergence_mrad}
    if settings.specimen is not None:
        truth |= {"tilt_y": settings.specimen.tilt_y, "tilt_x": settings.specimen.tilt_x}
        if settings.specimen.thickness_angstrom is not None:
            truth["thickness"] = settings.specimen.thickness_angstrom
    for name in (*MISMATCH, *SPECIMEN_MISMATCH):
        if name in settings.mismatch:
            stated = settings.mismatch[name]
            truth[name] = float(random.uniform(*stated)) if isinstance(stated, tuple) else float(stated)
    return truth


def stated_positions(settings: SimulationSettings) -> Floats:
    """The raster as the instrument states it, (position, 2) as (y, x) in angstrom, centred on zero."""
    points = (np.arange(settings.scan_points) - (settings.scan_points - 1) / 2) * settings.scan_step_angstrom
    return np.stack(np.meshgrid(points, points, indexing="ij"), axis=-1).reshape(-1, 2)


def true_positions(stated: Floats, truth: dict[str, float]) -> Floats:
    """The true scan positions: the stated ones sheared, scaled and rotated."""
    sheared = stated.copy()
    sheared[:, 1] -= np.tan(np.deg2rad(truth["scan_shear"])) * stated[:, 0]
    angle = np.deg2rad(truth["scan_rotation"])
    y = np.cos(angle) * sheared[:, 0] - np.sin(angle) * sheared[:, 1]
    x = np.sin(angle) * sheared[:, 0] + np.cos(angle) * sheared[:, 1]
    return (1 + truth["scan_scale"] / 100) * np.stack([y, x], axis=1)


def position_errors(settings: SimulationSettings) -> Floats:
    """What each position is off by, (position, 2) in angstrom, normal along both axes.

    They have random numbers of their own, so that errors change neither the specimen nor the counts of a seed.
    """
    random = np.random.default_rng([settings.seed, _OF_POSITIONS])
    scale = settings.position_error_angstrom / np.sqrt(2)
    return random.normal(scale=scale, size=(settings.scan_points**2, 2))


def actual_positions(settings: SimulationSettings, truth: dict[str, float]) -> Floats:
    """Where the beam really was, (position, 2) as (y, x) in angstrom."""
    return true_positions(stated_positions(settings), truth) + position_errors(settings)


@dataclass(frozen=True)
class Detector:
    """A detector whose pixels look at other angles than stated.

    Attributes:
        looks: (2, pixels * parts, pixels * parts) true coordinates q = A^-1 (n - c) of points inside every pixel, in
            ideal pixels from the beam; the parts of one pixel are neighbours along both axes.
        area: area of a detector pixel, in pixels of the fine pattern.
        oversampling: pixels of the fine pattern along a detector pixel; the exit wave's window is as many times wider.
        pixels: number of pixels along each side.
        frequency: stated width of a pixel, 1/angstrom.
        blur: standard deviation of the detector's Gaussian point spread function, in pixels.
    """

    looks: Floats
    area: float
    oversampling: int
    pixels: int
    frequency: float
    blur: float = 0.0

    @classmethod
    def of(cls, settings: SimulationSettings, truth: dict[str, float], oversampling: int) -> Detector:
        """The detector of ``settings`` with its true mismatch."""
        n, parts = settings.detector_pixels, _PARTS_OF_PIXEL
        at = (np.arange(n * parts) + 0.5) / parts - 0.5 - n // 2
        y, x = np.meshgrid(at - truth["center_offset_y"], at - truth["center_offset_x"], indexing="ij")
        matrix = _detector_matrix(truth)
        looks = np.einsum("ij,jyx->iyx", np.linalg.inv(matrix), np.stack([y, x]))
        frequency = settings.angular_sampling_mrad * 1e-3 / wavelength_angstrom("electron", settings.energy_kev)
        # One detector pixel covers oversampling^2 pixels of the fine grid, over the determinant of the map.
        area = float(oversampling**2 / np.linalg.det(matrix))
        return cls(looks, area, oversampling, n, frequency, truth["detector_blur"])

    @property
    def window(self) -> float:
        """Side of the window of an exit wave whose spectrum is fine enough, in angstrom."""
        return self.oversampling / self.frequency

    def record(self, fine: NDArray[np.floating]) -> Floats:
        """Expected fraction of electrons in every pixel, (pixels, pixels).

        Args:
            fine: (m, m) intensity of unit total, ``oversampling`` times finer than the detector, zero frequency at
                (m//2, m//2). Beyond its edges there is nothing.
        """
        at = self.oversampling * self.looks + len(fine) // 2
        seen = ndimage.map_coordinates(fine, at, order=3, mode="constant", output=np.float64)
        if self.blur > 0:
            spectrum = ndimage.fourier_gaussian(np.fft.rfft2(seen), self.blur * _PARTS_OF_PIXEL, n=seen.shape[1])
            seen = np.fft.irfft2(spectrum, s=seen.shape)
        parts = seen.reshape(self.pixels, _PARTS_OF_PIXEL, self.pixels, _PARTS_OF_PIXEL)
        recorded: Floats = np.maximum(self.area * parts.mean(axis=(1, 3)), 0)
        return recorded


def _detector_matrix(truth: dict[str, float]) -> Floats:
    """s R(a) diag(1 + e/2, 1 - e/2) R(-a) in (y, x) order."""
    a, half = np.deg2rad(truth["elliptical_angle"]), truth["elliptical_distortion"] / 2
    turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])  # (y, x) components of x-axis rotation
    stretch = np.diag([1 - half, 1 + half])  # (across, along): the axis is x before it is turned
    matrix: Floats = (1 + truth["camera_length"] / 100) * turn @ stretch @ turn.T
    return matrix
