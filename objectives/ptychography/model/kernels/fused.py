"""The steps of a pass on the processor: one compiled loop each (Numba), reading and writing every array once.

The first use compiles for about a second per step; see :mod:`objectives.ptychography.model.kernels.compiled` for where
the result is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from objectives.ptychography.model.kernels import fused_comparison as comparison
from objectives.ptychography.model.kernels import fused_loops as loops
from objectives.ptychography.model.kernels.protocol import Loss
from objectives.ptychography.model.response import Response


class FusedKernels:
    """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`. All tensors contiguous, on the CPU."""

    def shift(self, spectra: Tensor, ramp_y: Tensor, ramp_x: Tensor) -> Tensor:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        source = spectra if spectra.ndim == 4 else spectra[None]
        out = torch.empty((len(ramp_y), *spectra.shape[-3:]), dtype=spectra.dtype)
        loops.shift(source.numpy(), ramp_y.numpy(), ramp_x.numpy(), out.numpy())
        return out

    def add_unshifted(self, spectra: Tensor, ramp_y: Tensor, ramp_x: Tensor, total: Tensor) -> None:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        loops.add_unshifted(spectra.numpy(), ramp_y.numpy(), ramp_x.numpy(), total.numpy())

    def transmit(self, waves: Tensor, transmission: Tensor, corners: Tensor) -> Tensor:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        out = torch.empty_like(waves)
        loops.transmit(waves.numpy(), transmission.numpy(), corners.numpy(), False, out.numpy())
        return out

    def transmit_back(self, waves: Tensor, transmission: Tensor, corners: Tensor) -> Tensor:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        out = torch.empty_like(waves)
        loops.transmit(waves.numpy(), transmission.numpy(), corners.numpy(), True, out.numpy())
        return out

    def add_product(self, entering: Tensor, leaving: Tensor, corners: Tensor, total: Tensor) -> None:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        loops.add_product(entering.numpy(), leaving.numpy(), corners.numpy(), total.numpy())

    def add_illumination(self, entering: Tensor, weights: Tensor, corners: Tensor, total: Tensor) -> None:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        loops.add_illumination(entering.numpy(), weights.numpy(), corners.numpy(), total.numpy())

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
        numbers = (scale, background, floor)
        value, squared = comparison.residual_loop(
            *_flat(waves, patterns, indices, (valid, mask_of), numbers, comparison.LOSSES[loss]),
            *_filter(response, waves),
        )
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
        response: Response | None = None,
    ) -> tuple[float, float, float, float]:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        numbers = (scale, background, floor)
        sums = comparison.score_loop(
            *_flat(waves, patterns, indices, (valid, mask_of), numbers, loss == "amplitude"), *_filter(response, waves)
        )
        squared, amplitude, total, of_blur = (float(part) for part in sums)
        return squared, amplitude, total, of_blur

    def shift_slopes(self, slopes: Tensor, spectra: Tensor, ramp_y: Tensor, ramp_x: Tensor) -> Tensor:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        out = torch.empty((len(slopes), 2), dtype=slopes.real.dtype)
        loops.shift_slopes(slopes.numpy(), spectra.numpy(), ramp_y.numpy(), ramp_x.numpy(), out.numpy())
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
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        received = np.empty((0, 0), gradient.numpy().real.dtype) if illumination is None else illumination.numpy()
        loops.pull_back(
            entering.numpy(), leaving.numpy(), transmission.numpy(), corners.numpy(), gradient.numpy(), received
        )

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
        along_object, toward = entering.numpy(), wanted.numpy()
        along_probe = np.empty((0, 0, 0, 0), along_object.dtype) if probe_direction is None else probe_direction.numpy()
        products = np.empty((len(along_object), 5))
        loops.step_products(
            along_object,
            transmission.numpy(),
            corners.numpy(),
            object_direction.numpy(),
            along_probe,
            toward,
            products,
        )
        steps = torch.empty((len(along_object), 2), dtype=entering.real.dtype)
        loops.best_steps(products, damping, probe_direction is not None, steps.numpy())
        return steps

    def object_direction(
        self,
        gradient: Tensor,
        illumination: Tensor,
        box: tuple[int, int, int, int],
        floor: float,
        direction: Tensor,
    ) -> None:
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        received = illumination.numpy()
        loops.object_direction(gradient.numpy(), received, box, received.dtype.type(floor), direction.numpy())

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
        received = illumination.numpy()
        loops.apply_direction(
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
        """See :class:`objectives.ptychography.model.kernels.protocol.Kernels`."""
        received = illumination.numpy()
        real = received.dtype.type
        loops.update_object(transmission.numpy(), gradient.numpy(), received, box, real(step), real(floor))


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


def _filter(response: Response | None, waves: Tensor) -> tuple[Any, Any, int]:
    """Taps of the response and their slopes, one tap of 1 where there is none, and the columns of a pattern."""
    columns = waves.shape[-1]
    if response is None:
        alone = np.ones(1, waves.numpy().real.dtype)
        return alone, np.zeros_like(alone), columns
    return response.taps.numpy(), response.slopes.numpy(), columns
