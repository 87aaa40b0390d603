"""The steps of a pass on the processor: one compiled loop each (Numba), reading and writing every array once.

The loops run along contiguous rows, so that the compiler can use vector instructions; ``fastmath`` leaves out what
would hide NaN and infinity, by which a diverged reconstruction is recognised. The first use compiles for about a second
per step; see :mod:`objectives.ptychography.model.kernels.compiled` for where the result is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from objectives.ptychography.model.kernels import Loss
from objectives.ptychography.model.kernels.compiled import compiled
from objectives.ptychography.model.kernels.fused_comparison import LOSSES, residual_loop, score_loop


@compiled
def _shift(spectra: Any, ramp_y: Any, ramp_x: Any, out: Any) -> None:
    batch, modes, rows, columns = out.shape
    for b in range(batch):
        source = spectra[b if spectra.shape[0] > 1 else 0]
        for m in range(modes):
            for i in range(rows):
                y, x, s, o = ramp_y[b, i], ramp_x[b], source[m, i], out[b, m, i]
                for j in range(columns):
                    o[j] = s[j] * (y * x[j])


@compiled
def _add_unshifted(spectra: Any, ramp_y: Any, ramp_x: Any, total: Any) -> None:
    batch, modes, rows, columns = spectra.shape
    for b in range(batch):
        for m in range(modes):
            for i in range(rows):
                y, x, s, t = np.conj(ramp_y[b, i]), ramp_x[b], spectra[b, m, i], total[m, i]
                for j in range(columns):
                    t[j] += s[j] * (y * np.conj(x[j]))


@compiled
def _transmit(waves: Any, transmission: Any, corners: Any, conjugate: bool, out: Any) -> None:
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
def _add_product(entering: Any, leaving: Any, corners: Any, total: Any) -> None:
    batch, modes, rows, columns = entering.shape
    for b in range(batch):
        top, left = corners[b, 0], corners[b, 1]
        for m in range(modes):
            for i in range(rows):
                t, p, z = total[top + i, left : left + columns], entering[b, m, i], leaving[b, m, i]
                for j in range(columns):
                    t[j] += np.conj(p[j]) * z[j]


@compiled
def _add_illumination(entering: Any, weights: Any, corners: Any, total: Any) -> None:
    batch, modes, rows, columns = entering.shape
    for b in range(batch):
        top, left, weight = corners[b, 0], corners[b, 1], weights[b]
        for m in range(modes):
            for i in range(rows):
                t, p = total[top + i, left : left + columns], entering[b, m, i]
                for j in range(columns):
                    t[j] += weight * (p[j].real * p[j].real + p[j].imag * p[j].imag)


@compiled
def _shift_slopes(slopes: Any, spectra: Any, ramp_y: Any, ramp_x: Any, out: Any) -> None:
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
def _pull_back(entering: Any, leaving: Any, transmission: Any, corners: Any, gradient: Any, illumination: Any) -> None:
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
def _step_products(
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
def _best_steps(products: Any, damping: float, with_probe: bool, out: Any) -> None:
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
def _largest(image: Any, box: tuple[int, int, int, int]) -> Any:
    largest = image[box[0], box[2]]
    for i in range(box[0], box[1]):
        row = image[i, box[2] : box[3]]
        for j in range(row.size):
            largest = max(largest, row[j])
    return largest


@compiled
def _object_direction(
    gradient: Any, illumination: Any, box: tuple[int, int, int, int], floor: Any, direction: Any
) -> None:
    first_row, end_row, first, end = box
    share = illumination.dtype.type(1) - floor
    least = floor * _largest(illumination, box) + np.finfo(illumination.dtype).tiny
    for i in range(first_row, end_row):
        received, g, d = illumination[i, first:end], gradient[i, first:end], direction[i, first:end]
        for j in range(end - first):
            d[j] = g[j] * (illumination.dtype.type(1) / (share * received[j] + least))
            g[j] = 0


@compiled
def _apply_direction(
    transmission: Any, direction: Any, weighted: Any, illumination: Any, box: tuple[int, int, int, int], step: Any
) -> None:
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
def _update_object(
    transmission: Any, gradient: Any, illumination: Any, box: tuple[int, int, int, int], step: Any, floor: Any
) -> None:
    first_row, end_row, first, end = box
    one = illumination.dtype.type(1)
    least = floor * _largest(illumination, box) + np.finfo(illumination.dtype).tiny
    for i in range(first_row, end_row):
        received, t, g = illumination[i, first:end], transmission[i, first:end], gradient[i, first:end]
        for j in range(end - first):
            t[j] += g[j] * (step / ((one - floor) * received[j] + least))
            g[j] = 0
            received[j] = 0


class FusedKernels:
    """See :class:`objectives.ptychography.model.kernels.Kernels`. All tensors contiguous, on the CPU."""

    def shift(self, spectra: Tensor, ramp_y: Tensor, ramp_x: Tensor) -> Tensor:
        """See :class:`objectives.ptychography.model.kernels.Kernels`."""
        source = spectra if spectra.ndim == 4 else spectra[None]
        out = torch.empty((len(ramp_y), *spectra.shape[-3:]), dtype=spectra.dtype)
        _shift(source.numpy(), ramp_y.numpy(), ramp_x.numpy(), out.numpy())
        return out

    def add_unshifted(self, spectra: Tensor, ramp_y: Tensor, ramp_x: Tensor, total: Tensor) -> None:
        """See :class:`objectives.ptychography.model.kernels.Kernels`."""
        _add_unshifted(spectra.numpy(), ramp_y.numpy(), ramp_x.numpy(), total.numpy())

    def transmit(self, waves: Tensor, transmission: Tensor, corners: Tensor) -> Tensor:
        """See :class:`objectives.ptychography.model.kernels.Kernels`."""
        out = torch.empty_like(waves)
        _transmit(waves.numpy(), transmission.numpy(), corners.numpy(), False, out.numpy())
        return out

    def transmit_back(self, waves: Tensor, transmission: Tensor, corners: Tensor) -> Tensor:
        """See :class:`objectives.ptychography.model.kernels.Kernels`."""
        out = torch.empty_like(waves)
        _transmit(waves.numpy(), transmission.numpy(), corners.numpy(), True, out.numpy())
        return out

    def add_product(self, entering: Tensor, leaving: Tensor, corners: Tensor, total: Tensor) -> None:
        """See :class:`objectives.ptychography.model.kernels.Kernels`."""
        _add_product(entering.numpy(), leaving.numpy(), corners.numpy(), total.numpy())

    def add_illumination(self, entering: Tensor, weights: Tensor, corners: Tensor, total: Tensor) -> None:
        """See :class:`objectives.ptychography.model.kernels.Kernels`."""
        _add_illumination(entering.numpy(), weights.numpy(), corners.numpy(), total.numpy())

    def residual(
        self,
        waves: Tensor,
        patterns: Tensor,
        indices: Tensor,
        valid: Tensor,
        mask_of: Tensor,
        scale: float,
        background: float,
        floor: float,
        loss: Loss,
    ) -> tuple[float, float]:
        """See :class:`objectives.ptychography.model.kernels.Kernels`."""
        numbers = (scale, background, floor)
        value, squared = residual_loop(*_flat(waves, patterns, indices, (valid, mask_of), numbers, LOSSES[loss]))
        return float(value), float(squared)

    def score(
        self,
        waves: Tensor,
        patterns: Tensor,
        indices: Tensor,
        valid: Tensor,
        mask_of: Tensor,
        scale: float,
        background: float,
        floor: float,
        loss: Loss,
    ) -> tuple[float, float, float]:
        """See :class:`objectives.ptychography.model.kernels.Kernels`."""
        numbers = (scale, background, floor)
        squared, amplitude, total = score_loop(
            *_flat(waves, patterns, indices, (valid, mask_of), numbers, loss == "amplitude")
        )
        return float(squared), float(amplitude), float(total)

    def shift_slopes(self, slopes: Tensor, spectra: Tensor, ramp_y: Tensor, ramp_x: Tensor) -> Tensor:
        """See :class:`objectives.ptychography.model.kernels.Kernels`."""
        out = torch.empty((len(slopes), 2), dtype=slopes.real.dtype)
        _shift_slopes(slopes.numpy(), spectra.numpy(), ramp_y.numpy(), ramp_x.numpy(), out.numpy())
        return out

    def pull_back(
        self,
        entering: Tensor,
        leaving: Tensor,
        transmission: Tensor,
        corners: Tensor,
        gradient: Tensor,
        illumination: Tensor | None,
    ) -> None:
        """See :class:`objectives.ptychography.model.kernels.Kernels`."""
        received = np.empty((0, 0), gradient.numpy().real.dtype) if illumination is None else illumination.numpy()
        _pull_back(entering.numpy(), leaving.numpy(), transmission.numpy(), corners.numpy(), gradient.numpy(), received)

    def best_steps(
        self,
        entering: Tensor,
        transmission: Tensor,
        corners: Tensor,
        object_direction: Tensor,
        probe_direction: Tensor | None,
        wanted: Tensor,
        damping: float,
    ) -> Tensor:
        """See :class:`objectives.ptychography.model.kernels.Kernels`."""
        along_object, toward = entering.numpy(), wanted.numpy()
        along_probe = np.empty((0, 0, 0, 0), along_object.dtype) if probe_direction is None else probe_direction.numpy()
        products = np.empty((len(along_object), 5))
        _step_products(
            along_object,
            transmission.numpy(),
            corners.numpy(),
            object_direction.numpy(),
            along_probe,
            toward,
            products,
        )
        steps = torch.empty((len(along_object), 2), dtype=entering.real.dtype)
        _best_steps(products, damping, probe_direction is not None, steps.numpy())
        return steps

    def object_direction(
        self,
        gradient: Tensor,
        illumination: Tensor,
        box: tuple[int, int, int, int],
        floor: float,
        direction: Tensor,
    ) -> None:
        """See :class:`objectives.ptychography.model.kernels.Kernels`."""
        received = illumination.numpy()
        _object_direction(gradient.numpy(), received, box, received.dtype.type(floor), direction.numpy())

    def apply_direction(
        self,
        transmission: Tensor,
        direction: Tensor,
        weighted: Tensor,
        illumination: Tensor,
        box: tuple[int, int, int, int],
        step: float,
    ) -> None:
        """See :class:`objectives.ptychography.model.kernels.Kernels`."""
        received = illumination.numpy()
        _apply_direction(
            transmission.numpy(), direction.numpy(), weighted.numpy(), received, box, received.dtype.type(step)
        )

    def update_object(
        self,
        transmission: Tensor,
        gradient: Tensor,
        illumination: Tensor,
        box: tuple[int, int, int, int],
        step: float,
        floor: float,
    ) -> None:
        """See :class:`objectives.ptychography.model.kernels.Kernels`."""
        received = illumination.numpy()
        real = received.dtype.type
        _update_object(transmission.numpy(), gradient.numpy(), received, box, real(step), real(floor))


def _flat(
    waves: Tensor,
    patterns: Tensor,
    indices: Tensor,
    masks: tuple[Tensor, Tensor],
    numbers: tuple[float, float, float],
    loss: int | bool,
) -> Any:
    """Arrays with one axis of pixels, and numbers of their precision: a wider one would widen every operation."""
    valid = masks[0].numpy().reshape(len(masks[0]), -1)
    return (
        waves.numpy().reshape(*waves.shape[:2], -1),
        patterns.numpy().reshape(len(patterns), -1),
        indices.numpy(),
        valid,
        masks[1].numpy(),
        *(valid.dtype.type(number) for number in numbers),
        loss,
    )
