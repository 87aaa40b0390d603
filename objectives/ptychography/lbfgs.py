"""Reconstruction by limited-memory BFGS over the object and, if refined, the probe.

Full-batch and deterministic: no step size to tune, and the state it converges to maximises the tuned metric itself, so
that the gradient by the envelope theorem holds. The object is preconditioned by the illumination each pixel received
(Nocedal and Wright, Numerical Optimization, ch. 7; SciPy's L-BFGS-B does the steps and the line search).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.optimize import OptimizeResult, minimize
from torch import Tensor

from objectives.ptychography.forward import ForwardModel, IntensityLoss


@dataclass(frozen=True)
class SolverOptions:
    """How the reconstruction runs.

    Attributes:
        iterations: L-BFGS iterations in all.
        refine_probe: whether the probe is an unknown too.
        probe_start: iterations with the probe held fixed before it is refined.
        preconditioner_floor: least illumination assumed, as a fraction of the highest; larger values slow down
            weakly illuminated pixels.
    """

    iterations: int
    refine_probe: bool
    probe_start: int
    preconditioner_floor: float


@dataclass
class State:
    """A reconstruction in progress: flat object, probe, and the loss after each iteration."""

    flat_object: Tensor
    probe: Tensor
    losses: list[float] = field(default_factory=list)
    stopped: bool = False


Report = Callable[[int, float], bool]
"""Called with (iterations done, loss); False asks to stop."""


def solve(model: ForwardModel, loss: IntensityLoss, state: State, options: SolverOptions, report: Report) -> State:
    """Minimise the loss from ``state``; returns the final state, ``stopped`` if ``report`` asked for it."""
    alone = min(options.probe_start, options.iterations) if options.refine_probe else options.iterations
    for iterations, refine_probe in ((alone, False), (options.iterations - alone, True)):
        if iterations > 0 and not state.stopped:
            state = _minimise(model, loss, state, iterations, refine_probe, options.preconditioner_floor, report)
    return state


class _Variables:
    """Object and probe as one real float64 vector for SciPy, scaled so that its Hessian is near a multiple of 1."""

    def __init__(self, model: ForwardModel, state: State, refine_probe: bool, floor: float) -> None:
        illumination = model.illumination(state.probe)
        self._object_scale = (illumination + floor * illumination.max()).rsqrt()
        self._probe_scale = 1 / math.sqrt(len(model.layout.corners))
        self._probe = state.probe
        self._refine_probe = refine_probe
        self._size = state.flat_object.numel()

    def pack(self, flat_object: Tensor, probe: Tensor | None) -> np.ndarray[Any, np.dtype[np.float64]]:
        """State -> vector."""
        return self._vector(
            flat_object / self._object_scale,
            probe / self._probe_scale if self._refine_probe and probe is not None else None,
        )

    def pack_gradient(self, flat_object: Tensor, probe: Tensor | None) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Gradient for the state -> gradient for the vector (chain rule through the scales)."""
        return self._vector(
            flat_object * self._object_scale,
            probe * self._probe_scale if self._refine_probe and probe is not None else None,
        )

    def unpack(self, vector: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[Tensor, Tensor]:
        """Vector -> (flat object, probe)."""
        like = self._probe
        values = torch.view_as_complex(torch.from_numpy(vector.reshape(-1, 2))).to(like.device, like.dtype)
        flat_object = values[: self._size] * self._object_scale
        if not self._refine_probe:
            return flat_object, self._probe
        return flat_object, values[self._size :].reshape(like.shape) * self._probe_scale

    @staticmethod
    def _vector(flat_object: Tensor, probe: Tensor | None) -> np.ndarray[Any, np.dtype[np.float64]]:
        parts = [flat_object] if probe is None else [flat_object, probe.reshape(-1)]
        vector: np.ndarray[Any, np.dtype[np.float64]]
        vector = torch.view_as_real(torch.cat(parts)).reshape(-1).to("cpu", torch.float64).numpy()
        return vector


def _minimise(
    model: ForwardModel,
    loss: IntensityLoss,
    state: State,
    iterations: int,
    refine_probe: bool,
    floor: float,
    report: Report,
) -> State:
    variables = _Variables(model, state, refine_probe, floor)
    losses: list[float] = []
    stopped = False

    def evaluate(vector: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        flat_object, probe = variables.unpack(vector)
        value, object_gradient, probe_gradient = loss(flat_object, probe, refine_probe=refine_probe)
        return value, variables.pack_gradient(object_gradient, probe_gradient)

    def after_iteration(intermediate_result: OptimizeResult) -> None:
        nonlocal stopped
        losses.append(float(intermediate_result.fun))
        if not report(len(state.losses) + len(losses), losses[-1]):
            stopped = True
            raise StopIteration

    found = minimize(
        evaluate,
        variables.pack(state.flat_object, state.probe),
        jac=True,
        method="L-BFGS-B",
        callback=after_iteration,
        # Run the iterations asked for: a tolerance would end trials at different depths and blur their comparison.
        options={"maxiter": iterations, "maxfun": 20 * iterations, "ftol": 0.0, "gtol": 0.0},
    )
    flat_object, probe = variables.unpack(found.x)
    return State(flat_object, probe, [*state.losses, *losses], stopped)
