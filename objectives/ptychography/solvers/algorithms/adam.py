"""Adam (Kingma and Ba, ICLR 2015; torch's own) on batches of patterns, with the gradient derived by hand."""

from __future__ import annotations

import torch

from objectives.ptychography.model.forward import Batch
from objectives.ptychography.model.misfit import Misfit, loss_scale
from objectives.ptychography.solvers.options import SolverOptions
from objectives.ptychography.solvers.positions import FARTHEST
from objectives.ptychography.solvers.state import Report, State
from objectives.ptychography.solvers.stepwise import solve_stepwise

_PIXELS_PER_STEP = 0.1
"""Adam's step of a scan position, object pixels, at ``position_step`` 1."""


def solve_adam(misfit: Misfit, state: State, options: SolverOptions, report: Report, seed: int) -> State:
    """See :class:`objectives.ptychography.solvers.table.Solve`."""
    return solve_stepwise(misfit, state, options, report, seed, Adam)


class Adam:
    """See :class:`objectives.ptychography.solvers.stepwise.Step`."""

    def __init__(self, misfit: Misfit, state: State, options: SolverOptions) -> None:
        self._misfit, self._options = misfit, options
        self._scale = loss_scale(options.loss, misfit.data.mean)
        rms = float(state.spectra.abs().square().sum(0).mean().sqrt())
        self._variables = [torch.nn.Parameter(torch.view_as_real(part)) for part in (state.transmission, state.spectra)]
        self._variables.append(torch.nn.Parameter(state.moved))
        rates = (
            options.object_learning_rate,
            options.probe_learning_rate * rms,
            _PIXELS_PER_STEP * options.position_step,
        )
        groups = [{"params": [variable], "lr": rate} for variable, rate in zip(self._variables, rates, strict=True)]
        self._adam = torch.optim.Adam(groups)

    def begin(self, state: State) -> None:
        """Use the state's arrays as variables again, which a penalty or the orthogonalisation of modes has replaced."""
        for variable, part in zip(self._variables, (state.transmission, state.spectra), strict=False):
            variable.data = torch.view_as_real(part)

    def __call__(self, state: State, batch: Batch, *, refine_probe: bool, move: bool) -> float:
        """Update by one batch."""
        gradient = torch.zeros_like(state.transmission)
        of_spectra = torch.zeros_like(state.spectra) if refine_probe else None
        of_moved = torch.zeros_like(state.moved) if move else None
        _, squared = self._misfit.add_gradient(
            state.transmission, state.spectra, batch, self._options.loss, gradient, of_spectra, of_moved
        )
        scale = 2 / self._scale
        of_object, of_probe, of_positions = self._variables
        of_object.grad = torch.view_as_real(gradient * scale)
        of_probe.grad = None if of_spectra is None else torch.view_as_real(of_spectra * scale)
        of_positions.grad = None if of_moved is None else of_moved * scale
        self._adam.step()
        state.moved.clamp_(-FARTHEST, FARTHEST)
        return squared

    def share(self, batches: int) -> float:
        """See :class:`objectives.ptychography.solvers.stepwise.Step`."""
        return min(1.0, self._options.object_learning_rate * batches)
