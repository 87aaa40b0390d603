"""ePIE and rPIE, a batch of patterns at a time, multislice and mixed-state.

The exit wave is replaced by the one with the measured amplitude; object and probe follow by a step along the gradient
of the distance between the two, over the summed intensity of the other. ePIE divides by the largest intensity (Maiden
and Rodenburg, Ultramicroscopy 109, 1256 (2009)), rPIE by a mixture of the local and the largest (Maiden, Johnson and
Li, Optica 4, 736 (2017), eq. 14); multislice as in Maiden, Humphry and Rodenburg, J. Opt. Soc. Am. A 29, 1606 (2012).
"""

from __future__ import annotations

from functools import partial

import torch

from objectives.ptychography.model.forward import Batch
from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.solvers.options import SolverOptions
from objectives.ptychography.solvers.positions import move_positions
from objectives.ptychography.solvers.state import Report, State
from objectives.ptychography.solvers.stepwise import solve_stepwise


def solve_epie(misfit: Misfit, state: State, options: SolverOptions, report: Report, seed: int) -> State:
    """See :class:`objectives.ptychography.solvers.table.Solve`."""
    return solve_stepwise(misfit, state, options, report, seed, partial(Pie, floor=1.0))


def solve_rpie(misfit: Misfit, state: State, options: SolverOptions, report: Report, seed: int) -> State:
    """See :class:`objectives.ptychography.solvers.table.Solve`."""
    return solve_stepwise(misfit, state, options, report, seed, partial(Pie, floor=options.preconditioner_floor))


class Pie:
    """See :class:`objectives.ptychography.solvers.stepwise.Step`.

    Args:
        misfit, state, options: the problem.
        floor: share of the largest intensity in the mixture that steps are divided by; 1 for ePIE, rPIE's alpha.
    """

    def __init__(self, misfit: Misfit, state: State, options: SolverOptions, floor: float) -> None:
        self._misfit, self._options, self._floor = misfit, options, floor
        self._object_step = options.step_of_slice(len(state.transmission))
        self._gradient = torch.zeros_like(state.transmission[0])
        self._received = torch.zeros_like(self._gradient.real)
        self._largest = 1.0

    def begin(self, state: State) -> None:
        """Find the largest transmitted intensity among the scan positions, by which the probe's step is divided."""
        layout = self._misfit.model.layout
        low, high = layout.corners.amin(0).tolist(), layout.corners.amax(0).tolist()
        y, x = (slice(low[i] + n // 2, high[i] + n // 2 + 1) for i, n in enumerate(layout.window))
        through = state.transmission[:, y, x].prod(0)
        self._largest = float((through.real.square() + through.imag.square()).max())

    def __call__(self, state: State, batch: Batch, *, refine_probe: bool, move: bool) -> float:
        """Update by one batch."""
        misfit, model, kernels = self._misfit, self._misfit.model, self._misfit.kernels
        waves = model.waves(state.transmission, state.spectra, batch)
        _, squared = misfit.compare(waves, batch, "amplitude")
        leaving = model.from_detector(waves.take_detector(), batch)
        for index in reversed(range(len(state.transmission))):
            leaving = model.pull_back(index, waves, leaving, state.transmission, batch, self._gradient, self._received)
            kernels.update_object(
                state.transmission[index],
                self._gradient,
                self._received,
                batch.box,
                -self._object_step,
                self._floor,
            )
        if refine_probe or move:
            slopes = model.slopes_of_spectra(leaving)
            if move:
                move_positions(misfit, state, batch, slopes, self._options)
            if refine_probe:
                total = torch.zeros_like(state.spectra)
                kernels.add_unshifted(slopes, batch.ramp_y, batch.ramp_x, total)
                share = self._options.probe_step / (len(batch.indices) * self._largest)
                state.spectra.add_(total, alpha=-share)
        return squared

    def share(self, batches: int) -> float:
        """See :class:`objectives.ptychography.solvers.stepwise.Step`."""
        return min(1.0, self._options.object_step)
