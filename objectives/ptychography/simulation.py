"""Simulated 4D-STEM measurements whose true mismatch is known.

On purpose not the forward model that reconstructs them: exit waves are computed in a window three times as wide as
the detector's, on a specimen evaluated analytically at every scan position (no sub-pixel ramps, no pixelated object),
and the finely sampled intensity is then interpolated by splines to where each detector pixel really looks, with the
Jacobian of the map, and integrated over the pixel's area. So agreement between the two is a test of both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from objectives.data.hdf5 import write_measurement
from objectives.data.measurement import FarField, Measurement
from objectives.data.radiation import wavelength_angstrom
from objectives.ptychography.simulation_settings import MISMATCH, SimulationSettings

Floats = NDArray[np.float64]

_OVERSAMPLING = 3
_PARTS_OF_PIXEL = 3
"""A pixel's area is integrated as the mean over this many points along each of its sides."""
_LATTICE_ANGSTROM = 3.19
_ATOMS = ((0.0, 0.9), (1 / 3, 0.45))
"""Sites of the rectangular cell (fraction along its long side), peak phase in rad: a heavy and a light column."""
_COLUMN_WIDTH_ANGSTROM = 0.45
_VACANCY_FRACTION = 0.08


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
        """exp(i phase) on the grid y (rows,), x (columns,) in angstrom. Gaussians are separable: two matrix factors."""
        near_y = np.abs(self.sites[:, 0] - y.mean()) < np.ptp(y) / 2 + 4 * _COLUMN_WIDTH_ANGSTROM
        near_x = np.abs(self.sites[:, 1] - x.mean()) < np.ptp(x) / 2 + 4 * _COLUMN_WIDTH_ANGSTROM
        near = near_y & near_x
        spread = 2 * _COLUMN_WIDTH_ANGSTROM**2
        rows = np.exp(-((y[:, None] - self.sites[near, 0]) ** 2) / spread) * self.phases[near]
        columns = np.exp(-((x[:, None] - self.sites[near, 1]) ** 2) / spread)
        transmission: NDArray[np.complex128] = np.exp(1j * (rows @ columns.T))
        return transmission


def draw_truth(settings: SimulationSettings, random: np.random.Generator) -> dict[str, float]:
    """The true mismatch: stated values, or drawn uniformly from stated ranges; 0 where nothing is stated."""
    truth = dict.fromkeys(MISMATCH, 0.0)
    for name in MISMATCH:
        stated = settings.mismatch.get(name, 0.0)
        truth[name] = float(random.uniform(*stated)) if isinstance(stated, tuple) else float(stated)
    return truth


@dataclass(frozen=True)
class Experiment:
    """A simulated experiment before any electron is counted.

    Attributes:
        expected: (position, det_y, det_x) expected fraction of the beam's electrons in each detector pixel.
        stated: (position, 2) stated scan positions (y, x) in angstrom.
        truth: parameter -> true value.
        specimen: what was illuminated.
    """

    expected: Floats
    stated: Floats
    truth: dict[str, float]
    specimen: Specimen


def expected_patterns(settings: SimulationSettings, random: np.random.Generator) -> Experiment:
    """Draw a truth and a specimen, and compute the patterns expected without noise."""
    truth = draw_truth(settings, random)
    points = (np.arange(settings.scan_points) - (settings.scan_points - 1) / 2) * settings.scan_step_angstrom
    stated = np.stack(np.meshgrid(points, points, indexing="ij"), axis=-1).reshape(-1, 2)
    wavelength = wavelength_angstrom("electron", settings.energy_kev)
    frequency = settings.angular_sampling_mrad * 1e-3 / wavelength
    # The window in real space; its reciprocal pixel is a third of the detector's.
    window = _OVERSAMPLING * settings.detector_pixels
    pixel = 1 / (settings.detector_pixels * frequency)
    grid = (np.arange(window) - window // 2) * pixel
    positions = _true_positions(stated, truth)
    half_width = float(np.abs(positions).max() + grid.max() + 2)
    specimen = Specimen.monolayer(half_width, random)
    probe = _probe(settings, truth, window, frequency / _OVERSAMPLING, wavelength)
    look = _OVERSAMPLING * _looked_at(settings.detector_pixels, truth) + window // 2
    n, parts = settings.detector_pixels, _PARTS_OF_PIXEL
    # One detector pixel covers OVERSAMPLING^2 pixels of the fine grid, over the determinant of the map.
    area = _OVERSAMPLING**2 / np.linalg.det(_detector_matrix(truth))
    expected = np.empty((len(positions), n, n))
    for index, (y, x) in enumerate(positions):
        wave = probe * specimen.transmission(grid + y, grid + x)
        fine = np.abs(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(wave), norm="ortho"))) ** 2
        seen = ndimage.map_coordinates(fine, look, order=3, mode="constant")
        expected[index] = area * seen.reshape(n, parts, n, parts).mean(axis=(1, 3))
    return Experiment(np.maximum(expected, 0), stated, truth, specimen)


