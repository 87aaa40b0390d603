"""dC/dtheta at a fixed reconstruction by automatic differentiation of the whole forward model: the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from objectives.ptychography.model.forward import ForwardModel
from objectives.ptychography.model.kernels.plain import TorchKernels
from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.model.scene import Scene
from objectives.ptychography.solvers.state import State


def traced_gradient(
    scene_at: Callable[[Tensor], Scene],
    theta: Tensor,
    misfit: Misfit,
    state: State,
    metric: str,
    *,
    spectra_at: Callable[[Scene], Tensor] | None,
) -> Sequence[float]:
    """As :func:`objectives.ptychography.evaluation.gradient.frozen_gradient`, of all patterns at once, nothing cut."""
    theta = theta.detach().requires_grad_(True)
    scene, data = scene_at(theta), misfit.data
    spectra = state.spectra if spectra_at is None else spectra_at(scene)
    model = ForwardModel(replace(scene, spectrum=None), misfit.model.layout, TorchKernels())
    everything = model.batch(torch.arange(len(data.patterns)), state.moved)
    expected = model.intensity(state.transmission, spectra, everything)
    power = 0.5 if metric == "amplitude_consistency" else 1.0
    measured = data.patterns.to(expected.dtype) ** power
    residual = torch.linalg.vector_norm((measured - expected**power) * data.valid)
    value = 1 - residual / torch.linalg.vector_norm(measured * data.valid)
    (gradient,) = torch.autograd.grad(value, theta)
    return [float(slope) for slope in gradient]
