"""Adam (Kingma and Ba, ICLR 2015) on batches of patterns, with the gradient derived by hand.

A batch updates what it sees: the object inside its box, and its own positions. Moments elsewhere stay as they are, and
each pixel is corrected for the updates that it has had itself. So an update costs no more than the batch's patterns,
however large the object is, and a pixel that few batches see does not lose its moments in between. The second moment is
that of the modulus of a complex gradient, so that a common phase of the object makes no difference.
"""

from __future__ import annotations

import torch
from torch import Tensor

from objectives.ptychography.model.forward import Batch
from objectives.ptychography.model.kernels.protocol import Loss
from objectives.ptychography.model.misfit import Misfit, loss_scale
from objectives.ptychography.solvers.options import SolverOptions
from objectives.ptychography.solvers.state import Report, State
from objectives.ptychography.solvers.stepwise import solve_stepwise

_PIXELS_PER_STEP = 0.1
"""Adam's step of a scan position, object pixels, at ``position_step`` 1."""
_BETAS = (0.8, 0.999)
"""Decay of both moments in an update."""
_LOSS: Loss = "poisson"
"""Minimised unless a study says otherwise. Squared differences of intensities hardly feel the dark field, and Adam's
scaling of single pixels does not mend that: the object's phase then needs many times as many iterations."""
_EPSILON = 1e-4
"""See :class:`Moments`, over the unit of the loss. With smaller ones rounding moves what hardly any light reaches."""
_COUNTED = 10_000
"""Updates after which the means are not corrected any more."""


def solve_adam(misfit: Misfit, state: State, options: SolverOptions, report: Report, seed: int) -> State:
    """See :class:`objectives.ptychography.solvers.table.Solve`."""
    return solve_stepwise(misfit, state, options, report, seed, Adam)


class Moments:
    """Decaying means of the gradients of one variable, and of their squared moduli.

    Args:
        variable: real or complex.
        epsilon: modulus of a gradient below which its step becomes shorter; far below those that matter.
    """

    def __init__(self, variable: Tensor, epsilon: float) -> None:
        self._epsilon = epsilon
        self._first, self._second = torch.zeros_like(variable), torch.zeros_like(variable.real)
        self._updates = torch.zeros(variable.shape, dtype=torch.int64, device=variable.device)
        # A mean that began at 0 holds the share 1 - beta^n of n gradients, and is divided by it.
        counts = torch.arange(1, _COUNTED + 1, dtype=torch.float64)
        of_first, of_second = (1 - beta**counts for beta in _BETAS)
        self._correction = (of_second.sqrt() / of_first).to(variable.real.dtype).to(variable.device)

    def direction(self, gradient: Tensor, box: tuple[slice, ...] = ()) -> Tensor:
        """Take in the gradient of ``variable[box]``; returns the direction of its step, about 1 in size."""
        first, second, updates = self._first[box], self._second[box], self._updates[box]
        first.lerp_(gradient, 1 - _BETAS[0])
        power = gradient.square() if not gradient.is_complex() else gradient.real.square() + gradient.imag.square()
        second.lerp_(power, 1 - _BETAS[1])
        size = self._correction[updates] / (second.sqrt() + self._epsilon)
        updates.add_(1).clamp_(max=_COUNTED - 1)
        return first * size


class Adam:
    """See :class:`objectives.ptychography.solvers.stepwise.Step`."""

    def __init__(self, misfit: Misfit, state: State, options: SolverOptions) -> None:
        self._misfit, self._options = misfit, options
        rms = float(state.spectra.abs().square().sum(0).mean().sqrt())
        self._probe_rate = options.probe_learning_rate * rms
        self._loss = options.loss_or(_LOSS)
        self._epsilon = _EPSILON * loss_scale(self._loss, misfit.data.mean)
        self._of_object, self._of_probe = (Moments(part, self._epsilon) for part in (state.transmission, state.spectra))
        self._of_positions: dict[int, Moments] = {}
        self._gradient = torch.zeros_like(state.transmission)
        self._iterations, self._share = 0, 1.0

    def begin(self, state: State) -> None:
        """Make smaller steps of object and probe than in the iteration before, which average over more batches.

        Rates fall with the root of the iterations, whose sum is infinite: the start does not decide how far an object
        can get. Moments carry over.
        """
        self._iterations += 1
        self._share = self._iterations**-0.5

    def __call__(self, state: State, batch: Batch, *, refine_probe: bool, move: bool) -> float:
        """Update by one batch."""
        options = self._options
        of_spectra = torch.zeros_like(state.spectra) if refine_probe else None
        of_moved = torch.zeros_like(state.moved) if move else None
        _, squared = self._misfit.add_gradient(
            state.transmission, state.spectra, batch, self._loss, self._gradient, of_spectra, of_moved
        )
        top, bottom, left, right = batch.box
        box = (slice(None), slice(top, bottom), slice(left, right))
        step = self._of_object.direction(self._gradient[box], box)
        state.transmission[box].sub_(step, alpha=self._share * options.object_learning_rate)
        self._gradient[box] = 0
        if of_spectra is not None:
            state.spectra.sub_(self._of_probe.direction(of_spectra), alpha=self._share * self._probe_rate)
        if of_moved is not None:
            self._move(state, batch, of_moved[batch.indices])
        return squared

    def _move(self, state: State, batch: Batch, gradient: Tensor) -> None:
        """Move the positions of the batch, the only one that they belong to: it has their moments."""
        seen = batch.indices
        moments = self._of_positions.setdefault(int(seen[0]), Moments(gradient, self._epsilon))
        step = _PIXELS_PER_STEP * self._options.position_step
        reach = self._options.position_range
        state.moved[seen] = (state.moved[seen] - step * moments.direction(gradient)).clamp(-reach, reach)

    def share(self, batches: int) -> float:
        """See :class:`objectives.ptychography.solvers.stepwise.Step`."""
        return min(1.0, self._share * self._options.object_learning_rate * batches)
