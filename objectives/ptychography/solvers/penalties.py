"""Penalties that express prior knowledge about the object: smoothness, sparsity, similarity of adjacent slices.

    smoothness        w  sum |O(r + 1) - O(r)|^2 along both axes
    sparsity          w  sum |O - 1|   (rounded off below 0.01, so that it has a gradient everywhere)
    slice smoothness  w  sum |O_s+1 - O_s|^2

Stepwise solvers apply each as its proximal operator after every iteration; L-BFGS adds them to its loss.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from objectives.ptychography.solvers.options import SolverOptions

_ROUNDING = 0.01


def penalised(options: SolverOptions) -> bool:
    """Whether any penalty is switched on."""
    return options.smoothness > 0 or options.sparsity > 0 or options.slice_smoothness > 0


def penalty(transmission: Tensor, options: SolverOptions) -> tuple[float, Tensor]:
    """The weighted sum R of penalties of an object (slice, rows, columns), and its gradient dR/dRe + i dR/dIm."""
    value = torch.zeros((), dtype=torch.float64, device=transmission.device)
    gradient = torch.zeros_like(transmission)
    weights = ((0, options.slice_smoothness), (1, options.smoothness), (2, options.smoothness))
    for axis, weight in weights:
        if weight > 0:
            step = transmission.diff(dim=axis)
            value += weight * _power(step)
            gradient.narrow(axis, 1, step.shape[axis]).add_(step, alpha=2 * weight)
            gradient.narrow(axis, 0, step.shape[axis]).add_(step, alpha=-2 * weight)
    if options.sparsity > 0:
        excess = transmission - 1
        size = (excess.real.square() + excess.imag.square() + _ROUNDING**2).sqrt()
        value += options.sparsity * (size - _ROUNDING).sum(dtype=torch.float64)
        gradient += options.sparsity * excess / size
    return float(value), gradient


def proximal(transmission: Tensor, stated: SolverOptions, share: float) -> Tensor:
    """The object nearest to ``transmission`` that balances half its squared distance and the penalties.

    Args:
        transmission: (slice, rows, columns).
        stated: the weights, relative to the data's curvature.
        share: how far an iteration moves towards the object that the data alone ask for; the weights are scaled by it.
    """
    options = replace(
        stated,
        smoothness=share * stated.smoothness,
        sparsity=share * stated.sparsity,
        slice_smoothness=share * stated.slice_smoothness,
    )
    if options.smoothness > 0:
        rows, columns = (
            (2 * torch.pi * torch.fft.fftfreq(n, dtype=transmission.real.dtype, device=transmission.device))
            for n in transmission.shape[1:]
        )
        stiffness = 2 * (1 - rows.cos())[:, None] + 2 * (1 - columns.cos())[None, :]
        spectrum = torch.fft.fft2(transmission) / (1 + 2 * options.smoothness * stiffness)
        transmission = torch.fft.ifft2(spectrum)
    if options.slice_smoothness > 0:
        slices = len(transmission)
        step = torch.eye(slices, dtype=transmission.dtype, device=transmission.device).diff(dim=0)
        system = torch.eye(slices, dtype=step.dtype, device=step.device) + 2 * options.slice_smoothness * step.T @ step
        transmission = torch.linalg.solve(system, transmission.reshape(slices, -1)).reshape(transmission.shape)
    if options.sparsity > 0:
        excess = transmission - 1
        size = excess.abs().clamp(min=torch.finfo(excess.real.dtype).tiny)
        transmission = 1 + excess * (1 - options.sparsity / size).clamp(min=0)
    return transmission.contiguous()


def _power(step: Tensor) -> Tensor:
    return (step.real.square() + step.imag.square()).sum(dtype=torch.float64)
