"""Reconstruction by limited-memory BFGS over object, probe and positions at once.

It uses all patterns at once and is deterministic. There is no step size to tune, and with the intensity loss the
converged state maximises the tuned metric itself, so that the gradient by the envelope theorem holds. The object is
preconditioned by the illumination that each pixel received (Nocedal and Wright, Numerical Optimization, ch. 7). SciPy's
L-BFGS-B does the steps and the line search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize
from torch import Tensor

from objectives.ptychography.model.kernels.protocol import Loss
from objectives.ptychography.model.misfit import Misfit, loss_scale
from objectives.ptychography.solvers.early_stop import EarlyStop
from objectives.ptychography.solvers.modes import orthogonal
from objectives.ptychography.solvers.options import SolverOptions
from objectives.ptychography.solvers.penalties import penalised, penalty
from objectives.ptychography.solvers.positions import curvature
from objectives.ptychography.solvers.state import Report, State

Vector = NDArray[np.float64]

_LOSS: Loss = "intensity"
"""Minimised unless a study says otherwise: the squared residual of the tuned metric."""


def solve_lbfgs(misfit: Misfit, state: State, options: SolverOptions, report: Report, seed: int) -> State:
    """See :class:`objectives.ptychography.solvers.table.Solve`; nothing is random here.

    The loss is minimised in stages: over the object alone, then with probe or positions, then with both.
    """
    early_stop = EarlyStop(misfit, options)
    changes = {options.probe_start if options.refine_probe else 0}
    changes |= {options.position_start if options.position_step > 0 else 0, 0, options.iterations}
    borders = sorted(change for change in changes if change <= options.iterations)
    for begin, end in pairwise(borders):
        if not (state.stopped or early_stop.ended):
            unknowns = Unknowns.at(options, begin)
            state = minimise(early_stop.misfit, state, options, end - begin, unknowns, report, early_stop)
    state = early_stop.best(state)
    if options.refine_probe and len(state.spectra) > 1:
        state.spectra = orthogonal(state.spectra)
    return state


@dataclass(frozen=True)
class Unknowns:
    """The unknowns besides the object."""

    probe: bool
    positions: bool

    @classmethod
    def at(cls, options: SolverOptions, iteration: int) -> Unknowns:
        """Those of ``iteration``."""
        return cls(options.refines_probe(iteration), options.moves_positions(iteration))


class _Variables:
    """The unknowns as one real float64 vector for SciPy, scaled so that its Hessian is near a multiple of 1."""

    def __init__(self, misfit: Misfit, state: State, unknowns: Unknowns, options: SolverOptions) -> None:
        self._state, self._unknowns, self._range = state, unknowns, options.position_range
        mean, floor = misfit.data.mean, options.preconditioner_floor
        received = misfit.model.illumination(state.spectra, misfit.pixels_per_batch, state.moved) / mean
        self.illumination = float(received.mean())
        self._scales = [(received + floor * received.max()).rsqrt()[None]]
        self._scales.append(torch.tensor(math.sqrt(mean / len(state.moved)), dtype=received.dtype))
        self._scales.append(math.sqrt(options.position_step) * (curvature(state.spectra) / mean).rsqrt())

    def rescale(self, factor: float) -> None:
        """Measure all variables in units ``factor`` times as large."""
        if factor > 0 and math.isfinite(factor):
            self._scales = [scale * factor for scale in self._scales]

    def parts(self, state: State) -> list[Tensor | None]:
        """Object, probe and positions; None for what is held."""
        probe = state.spectra if self._unknowns.probe else None
        return [state.transmission, probe, state.moved if self._unknowns.positions else None]

    def pack(self, state: State) -> Vector:
        """State -> vector."""
        return _vector([p / s for p, s in zip(self.parts(state), self._scales, strict=True) if p is not None])

    def held_inside(self, state: State, of_positions: Tensor | None) -> Tensor | None:
        """The gradient of the positions without what would move one beyond its range, where :meth:`unpack` holds it."""
        if of_positions is None:
            return None
        outward = of_positions * state.moved.sign() < 0
        return of_positions.masked_fill(outward & (state.moved.abs() >= self._range), 0)

    def pack_gradient(self, gradients: list[Tensor | None]) -> Vector:
        """Gradients for the parts -> gradient for the vector (chain rule through the scales)."""
        return _vector([g * s for g, s in zip(gradients, self._scales, strict=True) if g is not None])

    def unpack(self, vector: Vector) -> State:
        """Vector -> state."""
        parts: list[Tensor] = []
        start = 0
        held = (self._state.transmission, self._state.spectra, self._state.moved)
        for part, like, scale in zip(self.parts(self._state), held, self._scales, strict=True):
            if part is None:
                parts.append(like)
                continue
            size = like.numel() * (2 if like.is_complex() else 1)
            values = torch.from_numpy(vector[start : start + size]).to(like.device, like.real.dtype)
            start += size
            if like.is_complex():
                values = torch.view_as_complex(values.reshape(-1, 2))
            parts.append((values.reshape(like.shape) * scale.to(like.device)).contiguous())
        return State(parts[0], parts[1], parts[2].clamp(-self._range, self._range))


def _vector(parts: list[Tensor]) -> Vector:
    real = [torch.view_as_real(part) if part.is_complex() else part for part in parts]
    vector: Vector = torch.cat([part.reshape(-1) for part in real]).to("cpu", torch.float64).numpy()
    return vector


def loss_and_gradients(
    misfit: Misfit, state: State, options: SolverOptions, unknowns: Unknowns
) -> tuple[float, float, list[Any]]:
    """Loss, squared intensity residual, and gradients dL/dRe + i dL/dIm of object, probe and positions."""
    value = squared = 0.0
    loss = options.loss_or(_LOSS)
    of_object = torch.zeros_like(state.transmission)
    of_probe = torch.zeros_like(state.spectra) if unknowns.probe else None
    of_positions = torch.zeros_like(state.moved) if unknowns.positions else None
    for batch in misfit.batches(len(state.spectra), state.moved):
        of_batch = misfit.add_gradient(
            state.transmission, state.spectra, batch, loss, of_object, of_probe, of_positions
        )
        value, squared = value + of_batch[0], squared + of_batch[1]
    scale = 1 / loss_scale(loss, misfit.data.mean)
    gradients = [part if part is None else part * (2 * scale) for part in (of_object, of_probe, of_positions)]
    return value * scale, squared, gradients


def _curvature(misfit: Misfit, options: SolverOptions) -> float:
    """About the largest second derivative of the scaled loss for the scaled variables.

    SciPy's first trial step has length 1 whatever the gradient. With the variables in units of the expected step,
    gradient over curvature, the first line search ends after one evaluation instead of four.
    """
    if options.loss_or(_LOSS) != "intensity":
        return 2.0
    data = misfit.data
    return 4.0 * data.norm / data.pixels / data.mean**2


def minimise(
    misfit: Misfit,
    state: State,
    options: SolverOptions,
    iterations: int,
    unknowns: Unknowns,
    report: Report,
    early_stop: EarlyStop | None = None,
) -> State:
    """Minimise the loss over the object and the ``unknowns`` from ``state``, which is left as it is."""
    variables = _Variables(misfit, state, unknowns, options)
    # The scaling needs value and gradient at the start; SciPy's first evaluation is there, too, and takes these.
    start = [loss_and_gradients(misfit, state, options, unknowns)]
    variables.rescale(float(np.linalg.norm(variables.pack_gradient(start[0][2]))) / _curvature(misfit, options))
    done = list(state.squared_residuals)
    latest, stopped = 0.0, False

    stiffness = variables.illumination * _curvature(misfit, options)

    def evaluate(vector: Vector) -> tuple[float, Vector]:
        nonlocal latest
        at = variables.unpack(vector)
        value, latest, gradients = start.pop() if start else loss_and_gradients(misfit, at, options, unknowns)
        if penalised(options):
            weighted, slope = penalty(at.transmission, options)
            value += stiffness * weighted
            gradients[0] = gradients[0] + stiffness * slope
        gradients[2] = variables.held_inside(at, gradients[2])
        return value, variables.pack_gradient(gradients)

    def after_iteration(intermediate_result: OptimizeResult) -> None:
        nonlocal stopped
        # A line search ends with the evaluation of the point that it accepts.
        done.append(latest if early_stop is None else latest * early_stop.scale)
        if not report(len(done), done[-1]):
            stopped = True
            raise StopIteration
        if early_stop is not None and early_stop.watching and not early_stop(variables.unpack(intermediate_result.x)):
            raise StopIteration

    result = minimize(
        evaluate,
        variables.pack(state),
        jac=True,
        method="L-BFGS-B",
        callback=after_iteration,
        # Tolerances would end trials at different depths and blur their comparison. SciPy still ends early where
        # rounding leaves no descent.
        options={"maxiter": iterations, "maxfun": 20 * iterations, "ftol": 0.0, "gtol": 0.0},
    )
    final = variables.unpack(result.x)
    return State(final.transmission, final.spectra, final.moved, done, stopped)
