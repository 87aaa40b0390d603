"""The parameter of the padded window, and its default, which the data decide."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from autotune.objective import Parameter
from objectives.diffraction.data.measurement import FarField, Measurement
from objectives.ptychography.model.window import window_for_lens

PADDING = "window_padding"
_AT_EDGE = 1e-3
"""Share of the counts in the detector's outermost sixteenth, along each side, from which the window is padded."""
_PER_UNKNOWN = 6.0
"""Counts there for every pixel that padding adds to the scanned part of the object. With fewer, withheld counts are
explained worse with padding than without: 256 patterns of 48 x 48 break even at 1e4 electrons each, 6 per pixel."""
_BESIDE_SCAN = 1 / 4
"""Share of the window by which the illuminated part of the object exceeds the scan along an axis."""
_PATTERNS = 256


def padding_parameter(measurement: Measurement) -> Parameter:
    """The padding of a far-field measurement's window."""
    default = default_padding(measurement)
    return Parameter(
        PADDING,
        "1",
        "solver",
        default,
        low=1.0,
        high=max(2.0, default),
        minimum=1.0,
        maximum=4.0,
        description="pixels of the window over those of the detector: above 1, what is scattered beyond the detector "
        "does not come back at its other side (1.5 and more for several slices)",
    )


def default_padding(measurement: Measurement) -> float:
    """The padding that keeps scattering off the detector where it reaches the edge; 1 where it does not.

    It is 1, too, where counts at the edge are too few to determine the finer object, and where no lens is known: the
    data do not say how wide the illumination is then.
    """
    geometry = measurement.geometry
    if not isinstance(geometry, FarField):
        return 1.0
    shape: tuple[int, int] = measurement.valid.shape
    sampling, angle = geometry.angular_sampling_mrad, geometry.semi_convergence_mrad
    pixel = geometry.object_pixel_angstrom(shape)
    if sampling is None or angle is None or pixel is None:  # no lens that forms the probe
        return 1.0
    window = window_for_lens(shape, (angle / sampling[0], angle / sampling[1]))
    padding = min(w / n for w, n in zip(window, shape, strict=True))
    mean = _mean_pattern(measurement)
    share, counts = _share_at_edge(mean), float(mean.sum()) * len(measurement.patterns)
    illuminated = np.ptp(measurement.positions, axis=0) / pixel + _BESIDE_SCAN * np.array(shape)
    added = float(np.prod(illuminated)) * (padding**2 - 1)
    if share < _AT_EDGE or (measurement.counted and share * counts < _PER_UNKNOWN * added):
        return 1.0
    # Cut, not rounded: more than the window needs would make it the next larger one.
    return math.floor(1e4 * padding) / 1e4


def share_at_edge(measurement: Measurement) -> float:
    """Share of the counts in the outermost sixteenth of the detector along each side, from some of the patterns."""
    return _share_at_edge(_mean_pattern(measurement))


def _mean_pattern(measurement: Measurement) -> NDArray[np.float64]:
    """Mean (det_y, det_x) of some of the patterns, 0 in masked pixels."""
    step = max(1, len(measurement.patterns) // _PATTERNS)
    mean: NDArray[np.float64] = measurement.patterns[::step].mean(axis=0, dtype=np.float64) * measurement.valid
    return mean


def _share_at_edge(mean: NDArray[np.float64]) -> float:
    rows, columns = (max(1, math.ceil(n / 16)) for n in mean.shape)
    total, inside = float(mean.sum()), float(mean[rows:-rows, columns:-columns].sum())
    return 1 - inside / total if total > 0 else 0.0
