"""Refinement of scan positions, shared by the solvers that update after every batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from objectives.ptychography.model.forward import Batch
from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.solvers.options import SolverOptions
from objectives.ptychography.solvers.state import State


def curvature(spectra: Tensor) -> Tensor:
    """||d probe / d position||^2 for a move along (y, x) by one pixel, shape (2,), where the object is near 1."""
    power = (spectra.real.square() + spectra.imag.square()).sum(0)
    rows, columns = power.shape
    v_y = torch.arange(rows, device=power.device, dtype=power.dtype) - rows // 2
    v_x = torch.arange(columns, device=power.device, dtype=power.dtype) - columns // 2
    along_y = (power.sum(1) * v_y.square()).sum() * (2 * math.pi / rows) ** 2
    along_x = (power.sum(0) * v_x.square()).sum() * (2 * math.pi / columns) ** 2
    return torch.stack([along_y, along_x])


def move_positions(misfit: Misfit, state: State, batch: Batch, slopes: Tensor, options: SolverOptions) -> None:
    """Make a Gauss-Newton step of each position of the batch.

    Args:
        misfit: the problem.
        state: its ``moved`` is updated in place.
        batch: the patterns whose positions move.
        slopes: (b, mode, det_y, det_x) :meth:`ForwardModel.slopes_of_spectra` of half the amplitude loss's gradient.
        options: ``position_step`` is the share of the step that is made, ``position_range`` the largest displacement.
    """
    along = misfit.kernels.shift_slopes(slopes, state.spectra, batch.ramp_y, batch.ramp_x)
    moved = state.moved[batch.indices] - options.position_step * along / curvature(state.spectra)
    state.moved[batch.indices] = moved.clamp(-options.position_range, options.position_range)
