"""The steps of a pass in plain torch operations: for accelerators, autograd, and as the fused ones' reference."""

from __future__ import annotations

import torch
from torch import Tensor

from objectives.ptychography.model.kernels.protocol import Loss
from objectives.ptychography.model.response import Response, respond, respond_slope

_TINY = 1e-300


class TorchKernels:
    """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`. ``shift`` and ``transmit`` are traceable by
    autograd."""

    def shift(self, spectra: Tensor, ramp_y: Tensor, ramp_x: Tensor) -> Tensor:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        return spectra * (ramp_y[:, None, :, None] * ramp_x[:, None, None, :])

    def add_unshifted(self, spectra: Tensor, ramp_y: Tensor, ramp_x: Tensor, total: Tensor) -> None:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        total += (spectra * (ramp_y[:, None, :, None] * ramp_x[:, None, None, :]).conj()).sum(0)

    def transmit(self, waves: Tensor, transmission: Tensor, corners: Tensor) -> Tensor:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        return waves * _patches(transmission, corners, waves)

    def transmit_back(self, waves: Tensor, transmission: Tensor, corners: Tensor) -> Tensor:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        return waves * _patches(transmission, corners, waves).conj()

    def add_product(self, entering: Tensor, leaving: Tensor, corners: Tensor, total: Tensor) -> None:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        rows, columns = _pixels(corners, entering)
        total.index_put_((rows, columns), (entering.conj() * leaving).sum(1), accumulate=True)

    def add_illumination(self, entering: Tensor, weights: Tensor, corners: Tensor, total: Tensor) -> None:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        rows, columns = _pixels(corners, entering)
        total.index_put_((rows, columns), weights[:, None, None] * _intensity(entering), accumulate=True)

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
        response: Response | None = None,
    ) -> tuple[float, float]:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        expected = _responded(scale * _intensity(waves), response) + background
        measured = patterns[indices].to(expected.dtype)
        compared = _compared(valid, mask_of, indices)
        difference = (expected - measured) * compared
        squared = float(difference.square().sum(dtype=torch.float64))
        if loss == "intensity":
            slope, value = 2 * difference, squared
        elif loss == "amplitude":
            expected = expected + floor
            slope = (1 - (measured / expected).sqrt()) * compared
            value = float((expected * slope.square()).sum(dtype=torch.float64))
        else:
            expected = expected + floor
            slope = (1 - measured / expected) * compared
            value = float(((expected - measured * expected.log()) * compared).sum(dtype=torch.float64))
        waves *= scale * _responded(slope, response)[:, None]
        return value, squared

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
        response: Response | None = None,
    ) -> tuple[float, float, float, float]:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        intensity = scale * _intensity(waves)
        expected = _responded(intensity, response) + background
        measured = patterns[indices].to(expected.dtype)
        compared = _compared(valid, mask_of, indices)
        difference = (expected - measured) * compared
        amplitudes = ((expected + floor).sqrt() - measured.sqrt()) * compared
        slope = 2 * difference
        if loss == "amplitude":
            slope = (1 - (measured / (expected + floor)).sqrt()) * compared * (expected > floor)
        along = torch.zeros(()) if response is None else slope * respond_slope(intensity, response)
        waves *= scale * _responded(slope, response)[:, None]
        sums = (part.sum(dtype=torch.float64) for part in (difference.square(), amplitudes.square(), slope, along))
        squared, amplitude, total, of_blur = (float(part) for part in sums)
        return squared, amplitude, total, of_blur

    def shift_slopes(self, slopes: Tensor, spectra: Tensor, ramp_y: Tensor, ramp_x: Tensor) -> Tensor:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        # Re(conj(g) * s * (-2 pi i v / n)) = Im(conj(g) * s) * 2 pi v / n
        product = (slopes.conj() * self.shift(spectra, ramp_y, ramp_x)).imag.sum(1)
        rows, columns = product.shape[1:]
        v_y = torch.arange(rows, device=product.device, dtype=product.dtype) - rows // 2
        v_x = torch.arange(columns, device=product.device, dtype=product.dtype) - columns // 2
        along_y = (product.sum(2) * v_y).sum(1) * (2 * torch.pi / rows)
        along_x = (product.sum(1) * v_x).sum(1) * (2 * torch.pi / columns)
        return torch.stack([along_y, along_x], dim=1)

    def pull_back(
        self,
        entering: Tensor,
        leaving: Tensor,
        transmission: Tensor,
        corners: Tensor,
        gradient: Tensor,
        illumination: Tensor | None,
    ) -> None:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        self.add_product(entering, leaving, corners, gradient)
        if illumination is not None:
            self.add_illumination(entering, torch.ones_like(entering.real[:, 0, 0, 0]), corners, illumination)
        leaving *= _patches(transmission, corners, leaving).conj()

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
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        a = self.transmit(entering, object_direction, corners)
        c = torch.zeros_like(a) if probe_direction is None else self.transmit(probe_direction, transmission, corners)
        pairs = ((a, a), (c, c), (a, c), (a, wanted), (c, wanted))
        aa, cc, ac, aw, cw = ((p.conj() * q).real.sum((1, 2, 3), dtype=torch.float64) for p, q in pairs)
        aa, cc = aa + damping * aa.mean(), cc + damping * cc.mean()
        if probe_direction is None:
            cc = torch.ones_like(cc)
        determinant = (aa * cc - ac.square()).clamp(min=_TINY)
        steps = torch.stack([(cc * aw - ac * cw) / determinant, (aa * cw - ac * aw) / determinant], dim=1)
        return steps.to(entering.real.dtype)

    def object_direction(
        self,
        gradient: Tensor,
        illumination: Tensor,
        box: tuple[int, int, int, int],
        floor: float,
        direction: Tensor,
    ) -> None:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        inside = _inside(box)
        received = illumination[inside]
        denominator = (1 - floor) * received + floor * received.max()
        direction[inside] = gradient[inside] / denominator.clamp(min=torch.finfo(received.dtype).tiny)
        gradient[inside] = 0

    def apply_direction(
        self,
        transmission: Tensor,
        direction: Tensor,
        weighted: Tensor,
        illumination: Tensor,
        box: tuple[int, int, int, int],
        step: float,
    ) -> None:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        inside = _inside(box)
        received = illumination[inside].clamp(min=torch.finfo(illumination.dtype).tiny)
        transmission[inside] += step * direction[inside] * (weighted[inside] / received)
        weighted[inside] = 0
        illumination[inside] = 0

    def update_object(
        self,
        transmission: Tensor,
        gradient: Tensor,
        illumination: Tensor,
        box: tuple[int, int, int, int],
        step: float,
        floor: float,
    ) -> None:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        inside = _inside(box)
        received = illumination[inside]
        denominator = (1 - floor) * received + floor * received.max()
        transmission[inside] += step * gradient[inside] / denominator.clamp(min=torch.finfo(received.dtype).tiny)
        gradient[inside] = 0
        illumination[inside] = 0


