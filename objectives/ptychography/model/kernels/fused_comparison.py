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
def _filter(source: Any, columns: int, taps_y: Any, taps_x: Any, along: Any, out: Any) -> None:
    """Filter ``source`` (pixel,) along both axes into ``out``; beyond the border the values are reflected.

    ``along`` (pixel,) is overwritten. Each axis is one loop over the whole pattern, as if rows went on into the next
    row; then the pixels near the border are set right.
    """
    rows, reach = source.size // columns, taps_y.size - 1
    _add_shifted(source, columns, taps_y, along)
    for near in range(min(2 * reach, rows)):
        i = _near_border(near, reach, rows)
        for j in range(columns):
            total = taps_y[0] * source[i * columns + j]
            for d in range(1, reach + 1):
                above, below = _inside(i - d, rows), _inside(i + d, rows)
                total += taps_y[d] * (source[above * columns + j] + source[below * columns + j])
            along[i * columns + j] = total
    _add_shifted(along, 1, taps_x, out)
    for i in range(rows):
        a, o = along[i * columns : (i + 1) * columns], out[i * columns : (i + 1) * columns]
        for near in range(min(2 * reach, columns)):
            j = _near_border(near, reach, columns)
            total = taps_x[0] * a[j]
            for d in range(1, reach + 1):
                total += taps_x[d] * (a[_inside(j - d, columns)] + a[_inside(j + d, columns)])
            o[j] = total


@compiled
def _add_shifted(source: Any, stride: int, taps: Any, out: Any) -> None:
    """Set the middle of ``out`` to the filtered ``source``, whose neighbours along the axis are ``stride`` apart."""
    reach = taps.size - 1
    edge, n = reach * stride, source.size - 2 * reach * stride
    s, o, tap, one = source[edge:], out[edge:], taps[0], taps[1]
    a, b = source[edge - stride :], source[edge + stride :]
    if reach == 2:
        c, d, two = source, source[2 * edge :], taps[2]
        for k in range(n):
            o[k] = tap * s[k] + one * (a[k] + b[k]) + two * (c[k] + d[k])
        return
    for k in range(n):
        o[k] = tap * s[k] + one * (a[k] + b[k])
    for distance in range(2, reach + 1):
        a, b, one = source[edge - distance * stride :], source[edge + distance * stride :], taps[distance]
        for k in range(n):
            o[k] += one * (a[k] + b[k])


@compiled
def _inside(i: int, n: int) -> int:
    """The index that ``i`` is reflected to at the ends of 0 .. n - 1, as often as it takes."""
    while i < 0 or i >= n:
        i = -1 - i if i < 0 else 2 * n - 1 - i
    return i


@compiled
def _near_border(k: int, reach: int, n: int) -> int:
    """The ``k``-th of the indices 0 .. n - 1 that are nearer than ``reach`` to an end; all, where they are few."""
    return k if k < reach or n < 2 * reach else n - 1 - (k - reach)


@compiled
def _product(a: Any, b: Any) -> Any:
    """Sum of the products of two arrays (pixel,)."""
    total = 0.0
    for start in range(0, a.size, _RUN):
        p, q, of_run = a[start : start + _RUN], b[start : start + _RUN], a.dtype.type(0)
        for j in range(p.size):
            of_run += p[j] * q[j]
        total += of_run
    return total


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
    taps: Any,
    slopes: Any,
    columns: int,
) -> tuple[float, float]:
    """See :meth:`Kernels.residual`, with one axis of pixels: waves (b, m, pixel), patterns and masks (n, pixel)."""
    direct, along, seen = _buffers(waves, valid.dtype)
    filtered = taps.size > 1
    expected = seen if filtered else direct
    value = squared = 0.0
    for b in range(len(waves)):
        _expect(waves[b], scale, background, direct)
        if filtered:
            _filter(direct, columns, taps, taps, along, seen)  # which leaves the constant background as it is
        position = indices[b]
        of_pattern = _slope(expected, patterns[position], valid[mask_of[position]], floor, loss)
        value += of_pattern[0]
        squared += of_pattern[1]
        if filtered:
            _filter(seen, columns, taps, taps, along, direct)
        _weigh(waves[b], scale, direct)
    return value, squared


@compiled
def _buffers(waves: Any, dtype: Any) -> tuple[Any, Any, Any]:
    """Three arrays (pixel,) for one pattern."""
    pixels = waves.shape[2]
    return np.empty(pixels, dtype), np.empty(pixels, dtype), np.empty(pixels, dtype)


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
    taps: Any,
    slopes: Any,
    columns: int,
) -> tuple[float, float, float, float]:
    """See :meth:`Kernels.score`; shapes as in :func:`residual_loop`."""
    direct, along, seen = _buffers(waves, valid.dtype)
    of_blur, filtered = np.empty_like(direct), taps.size > 1
    expected = seen if filtered else direct
    squared = amplitude = total = blur = 0.0
    for b in range(len(waves)):
        _expect(waves[b], scale, background, direct)
        if filtered:
            _filter(direct, columns, taps, taps, along, seen)
        measured, compared = patterns[indices[b]], valid[mask_of[indices[b]]]
        for start in range(0, expected.size, _RUN):
            e, y, v = expected[start : start + _RUN], measured[start : start + _RUN], compared[start : start + _RUN]
            of_run = _score_slope(e, y, v, floor, of_amplitude)
            squared += of_run[0]
            amplitude += of_run[1]
            total += of_run[2]
        if filtered:
            _filter(direct, columns, slopes, taps, along, of_blur)
            blur += _product(seen, of_blur)
            _filter(direct, columns, taps, slopes, along, of_blur)
            blur += _product(seen, of_blur)
            _filter(seen, columns, taps, taps, along, direct)
        _weigh(waves[b], scale, direct)
    return squared, amplitude, total, blur
