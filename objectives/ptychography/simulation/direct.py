"""The engine ``direct``: a thin monolayer evaluated analytically at every scan position.

Unlike the forward model it has no sub-pixel ramps and no pixelated object, its window is four times as wide as the
detector's, so that a detector pixel is made of 4 x 4 points of the pattern, and its real-space pixel is half as wide,
so that scattering beyond the detector is lost and does not come back at the other side. So agreement between the two is
a test of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from objectives.diffraction.data.radiation import wavelength_angstrom
from objectives.ptychography.simulation.instrument import (
    Detector,
    Experiment,
    Floats,
    actual_positions,
    draw_truth,
    stated_positions,
)
from objectives.ptychography.simulation.settings import SimulationSettings

_OVERSAMPLING = 4
_BEYOND_DETECTOR = 2
"""Highest frequency of the exit wave over that of the detector's edge."""
_LATTICE_ANGSTROM = 3.19
_ATOMS = ((0.0, 0.9), (1 / 3, 0.45))
"""Sites of the rectangular cell (fraction along its long side), peak phase in rad: a heavy and a light column."""
_COLUMN_WIDTH_ANGSTROM = 0.45
_REACH_ANGSTROM = 5 * _COLUMN_WIDTH_ANGSTROM
_VACANCY_FRACTION = 0.08
_RUN = 48
"""Points of a grid along each axis whose phase is summed at once, over the atoms near them."""