def _compared(valid: Tensor, mask_of: Tensor, indices: Tensor) -> Tensor:
    """The mask of each pattern, (b, y, x); the only one as it is, (1, y, x)."""
    return valid if len(valid) == 1 else valid[mask_of[indices]]


def _inside(box: tuple[int, int, int, int]) -> tuple[slice, slice]:
    return slice(box[0], box[1]), slice(box[2], box[3])


def _pixels(corners: Tensor, waves: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column indices of the patches, (b, y, 1) and (b, 1, x)."""
    rows = corners[:, 0, None] + torch.arange(waves.shape[-2], device=corners.device)
    columns = corners[:, 1, None] + torch.arange(waves.shape[-1], device=corners.device)
    return rows[:, :, None], columns[:, None, :]


def _patches(transmission: Tensor, corners: Tensor, waves: Tensor) -> Tensor:
    """The object under each pattern, (b, 1, y, x)."""
    # All windows as a view, of which whole ones are picked: six times faster than indexing every pixel.
    windows = transmission.unfold(0, waves.shape[-2], 1).unfold(1, waves.shape[-1], 1)
    return windows[corners[:, 0], corners[:, 1]][:, None]


def _intensity(waves: Tensor) -> Tensor:
    """Summed over modes, (b, y, x)."""
    return (waves.real.square() + waves.imag.square()).sum(1)


def _responded(values: Tensor, response: Response | None) -> Tensor:
    """The detector's response to intensities (b, y, x), or its adjoint, which is the same."""
    return values if response is None else respond(values, response.taps)
