"""A measurement in memory, the same for every file format: patterns, scan positions, geometry, units.

Conventions (all readers convert to them): counts ``y[position, det_y, det_x]``, the unscattered beam
nominally at pixel (N//2, N//2); positions (y, x) of the probe on the object, in the frame of the detector's
axes (+y = along increasing row, +x = along increasing column), centred on zero. Lengths in angstrom, angles
in mrad or degrees.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from objectives.metrics.counts import noise_ceiling

_BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class FarField:
    """Diffraction recorded in the far field of the object (4D-STEM, far-field X-ray ptychography).

    Attributes:
        wavelength_angstrom: wavelength of the electron or photon; None where the positions are in object
            pixels.
        angular_sampling_mrad: (y, x) scattering angle per detector pixel; None where the positions are in
            object pixels.
        semi_convergence_mrad: semi-convergence angle of a probe-forming aperture; None for a free probe.
        defocus_angstrom: nominal defocus, positive = underfocus; None where the file does not say.
        scan_rotation_degree: nominal scan rotation; None where the file does not say.
    """

    wavelength_angstrom: float | None = None
    angular_sampling_mrad: tuple[float, float] | None = None
    semi_convergence_mrad: float | None = None
    defocus_angstrom: float | None = None
    scan_rotation_degree: float | None = None

    def object_pixel_angstrom(self, shape: tuple[int, int]) -> tuple[float, float] | None:
        """Nominal size (y, x) of the object's pixel that a detector of ``shape`` (rows, columns) gives in angstrom.

        None where wavelength or angular sampling are not known.
        """
        if self.wavelength_angstrom is None or self.angular_sampling_mrad is None:
            return None
        y, x = (
            1e3 * self.wavelength_angstrom / (n * a) for n, a in zip(shape, self.angular_sampling_mrad, strict=True)
        )
        return y, x


@dataclass(frozen=True)
class NearField:
    """Magnified near-field diffraction (holography geometry): focus, then sample, then detector.

    Attributes:
        wavelength_angstrom: photon wavelength.
        detector_distance_mm: distance from the focus to the detector, z1 + z2.
        detector_pixel_um: (y, x) pixel pitch of the detector.
        focus_to_sample_mm: nominal z1; None where the file does not say.
    """

    wavelength_angstrom: float
    detector_distance_mm: float
    detector_pixel_um: tuple[float, float]
    focus_to_sample_mm: float | None = None


@dataclass(frozen=True)
class Measurement:
    """One ptychographic measurement.

    Attributes:
        patterns: float32 (position, det_y, det_x), counts or linear intensity, finite, not negative.
        positions: float64 (position, 2), (y, x), centred on zero, in ``position_unit``.
        position_unit: ``angstrom``, or ``object pixel`` where the file stores positions that way and the
            geometry needed to convert them is unknown.
        geometry: far field or near field.
        valid: bool (det_y, det_x), False on dead or masked pixels.
        counted: whether the values are counted quanta, so that the noise is Poisson with no free scale.
        probe: initial probe, complex64 (det_y, det_x) centred at (N//2, N//2), where the file holds one; or several
            incoherent modes, (mode, det_y, det_x).
        scan_shape: (rows, columns) where the scan is a raster in row-major order.
        source: origin of the measurement, in words for people.
    """

    patterns: NDArray[np.float32]
    positions: NDArray[np.float64]
    geometry: FarField | NearField
    valid: NDArray[np.bool_]
    counted: bool
    source: str
    position_unit: Literal["angstrom", "object pixel"] = "angstrom"
    probe: NDArray[np.complex64] | None = None
    scan_shape: tuple[int, int] | None = None

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of patterns, positions, mask, geometry and probe: equal hashes mean the same measurement."""
        digest = hashlib.sha256(repr((self.geometry, self.position_unit, self.counted)).encode())
        arrays: list[NDArray[Any]] = [self.patterns, self.positions, self.valid]
        if self.probe is not None:
            arrays.append(self.probe)
        for array in arrays:
            digest.update(repr((array.dtype.str, array.shape)).encode())
            for part in _blocks(array):
                digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()

    @cached_property
    def shot_noise_ceiling(self) -> float | None:
        """Intensity consistency that the true model would reach, see :func:`noise_ceiling`; None if not counted."""
        if not self.counted:
            return None
        total = squares = 0.0
        for part in _blocks(self.patterns):
            counts = part[:, self.valid].astype(np.float64)
            total += float(counts.sum())
            squares += float(np.vdot(counts, counts))
        return noise_ceiling(total, squares)


def _blocks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Views of a few megabytes along the first axis."""
    per_block = max(1, _BLOCK_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), per_block):
        yield array[start : start + per_block]
