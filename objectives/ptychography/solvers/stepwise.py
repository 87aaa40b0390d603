"""The loop of the solvers that update after every batch: LSQ-ML, ePIE, rPIE, Adam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from objectives.ptychography.model.forward import Batch
from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.solvers.batches import batches_of
from objectives.ptychography.solvers.early_stop import EarlyStop
from objectives.ptychography.solvers.modes import orthogonal
from objectives.ptychography.solvers.options import SolverOptions
from objectives.ptychography.solvers.penalties import penalised, proximal
from objectives.ptychography.solvers.state import Report, State


class Step(Protocol):
    """One solver's update of a state by one batch."""

    def begin(self, state: State) -> None:
        """Called before every iteration."""

    def __call__(self, state: State, batch: Batch, *, refine_probe: bool, move: bool) -> float:
        """Update ``state`` in place; returns the batch's squared intensity residual before the update."""

    def share(self, batches: int) -> float:
        """Share of the way to the object that the data alone ask for which an iteration of ``batches`` goes, 0..1."""


MakeStep = Callable[[Misfit, State, SolverOptions], Step]
"""Binds a solver's step to a problem; the state gives shapes."""


def solve_stepwise(
    misfit: Misfit, state: State, options: SolverOptions, report: Report, seed: int, make_step: MakeStep
) -> State:
    """Go through all batches in random order, ``options.iterations`` times."""
    early_stop = EarlyStop(misfit, options)
    misfit = early_stop.misfit
    state = State(state.transmission.clone(), state.spectra.clone(), state.moved.clone())
    # A withheld pattern has no gradient, but would dilute those of the other patterns in its batch.
    seen = misfit.data.seen
    positions, footprint = misfit.model.scene.positions.detach()[seen], misfit.model.layout.window
    groups = [seen[group] for group in batches_of(positions, options.batch_size, options.batches, footprint, seed)]
    batches = [misfit.model.batch(group) for group in groups]
    random = torch.Generator().manual_seed(seed)
    step = make_step(misfit, state, options)
    for iteration in range(options.iterations):
        refine_probe, move = options.refines_probe(iteration), options.moves_positions(iteration)
        squared = 0.0
        step.begin(state)
        for index in torch.randperm(len(batches), generator=random).tolist():
            squared += step(state, batches[index], refine_probe=refine_probe, move=move)
            if move:
                batches[index] = misfit.model.batch(groups[index], state.moved)
        if penalised(options):
            state.transmission = proximal(state.transmission, options, step.share(len(batches)))
        if refine_probe and len(state.spectra) > 1:
            state.spectra = orthogonal(state.spectra)
        state.squared_residuals.append(squared * early_stop.scale)
        if not report(iteration + 1, state.squared_residuals[-1]):
            state.stopped = True
            break
        if not early_stop(state):
            break
    return early_stop.best(state)
