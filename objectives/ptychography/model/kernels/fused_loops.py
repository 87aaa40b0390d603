"""The compiled loops of :mod:`objectives.ptychography.model.kernels.fused`, one for each step of a pass.

They run along contiguous rows, so that the compiler can use vector instructions. Shapes are those of
:class:`objectives.ptychography.model.kernels.protocol.Kernels`; an optional array is empty where there is none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from objectives.ptychography.model.kernels.compiled import compiled


@compiled
def shift(spectra: Any, ramp_y: Any, ramp_x: Any, out: Any) -> None:
    """Set ``out`` (b, m, y, x) to spectra (1 or b, m, y, x) times the outer product of the ramps."""
    batch, modes, rows, columns = out.shape
    for b in range(batch):
        source = spectra[b if spectra.shape[0] > 1 else 0]
        for m in range(modes):
            for i in range(rows):
                y, x, s, o = ramp_y[b, i], ramp_x[b], source[m, i], out[b, m, i]
                for j in range(columns):
                    o[j] = s[j] * (y * x[j])


@compiled
def add_unshifted(spectra: Any, ramp_y: Any, ramp_x: Any, total: Any) -> None:
    """Add spectra (b, m, y, x) times the conjugate ramps, summed over the batch, to ``total`` (m, y, x)."""
    batch, modes, rows, columns = spectra.shape
    for b in range(batch):
        for m in range(modes):
            for i in range(rows):
                y, x, s, t = np.conj(ramp_y[b, i]), ramp_x[b], spectra[b, m, i], total[m, i]
                for j in range(columns):
                    t[j] += s[j] * (y * np.conj(x[j]))


@compiled
def transmit(waves: Any, transmission: Any, corners: Any, conjugate: bool, out: Any) -> None:
    """Set ``out`` to waves times the object patch of each pattern, or times its complex conjugate."""
    batch, modes, rows, columns = waves.shape
    for b in range(batch):
        top, left = corners[b, 0], corners[b, 1]
        for m in range(modes):
            for i in range(rows):
                t, w, o = transmission[top + i, left : left + columns], waves[b, m, i], out[b, m, i]
                if conjugate:
                    for j in range(columns):
                        o[j] = w[j] * np.conj(t[j])
                else:
                    for j in range(columns):
                        o[j] = w[j] * t[j]


@compiled
def add_product(entering: Any, leaving: Any, corners: Any, total: Any) -> None:
    """Add conj(entering) * leaving, summed over modes, to the patches of ``total``."""
    batch, modes, rows, columns = entering.shape
    for b in range(batch):
        top, left = corners[b, 0], corners[b, 1]
        for m in range(modes):
            for i in range(rows):
                t, p, z = total[top + i, left : left + columns], entering[b, m, i], leaving[b, m, i]
                for j in range(columns):
                    t[j] += np.conj(p[j]) * z[j]


@compiled
def add_illumination(entering: Any, weights: Any, corners: Any, total: Any) -> None:
    """Add weight * |entering|^2, summed over modes, to the patches of ``total``."""
    batch, modes, rows, columns = entering.shape
    for b in range(batch):
        top, left, weight = corners[b, 0], corners[b, 1], weights[b]
        for m in range(modes):
            for i in range(rows):
                t, p = total[top + i, left : left + columns], entering[b, m, i]
                for j in range(columns):
                    t[j] += weight * (p[j].real * p[j].real + p[j].imag * p[j].imag)


@compiled
def shift_slopes(slopes: Any, spectra: Any, ramp_y: Any, ramp_x: Any, out: Any) -> None:
    """Set ``out`` (b, 2) to Re <slopes, d shift(spectra) / d(y, x)> of each pattern."""
    batch, modes, rows, columns = slopes.shape
    for b in range(batch):
        along_y = along_x = 0.0
        for m in range(modes):
            for i in range(rows):
                y, x, s, g = ramp_y[b, i], ramp_x[b], spectra[m, i], slopes[b, m, i]
                of_row = weighted = out.dtype.type(0)
                for j in range(columns):
                    shifted = s[j] * (y * x[j])
                    product = g[j].real * shifted.imag - g[j].imag * shifted.real
                    of_row += product
                    weighted += product * (j - columns // 2)
                along_y += of_row * (i - rows // 2)
                along_x += weighted
        out[b, 0] = along_y * (2 * np.pi / rows)
        out[b, 1] = along_x * (2 * np.pi / columns)


@compiled
def pull_back(entering: Any, leaving: Any, transmission: Any, corners: Any, gradient: Any, illumination: Any) -> None:
    """One slice backwards: gradient and illumination are added to, ``leaving`` is multiplied in place."""
    batch, modes, rows, columns = entering.shape
    illuminated = illumination.size > 0
    for b in range(batch):
        top, left = corners[b, 0], corners[b, 1]
        for m in range(modes):
            for i in range(rows):
                g, t = gradient[top + i, left : left + columns], transmission[top + i, left : left + columns]
                p, z = entering[b, m, i], leaving[b, m, i]
                for j in range(columns):
                    g[j] += np.conj(p[j]) * z[j]
                for j in range(columns):
                    z[j] = z[j] * np.conj(t[j])
                if illuminated:
                    r = illumination[top + i, left : left + columns]
                    for j in range(columns):
                        r[j] += p[j].real * p[j].real + p[j].imag * p[j].imag


@compiled
def step_products(
    entering: Any, transmission: Any, corners: Any, direction: Any, probe_direction: Any, wanted: Any, out: Any
) -> None:
    """<a,a>, <c,c>, Re<a,c>, Re<a,wanted>, Re<c,wanted> of each pattern into ``out`` (b, 5) float64."""
    batch, modes, rows, columns = entering.shape
    with_probe = probe_direction.size > 0
    zero = transmission.real.dtype.type(0)
    for b in range(batch):
        top, left = corners[b, 0], corners[b, 1]
        aa = cc = ac = aw = cw = 0.0
        for m in range(modes):
            for i in range(rows):
                d, t = direction[top + i, left : left + columns], transmission[top + i, left : left + columns]
                p, w = entering[b, m, i], wanted[b, m, i]
                r_aa = r_cc = r_ac = r_aw = r_cw = zero
                for j in range(columns):
                    a = p[j] * d[j]
                    r_aa += a.real * a.real + a.imag * a.imag
                    r_aw += a.real * w[j].real + a.imag * w[j].imag
                if with_probe:
                    q = probe_direction[b, m, i]
                    for j in range(columns):
                        a, c = p[j] * d[j], q[j] * t[j]
                        r_cc += c.real * c.real + c.imag * c.imag
                        r_ac += a.real * c.real + a.imag * c.imag
                        r_cw += c.real * w[j].real + c.imag * w[j].imag
                aa, cc, ac, aw, cw = aa + r_aa, cc + r_cc, ac + r_ac, aw + r_aw, cw + r_cw
        out[b, 0], out[b, 1], out[b, 2], out[b, 3], out[b, 4] = aa, cc, ac, aw, cw


@compiled
def best_steps(products: Any, damping: float, with_probe: bool, out: Any) -> None:
    """Solve every pattern's damped 2 x 2 problem."""
    damp_a, damp_c = damping * products[:, 0].mean(), damping * products[:, 1].mean()
    for b in range(len(products)):
        aa, cc, ac, aw, cw = products[b]
        aa, cc = aa + damp_a, cc + damp_c
        if not with_probe:
            cc = 1.0
        determinant = max(aa * cc - ac * ac, 1e-300)
        out[b, 0] = (cc * aw - ac * cw) / determinant
        out[b, 1] = (aa * cw - ac * aw) / determinant


