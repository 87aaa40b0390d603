"""LSQ-ML: least-squares maximum likelihood (Odstrcil, Menzel and Guizar-Sicairos, Opt. Express 26, 3108 (2018)).

For every batch the gradients of the patterns are combined into one direction for the object (over the summed
illumination, eq. 24 there) and one for the probe; then each pattern gets its own best step along both, the solution of
a 2 x 2 linear least-squares problem (eq. 23), and the batch's update weighs them by illumination. Multislice: the
difference of the exit waves is carried back slice by slice, as in Chen et al., Science 372, 826 (2021), each slice with
its own best step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from objectives.ptychography.model.forward import Batch
from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.solvers.options import SolverOptions
from objectives.ptychography.solvers.positions import move_positions
from objectives.ptychography.solvers.state import Report, State
from objectives.ptychography.solvers.stepwise import solve_stepwise

_DAMPING = 0.1
"""Added to the diagonal of the 2 x 2 problems, over their mean diagonal: steps of poorly determined patterns shrink."""


def solve_lsqml(misfit: Misfit, state: State, options: SolverOptions, report: Report, seed: int) -> State:
    """See :class:`objectives.ptychography.solvers.table.Solve`."""
    return solve_stepwise(misfit, state, options, report, seed, LsqMl)


class LsqMl:
    """See :class:`objectives.ptychography.solvers.stepwise.Step`."""

    def __init__(self, misfit: Misfit, state: State, options: SolverOptions) -> None:
        self._misfit, self._options = misfit, options
        self._object_step = options.step_of_slice(len(state.transmission))
        self._gradient = torch.zeros_like(state.transmission[0])
        self._direction = torch.zeros_like(self._gradient)
        self._received = torch.zeros_like(self._gradient.real)
        self._weighted = torch.zeros_like(self._received)
        self._ones = torch.ones(options.batch_size, dtype=self._received.dtype, device=self._received.device)

    def begin(self, state: State) -> None:
        """Nothing carries over from one iteration to the next."""

    def __call__(self, state: State, batch: Batch, *, refine_probe: bool, move: bool) -> float:
        """Update by one batch."""
        misfit, model = self._misfit, self._misfit.model
        waves = model.waves(state.transmission, state.spectra, batch)
        _, squared = misfit.compare(waves, batch, "amplitude")
        leaving = model.from_detector(waves.take_detector(), batch)
        for index in reversed(range(1, len(state.transmission))):
            back = model.between_slices_back(self._through(index, leaving, state, batch))
            self._object_direction(waves.entering[index], leaving, batch)
            steps = self._steps(index, state, waves.entering[index], None, leaving, batch)
            self._update_object(state.transmission[index], waves.entering[index], steps[:, 0].contiguous(), batch)
            leaving = back
        self._first_slice(state, waves.entering[0], leaving, batch, refine_probe, move)
        return squared

    def _first_slice(
        self, state: State, entering: Tensor, leaving: Tensor, batch: Batch, refine_probe: bool, move: bool
    ) -> None:
        """Object and probe together."""
        kernels, options = self._misfit.kernels, self._options
        self._object_direction(entering, leaving, batch)
        direction = of_batch = None
        if refine_probe or move:
            slopes = self._misfit.model.slopes_of_spectra(self._through(0, leaving, state, batch))
            if move:
                move_positions(self._misfit, state, batch, slopes, options)
            if refine_probe:
                direction = torch.zeros_like(state.spectra)
                kernels.add_unshifted(slopes, batch.ramp_y, batch.ramp_x, direction)
                direction /= len(batch.indices)
                of_batch = self._misfit.model.enter(direction, batch)
        steps = self._steps(0, state, entering, of_batch, leaving, batch)
        self._update_object(state.transmission[0], entering, steps[:, 0].contiguous(), batch)
        if direction is not None:
            state.spectra.add_(direction, alpha=-options.probe_step * float(steps[:, 1].mean()))

    def _through(self, index: int, leaving: Tensor, state: State, batch: Batch) -> Tensor:
        """The waves ``leaving`` a slice, propagated back through it."""
        return self._misfit.kernels.transmit_back(leaving, state.transmission[index], batch.corners)

    def _object_direction(self, entering: Tensor, leaving: Tensor, batch: Batch) -> None:
        """The batch's common direction, inside its box; the illumination is kept for the update."""
        kernels = self._misfit.kernels
        kernels.add_product(entering, leaving, batch.corners, self._gradient)
        kernels.add_illumination(entering, self._ones[: len(entering)], batch.corners, self._received)
        floor = self._options.preconditioner_floor
        kernels.object_direction(self._gradient, self._received, batch.box, floor, self._direction)

    def _steps(
        self, index: int, state: State, entering: Tensor, probe: Tensor | None, leaving: Tensor, batch: Batch
    ) -> Tensor:
        """Each pattern's best steps along the object's and the probe's direction, real (b, 2)."""
        return self._misfit.kernels.best_steps(
            entering, state.transmission[index], batch.corners, self._direction, probe, leaving, _DAMPING
        )

    def _update_object(self, transmission: Tensor, entering: Tensor, steps: Tensor, batch: Batch) -> None:
        """Weigh the patterns' steps by how much each illuminated a pixel."""
        kernels, step = self._misfit.kernels, -self._object_step
        kernels.add_illumination(entering, steps, batch.corners, self._weighted)
        kernels.apply_direction(transmission, self._direction, self._weighted, self._received, batch.box, step)

    def share(self, batches: int) -> float:
        """See :class:`objectives.ptychography.solvers.stepwise.Step`."""
        return min(1.0, self._options.object_step)
