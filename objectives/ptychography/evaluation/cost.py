"""The cost of an evaluation, before it is made."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from autotune.objective import Value
from objectives.diffraction.data.measurement import Measurement, NearField
from objectives.ptychography.evaluation.data_share import Fidelity, middle_positions
from objectives.ptychography.model.window import window_shape
from objectives.ptychography.parameters.window import PADDING
from objectives.ptychography.solvers.options import searches

# Fitted to the processor time of L-BFGS, float32 on one thread: 40 to 256 patterns of 24 x 24 to 128 x 128 pixels, 4
# and 12 iterations, several slices and modes, within 15 % from 6 to 550 ms. The unit is one pixel of one pattern going
# through one slice and back, about 8 nanoseconds.
_BESIDE_ITERATIONS = 2.8
"""Passes besides those of the iterations: illumination, the first gradient, the frozen pass with its gradient."""
_PER_OBJECT_PIXEL = 14.0
"""Work on L-BFGS's own vectors, per object pixel and iteration."""
_PER_ITERATION = 28_000.0
_PER_EVALUATION = 480_000.0
_FOR_PROBE = 1 / 3
"""A refined probe takes one more transform; a slice takes three."""
_FOR_POSITIONS = 0.8
"""Refined positions take the same, and their ramps are made anew for each pass."""
_PER_SEARCH, _PER_CYCLE = 700, 20
"""Iterations that take as long as a search for positions without its cycles, and as one of its cycles."""


def evaluation_cost(measurement: Measurement, values: Mapping[str, Value]) -> float:
    """The cost in pixels of patterns that go through a slice and back, in all iterations and after them.

    Every solver is counted as L-BFGS; the others cost up to 40 % less.

    Args:
        measurement: the whole measurement.
        values: the value of every parameter that is not idle.
    """
    fidelity = Fidelity.from_values(values)
    count, padding = fidelity.positions(measurement), float(values.get(PADDING, 1.0))
    shape = window_shape(fidelity.detector_shape(measurement), padding)
    refined, moved = values["probe"] == "refined", float(values.get("position_step", 0.0)) > 0
    modes, slices = int(values["probe_modes"]) if refined else 1, int(values.get("slices", 1))
    iterations = int(values["iterations"])
    if moved and searches(float(values["position_range"]), int(values["position_search"])):
        iterations += _PER_SEARCH + _PER_CYCLE * int(values["position_search"])
    passes = modes * (slices + _FOR_PROBE * refined + _FOR_POSITIONS * moved)
    extent = np.ptp(measurement.positions[middle_positions(measurement.positions, count)], axis=0)
    pixel = [p / padding for p in _object_pixel(measurement)]
    object_pixels = math.prod(n + e / p for n, e, p in zip(shape, extent, pixel, strict=True))
    per_iteration = count * math.prod(shape) * passes
    beside = iterations * (_PER_OBJECT_PIXEL * object_pixels * slices + _PER_ITERATION) + _PER_EVALUATION
    return float(per_iteration * (iterations + _BESIDE_ITERATIONS) + beside)


def _object_pixel(measurement: Measurement) -> tuple[float, float]:
    """Nominal size (y, x) of an object pixel in the unit of the positions."""
    geometry = measurement.geometry
    if isinstance(geometry, NearField):
        # The effective pixel is p z1 / z12; where z1 is not known, the sample is assumed to be halfway.
        nominal = geometry.focus_to_sample_mm or geometry.detector_distance_mm / 2
        y, x = (1e4 * pitch * nominal / geometry.detector_distance_mm for pitch in geometry.detector_pixel_um)
        return y, x
    return geometry.object_pixel_angstrom(measurement.valid.shape) or (1.0, 1.0)