def simulate_patterns(settings: SimulationSettings) -> tuple[Measurement, dict[str, float]]:
    """Simulate a measurement; returns it and its truth (parameter -> true value)."""
    random = np.random.default_rng(settings.seed)
    experiment = expected_patterns(settings, random)
    counts = random.poisson(experiment.expected * settings.electrons_per_pattern)
    wavelength = wavelength_angstrom("electron", settings.energy_kev)
    sampling = (settings.angular_sampling_mrad, settings.angular_sampling_mrad)
    measurement = Measurement(
        patterns=counts.astype(np.float32),
        positions=experiment.stated,
        geometry=FarField(wavelength, sampling, settings.semi_convergence_mrad),
        valid=np.ones(counts.shape[1:], dtype=bool),
        counted=True,
        source="simulated 4D-STEM of a monolayer with vacancies",
        scan_shape=(settings.scan_points, settings.scan_points),
    )
    return measurement, experiment.truth


def write_simulation(settings: SimulationSettings, path: Path) -> Measurement:
    """Simulate, and write the measurement to ``path`` and its truth to :func:`truth_path` beside it."""
    measurement, truth = simulate_patterns(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_measurement(path, measurement)
    stated = {name: truth[name] for name in MISMATCH if name in settings.mismatch}
    document = {
        "settings": settings.model_dump(mode="json"),
        "content_hash": measurement.content_hash,
        "truth": stated,
    }
    temporary = truth_path(path).with_suffix(".tmp")
    temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    temporary.replace(truth_path(path))
    return measurement


def truth_path(path: Path) -> Path:
    """Where the truth of a simulated measurement lies: ``demo.h5`` -> ``demo.truth.json``."""
    return path.with_suffix(".truth.json")


def read_truth(path: Path) -> dict[str, Any] | None:
    """The truth document of a simulated measurement; None where there is none that can be read."""
    try:
        document = json.loads(truth_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _true_positions(stated: Floats, truth: dict[str, float]) -> Floats:
    """Where the probe really was: shear, scale and rotation of the stated positions."""
    sheared = stated.copy()
    sheared[:, 1] -= np.tan(np.deg2rad(truth["scan_shear"])) * stated[:, 0]
    angle = np.deg2rad(truth["scan_rotation"])
    y = np.cos(angle) * sheared[:, 0] - np.sin(angle) * sheared[:, 1]
    x = np.sin(angle) * sheared[:, 0] + np.cos(angle) * sheared[:, 1]
    return (1 + truth["scan_scale"] / 100) * np.stack([y, x], axis=1)


def _probe(
    settings: SimulationSettings, truth: dict[str, float], window: int, frequency: float, wavelength: float
) -> NDArray[np.complex128]:
    """The probe in real space, centred in the window, unit total intensity. Angles in rad, C3 in angstrom."""
    k = (np.arange(window) - window // 2) * frequency
    ky, kx = np.meshgrid(k, k, indexing="ij")
    theta, azimuth = wavelength * np.hypot(ky, kx), np.arctan2(ky, kx)
    c12, phi12 = truth["astigmatism"], np.deg2rad(truth["astigmatism_angle"])
    quadratic = (-truth["defocus"] + c12 * np.cos(2 * (azimuth - phi12))) * theta**2 / 2
    chi = 2 * np.pi / wavelength * (quadratic + truth["spherical_aberration"] * 1e4 * theta**4 / 4)
    edge = settings.semi_convergence_mrad * 1e-3
    aperture = np.sqrt(np.clip((edge - theta) / (wavelength * frequency) + 0.5, 0, 1))
    wave = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(aperture * np.exp(-1j * chi))))
    probe: NDArray[np.complex128] = wave / np.sqrt((np.abs(wave) ** 2).sum())
    return probe


def _detector_matrix(truth: dict[str, float]) -> Floats:
    """s R(a) diag(1 + e/2, 1 - e/2) R(-a) in (y, x) order."""
    a, half = np.deg2rad(truth["elliptical_angle"]), truth["elliptical_distortion"] / 2
    turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])  # (y, x) components of x-axis rotation
    stretch = np.diag([1 - half, 1 + half])  # (across, along): the axis is x before it is turned
    matrix: Floats = (1 + truth["camera_length"] / 100) * turn @ stretch @ turn.T
    return matrix


def _looked_at(pixels: int, truth: dict[str, float]) -> Floats:
    """q = A^-1 (n - c) of points inside every pixel, in ideal pixels from the beam.

    Shape (2, pixels * parts, pixels * parts): the parts of one pixel are neighbours along both axes.
    """
    parts = _PARTS_OF_PIXEL
    n = (np.arange(pixels * parts) + 0.5) / parts - 0.5 - pixels // 2
    y, x = np.meshgrid(n - truth["center_offset_y"], n - truth["center_offset_x"], indexing="ij")
    inverse = np.linalg.inv(_detector_matrix(truth))
    looked_at: Floats = np.einsum("ij,jyx->iyx", inverse, np.stack([y, x]))
    return looked_at
