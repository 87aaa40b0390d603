"""The compiled loops of the fused kernels that compare expected with measured counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from objectives.ptychography.model.kernels.compiled import compiled
from objectives.ptychography.model.kernels.protocol import Loss

LOSSES: dict[Loss, int] = {"intensity": 0, "amplitude": 1, "poisson": 2}
_RUN = 512
"""Pixels summed in the arrays' own precision before the sum is carried on in double precision."""


@compiled
def _intensity_slope(expected: Any, measured: Any, valid: Any) -> tuple[Any, Any]:
    """Turn ``expected`` into dL/dI; return L and the squared residual."""
    squared = valid.dtype.type(0)
    for j in range(expected.size):
        difference = (expected[j] - measured[j]) * valid[j]
        squared += difference * difference
        expected[j] = difference + difference
    return squared, squared


@compiled
def _amplitude_slope(expected: Any, measured: Any, valid: Any, floor: Any) -> tuple[Any, Any]:
    """Turn ``expected`` into dL/dI; return L and the squared residual."""
    one = valid.dtype.type(1)
    value = squared = valid.dtype.type(0)
    for j in range(expected.size):
        difference = (expected[j] - measured[j]) * valid[j]
        squared += difference * difference
        floored = expected[j] + floor
        slope = (one - np.sqrt(measured[j] / floored)) * valid[j]
        value += floored * slope * slope
        expected[j] = slope
    return value, squared


@compiled
def _poisson_slope(expected: Any, measured: Any, valid: Any, floor: Any) -> tuple[Any, Any]:
    """Turn ``expected`` into dL/dI; return L and the squared residual."""
    one = valid.dtype.type(1)
    value = squared = valid.dtype.type(0)
    for j in range(expected.size):
        difference = (expected[j] - measured[j]) * valid[j]
        squared += difference * difference
        floored = expected[j] + floor
        value += (floored - measured[j] * np.log(floored)) * valid[j]
        expected[j] = (one - measured[j] / floored) * valid[j]
    return value, squared


@compiled
def _slope(expected: Any, measured: Any, valid: Any, floor: Any, loss: Any) -> tuple[float, float]:
    """Turn ``expected`` into dL/dI of one pattern; return L and the squared residual."""
    value = squared = 0.0
    for start in range(0, expected.size, _RUN):
        # Views that start at 0: an index that might be negative costs a branch, and with it the vector instructions.
        e, y, v = expected[start : start + _RUN], measured[start : start + _RUN], valid[start : start + _RUN]
        if loss == 0:
            of_run = _intensity_slope(e, y, v)
        elif loss == 1:
            of_run = _amplitude_slope(e, y, v, floor)
        else:
            of_run = _poisson_slope(e, y, v, floor)
        value += of_run[0]
        squared += of_run[1]
    return value, squared


@compiled
def _expect(waves: Any, scale: Any, background: Any, expected: Any) -> None:
    """Set ``expected`` to the expected counts of one pattern with waves (m, pixel)."""
    w = waves[0]
    for j in range(expected.size):
        expected[j] = scale * (w[j].real * w[j].real + w[j].imag * w[j].imag) + background
    for m in range(1, len(waves)):
        w = waves[m]
        for j in range(expected.size):
            expected[j] += scale * (w[j].real * w[j].real + w[j].imag * w[j].imag)


@compiled
def _weigh(waves: Any, scale: Any, slope: Any) -> None:
    """Multiply the waves (m, pixel) of one pattern by scale * dL/dI."""
    for m in range(len(waves)):
        w = waves[m]
        for j in range(slope.size):
            w[j] = w[j] * (scale * slope[j])


@compiled
def residual_loop(
    waves: Any,
    patterns: Any,
    indices: Any,
    valid: Any,
    mask_of: Any,
    scale: Any,
    background: Any,
    floor: Any,
    loss: Any,
) -> tuple[float, float]:
    """See :meth:`Kernels.residual`, with one axis of pixels: waves (b, m, pixel), patterns and masks (n, pixel)."""
    expected = np.empty(waves.shape[2], valid.dtype)
    value = squared = 0.0
    for b in range(len(waves)):
        _expect(waves[b], scale, background, expected)
        position = indices[b]
        of_pattern = _slope(expected, patterns[position], valid[mask_of[position]], floor, loss)
        value += of_pattern[0]
        squared += of_pattern[1]
        _weigh(waves[b], scale, expected)
    return value, squared


@compiled
def _score_slope(expected: Any, measured: Any, valid: Any, floor: Any, of_amplitude: bool) -> tuple[Any, Any, Any]:
    """Turn ``expected`` into dL/dI; return the intensity loss, the amplitude loss and the sum of the slopes."""
    one = valid.dtype.type(1)
    squared = amplitude = total = valid.dtype.type(0)
    for j in range(expected.size):
        difference = (expected[j] - measured[j]) * valid[j]
        squared += difference * difference
        floored = expected[j] + floor
        slope = (one - np.sqrt(measured[j] / floored)) * valid[j]
        amplitude += floored * slope * slope
        if not of_amplitude:
            slope = difference + difference
        elif expected[j] <= floor:
            slope = slope - slope
        total += slope
        expected[j] = slope
    return squared, amplitude, total


@compiled
def score_loop(
    waves: Any,
    patterns: Any,
    indices: Any,
    valid: Any,
    mask_of: Any,
    scale: Any,
    background: Any,
    floor: Any,
    of_amplitude: bool,
) -> tuple[float, float, float]:
    """See :meth:`Kernels.score`; shapes as in :func:`residual_loop`."""
    expected = np.empty(waves.shape[2], valid.dtype)
    squared = amplitude = total = 0.0
    for b in range(len(waves)):
        _expect(waves[b], scale, background, expected)
        measured, compared = patterns[indices[b]], valid[mask_of[indices[b]]]
        for start in range(0, expected.size, _RUN):
            e, y, v = expected[start : start + _RUN], measured[start : start + _RUN], compared[start : start + _RUN]
            of_run = _score_slope(e, y, v, floor, of_amplitude)
            squared += of_run[0]
            amplitude += of_run[1]
            total += of_run[2]
        _weigh(waves[b], scale, expected)
    return squared, amplitude, total