@dataclass(frozen=True)
class Specimen:
    """A thin phase object: Gaussian atom columns, evaluated exactly anywhere.

    Attributes:
        sites: (atom, 2) positions (y, x) in angstrom, centred on zero.
        phases: (atom,) peak phase shift in rad.
    """

    sites: Floats
    phases: Floats

    @classmethod
    def monolayer(cls, half_width: float, random: np.random.Generator) -> Specimen:
        """A hexagonal monolayer turned by a random angle, with vacancies, over a square of ``2 half_width``."""
        reach = int(np.ceil(3 * half_width / _LATTICE_ANGSTROM)) + 2
        i, j = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1), indexing="ij")
        angle = random.uniform(0, np.pi / 3)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        sites, phases = [], []
        for along, phase in _ATOMS:
            # The rectangular cell of the hexagonal lattice, sqrt(3) a by a, holds two lattice points.
            for shift in (0.0, 0.5):
                y = (i + along + shift) * _LATTICE_ANGSTROM * np.sqrt(3)
                x = (j + shift) * _LATTICE_ANGSTROM
                sites.append(np.stack([y.ravel(), x.ravel()], axis=1))
                phases.append(np.full(y.size, phase))
        where, peak = np.concatenate(sites) @ turn.T, np.concatenate(phases)
        keep = (np.abs(where).max(axis=1) < half_width) & (random.random(len(where)) > _VACANCY_FRACTION)
        return cls(where[keep], peak[keep])

    def transmission(self, y: Floats, x: Floats) -> NDArray[np.complex128]:
        """exp(i phase) on the grid y (rows,), x (columns,) in angstrom, both ascending."""
        phase = np.zeros((len(y), len(x)))
        for rows in _runs(len(y)):
            in_rows = self._near(0, y[rows])
            for columns in _runs(len(x)):
                near = in_rows[self._near(1, x[columns], in_rows)]
                # A Gaussian is separable: the sum over atoms is the product of two matrices.
                along_y = _gaussian(y[rows, None] - self.sites[near, 0]) * self.phases[near]
                phase[rows, columns] = along_y @ _gaussian(x[columns, None] - self.sites[near, 1]).T
        transmission: NDArray[np.complex128] = np.cos(phase) + 1j * np.sin(phase)
        return transmission

    def _near(self, axis: int, along: Floats, among: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Indices, into ``among`` where given, of the atoms whose columns reach the points ``along`` an axis."""
        at = self.sites[:, axis] if among is None else self.sites[among, axis]
        return np.flatnonzero((at > along[0] - _REACH_ANGSTROM) & (at < along[-1] + _REACH_ANGSTROM))

    def phase(self, y: Floats, x: Floats) -> Floats:
        """Phase shift in rad at any points, y and x of one shape (rows, columns), rising along both axes."""
        total = np.zeros(y.shape)
        reach, spread = _REACH_ANGSTROM, 2 * _COLUMN_WIDTH_ANGSTROM**2
        for (at_y, at_x), peak in zip(self.sites, self.phases, strict=True):
            rows = np.flatnonzero((y.max(axis=1) > at_y - reach) & (y.min(axis=1) < at_y + reach))
            columns = np.flatnonzero((x.max(axis=0) > at_x - reach) & (x.min(axis=0) < at_x + reach))
            if rows.size and columns.size:
                near = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
                total[near] += peak * np.exp(-((y[near] - at_y) ** 2 + (x[near] - at_x) ** 2) / spread)
        return total


@dataclass(frozen=True)
class DirectExperiment(Experiment):
    """An experiment with the analytic ``specimen`` that was illuminated."""

    specimen: Specimen


def expected_patterns(settings: SimulationSettings, random: np.random.Generator) -> DirectExperiment:
    """Draw a truth and a specimen, and compute the patterns expected without noise."""
    drawn = _Drawn.of(settings, random)
    wavelength = wavelength_angstrom("electron", settings.energy_kev)
    detector, grid = drawn.detector, drawn.grid
    probe = _probe(drawn.truth, len(grid), 1 / detector.window, wavelength).astype(np.complex64)
    expected = np.empty((len(drawn.positions), detector.pixels, detector.pixels))
    for index, (y, x) in enumerate(drawn.positions):
        # The phase of a spectrum does not matter on the detector, so the wave need not be moved to the corner.
        wave = probe * drawn.specimen.transmission(grid + y, grid + x).astype(np.complex64)
        expected[index] = detector.record(np.abs(fft.fftshift(fft.fft2(wave, norm="ortho"))) ** 2)
    source = "simulated 4D-STEM of a monolayer with vacancies"
    return DirectExperiment(expected, drawn.stated, drawn.truth, source, drawn.specimen)


def specimen_of(settings: SimulationSettings) -> Specimen:
    """Draw the specimen of the measurement that ``settings`` describe, without computing the patterns."""
    return _Drawn.of(settings, np.random.default_rng(settings.seed)).specimen


@dataclass(frozen=True)
class _Drawn:
    """Everything random in an experiment but the counts, and the grids that follow from it.

    Attributes:
        truth: parameter -> true value.
        stated, positions: (position, 2) stated and true positions (y, x) in angstrom.
        detector: the detector with its true mismatch.
        grid: (window,) pixels of the exit wave along an axis, in angstrom.
        specimen: a specimen large enough for all positions.
    """

    truth: dict[str, float]
    stated: Floats
    positions: Floats
    detector: Detector
    grid: Floats
    specimen: Specimen

    @classmethod
    def of(cls, settings: SimulationSettings, random: np.random.Generator) -> _Drawn:
        """Draw the truth, then the specimen."""
        truth = draw_truth(settings, random)
        stated = stated_positions(settings)
        positions = actual_positions(settings, truth)
        detector = Detector.of(settings, truth, _OVERSAMPLING)
        window = _OVERSAMPLING * _BEYOND_DETECTOR * settings.detector_pixels
        grid = np.asarray((np.arange(window) - window // 2) * (detector.window / window), np.float64)
        half_width = float(np.abs(positions).max() + grid.max() + 2)
        return cls(truth, stated, positions, detector, grid, Specimen.monolayer(half_width, random))


def _runs(points: int) -> list[slice]:
    """Runs of neighbours that together are all points of an axis."""
    return [slice(first, min(first + _RUN, points)) for first in range(0, points, _RUN)]


def _gaussian(distance: Floats) -> Floats:
    """Profile of a column at a distance in angstrom, 1 at 0."""
    profile: Floats = np.exp(-(distance**2) / (2 * _COLUMN_WIDTH_ANGSTROM**2))
    return profile


def _probe(truth: dict[str, float], window: int, frequency: float, wavelength: float) -> NDArray[np.complex128]:
    """The probe in real space, centred in the window, unit total intensity. Angles in rad, C3 in angstrom.

    Of a pixel of the spectrum that the aperture's edge cuts, the open part counts.
    """
    k = (np.arange(window) - window // 2) * frequency
    ky, kx = np.meshgrid(k, k, indexing="ij")
    theta, azimuth = wavelength * np.hypot(ky, kx), np.arctan2(ky, kx)
    c12, phi12 = truth["astigmatism"], np.deg2rad(truth["astigmatism_angle"])
    quadratic = (-truth["defocus"] + c12 * np.cos(2 * (azimuth - phi12))) * theta**2 / 2
    chi = 2 * np.pi / wavelength * (quadratic + truth["spherical_aberration"] * 1e4 * theta**4 / 4)
    edge = truth["convergence_angle"] * 1e-3
    aperture = np.sqrt(np.clip((edge - theta) / (wavelength * frequency) + 0.5, 0, 1))
    wave = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(aperture * np.exp(-1j * chi))))
    probe: NDArray[np.complex128] = wave / np.sqrt((np.abs(wave) ** 2).sum())
    return probe
