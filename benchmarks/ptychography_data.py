"""The data that the benchmarks reconstruct: simulated 4D-STEM of a monolayer, written once and kept.

Two scans suit every package equally: a square raster, a known lens, and no mismatch except the defocus, which every
package is given. Each is written as the project's own measurement file and as a plain ``.npz`` that any program can
read. A third file is large enough to measure memory with.

    python benchmarks/ptychography_data.py FOLDER
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from objectives.diffraction.data.formats.autotune_hdf5 import write_measurement
from objectives.diffraction.data.measurement import FarField, Measurement
from objectives.diffraction.data.radiation import wavelength_angstrom
from objectives.ptychography.simulation.settings import SimulationSettings
from objectives.ptychography.simulation.simulate import simulate_patterns

SCANS = {
    64: SimulationSettings(
        energy_kev=80,
        semi_convergence_mrad=20,
        angular_sampling_mrad=1.5,
        detector_pixels=64,
        scan_points=24,
        scan_step_angstrom=1.2,
        electrons_per_pattern=5e4,
        mismatch={"defocus": -120},
    ),
    128: SimulationSettings(
        energy_kev=80,
        semi_convergence_mrad=20,
        angular_sampling_mrad=0.75,
        detector_pixels=128,
        scan_points=20,
        scan_step_angstrom=2.0,
        electrons_per_pattern=2e5,
        mismatch={"defocus": -250},
    ),
}
"""Detector pixels -> scan. Defocus -120 angstrom is C10 = +120 angstrom, overfocus."""


@dataclass(frozen=True)
class Scan:
    """One of :data:`SCANS` on disk.

    Attributes:
        measurement: path of the project's own file.
        plain: path of a file with the same patterns and geometry for other packages: ``patterns`` float32 (position,
            det_y, det_x), beam at (N//2, N//2), and the scalars ``scan_points``, ``scan_step_angstrom``,
            ``energy_kev``, ``semi_convergence_mrad``, ``c10_angstrom``, ``sampling_per_angstrom`` (reciprocal pixel).
        defocus: the true defocus in angstrom, positive = underfocus.
        positions, pixels: number of patterns, and of pixels along each of their sides.
        noise_floor: relative intensity residual ||y - Hx|| / ||y|| of the true patterns, due to shot noise.
    """

    measurement: Path
    plain: Path
    defocus: float
    positions: int
    pixels: int
    noise_floor: float


def default_folder() -> Path:
    """The folder of the data unless another is named: the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "autotune" / "benchmarks"


def common_scan(folder: Path, pixels: int) -> Scan:
    """The scan with patterns of ``pixels`` x ``pixels``, simulated if it is not in ``folder`` yet."""
    settings = SCANS[pixels]
    measurement, plain = folder / f"scan{pixels}.h5", folder / f"scan{pixels}.npz"
    if not (measurement.exists() and plain.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        _simulate(settings, measurement, plain)
    with np.load(plain) as stored:
        floor, count = float(stored["noise_floor"]), len(stored["patterns"])
    return Scan(measurement, plain, _defocus(settings), count, pixels, floor)


def _defocus(settings: SimulationSettings) -> float:
    defocus = settings.mismatch["defocus"]
    assert not isinstance(defocus, tuple)  # noqa: S101 - a fact of the table above
    return defocus


def _simulate(settings: SimulationSettings, path: Path, plain: Path) -> None:
    measurement, _ = simulate_patterns(settings)
    ceiling = measurement.shot_noise_ceiling
    assert ceiling is not None  # noqa: S101 - simulated electrons are counted
    write_measurement(path, measurement)
    wavelength = wavelength_angstrom("electron", settings.energy_kev)
    np.savez(
        plain,
        patterns=measurement.patterns,
        scan_points=settings.scan_points,
        scan_step_angstrom=settings.scan_step_angstrom,
        energy_kev=settings.energy_kev,
        semi_convergence_mrad=settings.semi_convergence_mrad,
        c10_angstrom=-_defocus(settings),
        sampling_per_angstrom=settings.angular_sampling_mrad * 1e-3 / wavelength,
        noise_floor=1 - ceiling,
    )


def large_scan(folder: Path, points: int = 64, pixels: int = 128) -> Path:
    """Write a file of ``points`` x ``points`` patterns of ``pixels`` x ``pixels`` counts, to measure memory with.

    A smooth object on a grid is enough here: only the sizes matter.
    """
    path = folder / f"large{points}x{pixels}.h5"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    settings, step = SCANS[pixels], 2
    size = pixels + step * (points - 1)
    rows, columns = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    transmission = np.exp(0.6j * np.cos(rows / 3.0) * np.cos(columns / 4.0)).astype(np.complex64)
    k = np.arange(pixels) - pixels // 2
    radius = np.hypot(k[:, None], k[None, :])
    edge = settings.semi_convergence_mrad / settings.angular_sampling_mrad
    aperture = (radius <= edge) * np.exp(-1j * 0.006 * radius**2)
    probe = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(aperture))).astype(np.complex64)
    probe *= np.sqrt(settings.electrons_per_pattern / (np.abs(probe) ** 2).sum())
    corners = step * np.stack(np.meshgrid(np.arange(points), np.arange(points), indexing="ij"), -1).reshape(-1, 2)
    counts = np.empty((points**2, pixels, pixels), np.float32)
    for index, (y, x) in enumerate(corners):
        wave = np.fft.fft2(np.fft.ifftshift(probe * transmission[y : y + pixels, x : x + pixels]), norm="ortho")
        counts[index] = random.poisson(np.fft.fftshift(np.abs(wave) ** 2))
    wavelength = wavelength_angstrom("electron", settings.energy_kev)
    pixel = wavelength / (pixels * settings.angular_sampling_mrad * 1e-3)
    sampling = (settings.angular_sampling_mrad, settings.angular_sampling_mrad)
    measurement = Measurement(
        patterns=counts,
        positions=(corners - corners.mean(axis=0)) * pixel,
        geometry=FarField(wavelength, sampling, settings.semi_convergence_mrad),
        valid=np.ones(counts.shape[1:], np.bool_),
        counted=True,
        source="counts of a smooth object, for measuring memory",
        scan_shape=(points, points),
    )
    write_measurement(path, measurement)
    return path


def main() -> None:
    """Write all data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=default_folder())
    folder = parser.parse_args().folder
    for pixels in SCANS:
        print(common_scan(folder, pixels))
    print(large_scan(folder))


if __name__ == "__main__":
    main()