@compiled
def largest(image: Any, box: tuple[int, int, int, int]) -> Any:
    """The largest value of ``image`` inside ``box``."""
    largest = image[box[0], box[2]]
    for i in range(box[0], box[1]):
        row = image[i, box[2] : box[3]]
        for j in range(row.size):
            largest = max(largest, row[j])
    return largest


@compiled
def object_direction(
    gradient: Any, illumination: Any, box: tuple[int, int, int, int], floor: Any, direction: Any
) -> None:
    """Set ``direction`` to gradient over floored illumination inside ``box``; the gradient becomes zero there."""
    first_row, end_row, first, end = box
    share = illumination.dtype.type(1) - floor
    least = floor * largest(illumination, box) + np.finfo(illumination.dtype).tiny
    for i in range(first_row, end_row):
        received, g, d = illumination[i, first:end], gradient[i, first:end], direction[i, first:end]
        for j in range(end - first):
            d[j] = g[j] * (illumination.dtype.type(1) / (share * received[j] + least))
            g[j] = 0


@compiled
def apply_direction(
    transmission: Any, direction: Any, weighted: Any, illumination: Any, box: tuple[int, int, int, int], step: Any
) -> None:
    """Add step * direction * weighted / illumination inside ``box``; the latter two become zero there."""
    first_row, end_row, first, end = box
    tiny = np.finfo(illumination.dtype).tiny
    for i in range(first_row, end_row):
        t, d = transmission[i, first:end], direction[i, first:end]
        w, received = weighted[i, first:end], illumination[i, first:end]
        for j in range(end - first):
            t[j] += d[j] * (step * w[j] / (received[j] + tiny))
            w[j] = 0
            received[j] = 0


@compiled
def update_object(
    transmission: Any, gradient: Any, illumination: Any, box: tuple[int, int, int, int], step: Any, floor: Any
) -> None:
    """Add step * gradient over floored illumination inside ``box``; both become zero there."""
    first_row, end_row, first, end = box
    one = illumination.dtype.type(1)
    least = floor * largest(illumination, box) + np.finfo(illumination.dtype).tiny
    for i in range(first_row, end_row):
        received, t, g = illumination[i, first:end], transmission[i, first:end], gradient[i, first:end]
        for j in range(end - first):
            t[j] += g[j] * (step / ((one - floor) * received[j] + least))
            g[j] = 0
            received[j] = 0
