"""The true phase of a benchmark's specimen, and how well a reconstructed object agrees with it.

An object is known up to a phase plane, and, where the probe is refined, up to a shift of both. Planes are removed, and
the shift is searched for, so that packages with other conventions for the middle of a pixel are compared fairly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, spline_filter
from scipy.optimize import minimize

from objectives.diffraction.data.radiation import wavelength_angstrom
from objectives.metrics import aligned_phases
from objectives.ptychography.simulation.direct import specimen_of
from objectives.ptychography.simulation.settings import SimulationSettings

_STEP = 0.1
"""Spacing of the grid on which the true phase is sampled, angstrom; atom columns are 0.45 wide."""
_MARGIN = 2.0
_SHIFT = 0.2
"""First step of the search for the shift, angstrom."""


@dataclass(frozen=True)
class Region:
    """The part of a reconstructed object over which the probe was scanned.

    Attributes:
        field: complex (rows, columns).
        first: (row, column) of its first pixel, in pixels from the middle of the scan.
    """

    field: NDArray[np.complex64]
    first: tuple[float, float]


class Truth:
    """The specimen of ``settings``, sampled around the scan."""

    def __init__(self, settings: SimulationSettings) -> None:
        window = settings.detector_pixels * settings.angular_sampling_mrad * 1e-3
        self._pixel = wavelength_angstrom("electron", settings.energy_kev) / window
        half = (settings.scan_points - 1) / 2 * settings.scan_step_angstrom + _MARGIN
        self._grid = np.arange(-half, half + _STEP, _STEP)
        phase = specimen_of(settings).phase(*np.meshgrid(self._grid, self._grid, indexing="ij"))
        self._spline = spline_filter(phase)

    def correlation(self, region: Region) -> float:
        """Pearson's correlation of the phases, without a phase plane, at the best shift."""
        axes = [(start + np.arange(n)) * self._pixel for start, n in zip(region.first, region.field.shape, strict=True)]

        def negative(shift: NDArray[np.float64]) -> float:
            y, x = ((axis + move - self._grid[0]) / _STEP for axis, move in zip(axes, shift, strict=True))
            phase = map_coordinates(self._spline, np.meshgrid(y, x, indexing="ij"), order=3, prefilter=False)
            ours, true = aligned_phases(region.field, np.exp(1j * phase))
            return -float(np.corrcoef(ours.ravel(), true.ravel())[0, 1])

        simplex = [[0.0, 0.0], [_SHIFT, 0.0], [0.0, _SHIFT]]
        options = {"xatol": 0.02, "fatol": 1e-5, "initial_simplex": simplex, "maxiter": 40}
        return -float(minimize(negative, [0.0, 0.0], method="Nelder-Mead", options=options).fun)
