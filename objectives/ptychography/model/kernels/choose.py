"""The fastest implementation of the kernels for a device."""

from __future__ import annotations

import torch

from objectives.ptychography.model.kernels.protocol import Kernels


def kernels_for(device: torch.device) -> Kernels:
    """The fastest implementation for a device."""
    if device.type == "cpu":
        from objectives.ptychography.model.kernels.fused import FusedKernels

        return FusedKernels()
    from objectives.ptychography.model.kernels.plain import TorchKernels

    return TorchKernels()
