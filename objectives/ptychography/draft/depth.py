"""Tell from a few patterns whether one slice can explain the specimen, and draft the parameters of several.

A thin specimen hardly changes the bright-field disk from one scan position to the next; a thick crystal fills it with
interference. The relative variance of the disk's counts, less that of counting, was 0.03 to 0.06 in measurements of
monolayers (simulated by abTEM and explicitly, 60 and 80 keV), and 0.5 in one of 60 angstrom of SrTiO3.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from autotune.objective import DraftLine
from objectives.diffraction.data.measurement import FarField, NearField

_INNER = 0.8
"""Radii of the disk within which it is looked at: its edge varies for other reasons."""
_THICK = 0.15
"""Relative variance of the disk above which several slices are drafted."""
_FEWEST = 8
_SETTINGS: tuple[tuple[str, int | float | str, str], ...] = (
    ("slices", 6, "of the object: the bright-field disk varies as that of a thick specimen does"),
    ("solver", "lsqml", "converges sooner than lbfgs with several slices"),
    ("object_step", 1.0, "the whole of the best step"),
    ("window_padding", 1.5, "what a thick specimen scatters past the detector comes back, so the window holds it"),
)
_THICKNESS = {"low": 10, "high": 150}
_TILT = {"low": -8, "high": 8}


def disk_variance(patterns: NDArray[np.float64], geometry: FarField | NearField, counted: bool) -> float | None:
    """Variance of the bright-field disk from pattern to pattern over its squared mean; None where it cannot be told.

    Args:
        patterns: (sample, det_y, det_x), the beam near (N//2, N//2).
        geometry: with the semi-convergence angle and the angular sampling.
        counted: whether the values are counted quanta, whose own variance is taken off.
    """
    if not isinstance(geometry, FarField) or len(patterns) < _FEWEST:
        return None
    sampling, angle = geometry.angular_sampling_mrad, geometry.semi_convergence_mrad
    if sampling is None or angle is None:
        return None
    mean = patterns.mean(axis=0)
    total = float(mean.sum())
    if total <= 0:
        return None
    places = np.indices(mean.shape)
    middle = (places * mean).sum(axis=(1, 2)) / total
    away = (places - middle[:, None, None]) * np.array(sampling)[:, None, None]
    disk = (np.square(away).sum(axis=0) < (_INNER * angle) ** 2) & (mean > 0)
    if not disk.any():
        return None
    inside = float(mean[disk].mean())
    variance = float(patterns[:, disk].var(axis=0, ddof=1).mean())
    return max(0.0, variance - inside * counted) / inside**2


def iterations_of(variance: float | None, default: int) -> int:
    """The iterations to draft: several slices need twice as many as one."""
    return 2 * default if _is_thick(variance) else default


def depth_lines(variance: float | None) -> Iterator[DraftLine]:
    """The lines of a thick specimen; optional ones where a single slice may do, or where nothing can be told."""
    if not _is_thick(variance):
        yield DraftLine("parameters.slices", 6, "of a thick specimen, with thickness: docs/solvers.md", "optional")
        return
    for name, value, text in _SETTINGS:
        yield DraftLine(f"parameters.{name}", value, text)
    yield DraftLine("parameters.thickness", _THICKNESS, "angstrom: total thickness")
    for axis in ("y", "x"):
        yield DraftLine(f"parameters.tilt_{axis}", _TILT, f"mrad: specimen tilt along {axis}")


def _is_thick(variance: float | None) -> bool:
    return variance is not None and variance > _THICK
