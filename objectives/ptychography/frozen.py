"""The one deterministic pass over the frozen final state: its metrics, and the gradient of the tuned one.

At a converged reconstruction x*(theta) the envelope theorem gives d/dtheta max_x C(x, theta) = dC/dtheta at fixed x*: a
backward pass through the forward model yields the gradient of the tuned metric for every differentiable mismatch
parameter. It is exact at convergence and as good as the convergence otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from objectives.metrics import ResidualSums, consistency
from objectives.ptychography.forward import ForwardModel, Layout
from objectives.ptychography.lbfgs import State
from objectives.ptychography.scene import Scene


def frozen_metrics(model: ForwardModel, patterns: Tensor, valid: Tensor, state: State) -> dict[str, float]:
    """Metrics of the final state; ``patterns`` in the model's layout and units, zero where not valid."""
    sums = ResidualSums()
    with torch.no_grad():
        for batch in model.layout.batches():
            expected = model.intensity(state.flat_object, state.probe, batch) * valid
            sums += ResidualSums.of(patterns[batch], expected)
    return {"consistency": sums.consistency, "amplitude_consistency": sums.amplitude_consistency}


def frozen_gradient(
    scene_at: Callable[[Tensor], Scene],
    theta: Tensor,
    layout: Layout,
    patterns: Tensor,
    valid: Tensor,
    state: State,
    metric: str,
    *,
    probe_at: Callable[[Scene], Tensor] | None,
) -> Sequence[float]:
    """dC/dtheta at the fixed object (and probe, where it was refined).

    Args:
        scene_at: parameter vector -> scene.
        theta: (parameter,) the values of the differentiable parameters.
        layout: the layout of the final state; rounding of positions is held fixed.
        patterns, valid, state: as in :func:`frozen_metrics`.
        metric: ``consistency`` or ``amplitude_consistency``.
        probe_at: scene -> probe, where the probe follows from the parameters; None where it was reconstructed, so
            that it is held fixed as the object is.
    """
    theta = theta.detach().requires_grad_(True)
    scene = scene_at(theta)
    # Cut the graph where it is small (positions, probe, propagator), so that each batch frees its own.
    parts = _parts(scene, probe_at)
    cut = [part.detach().requires_grad_(True) for part in parts]
    positions = cut[0]
    propagator = cut[-1] if scene.propagator is not None else None
    probe = state.probe if probe_at is None else cut[1]
    squared, norm = 0.0, 0.0
    for batch in layout.batches():
        # A fresh model per batch: its graph from ``positions`` is freed by the batch's backward pass.
        model = ForwardModel(Scene(positions, scene.pixel, None, propagator), layout)
        expected = model.intensity(state.flat_object, probe, batch) * valid
        if metric == "amplitude_consistency":
            # sqrt has no derivative at 0: leave out pixels where nothing is expected, they carry no gradient.
            floor = torch.finfo(expected.dtype).tiny
            residual = (patterns[batch].sqrt() - expected.clamp(min=floor).sqrt()) * valid
            norm += float(patterns[batch].sum(dtype=torch.float64))
        else:
            residual = patterns[batch] - expected
            norm += float(patterns[batch].square().sum(dtype=torch.float64))
        loss = residual.square().sum()
        squared += float(loss.detach())
        loss.backward()
    # C = 1 - sqrt(S / n)  ->  dC = -dS / (2 sqrt(S n)) = -dS / (2 n (1 - C))
    factor = -1.0 / (2 * norm * max(1.0 - consistency(squared, norm), 1e-12))
    used = [(part, leaf.grad) for part, leaf in zip(parts, cut, strict=True) if leaf.grad is not None and part.grad_fn]
    (gradient,) = torch.autograd.grad(
        [part for part, _ in used], theta, [slope for _, slope in used], allow_unused=True
    )
    return [factor * float(g) for g in gradient]


def _parts(scene: Scene, probe_at: Callable[[Scene], Tensor] | None) -> list[Tensor]:
    """The tensors through which a parameter acts: positions, the probe that follows from it, the propagator."""
    parts = [scene.positions]
    if probe_at is not None:
        parts.append(probe_at(scene))
    if scene.propagator is not None:
        parts.append(scene.propagator)
    return parts
