"""The one deterministic pass over the frozen final state: its metrics, and the gradient of the tuned one.

At a converged reconstruction x*(theta) the envelope theorem gives d/dtheta max_x C(x, theta) = dC/dtheta at fixed x*: a
backward pass through the forward model yields the gradient of the tuned metric for every differentiable mismatch
parameter. It is exact at convergence and as good as the convergence otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from objectives.metrics import ResidualSums, consistency
from objectives.ptychography.forward import ForwardModel
from objectives.ptychography.kernels.plain import TorchKernels
from objectives.ptychography.misfit import Misfit
from objectives.ptychography.scene import Scene
from objectives.ptychography.solvers.state import State

_FLOOR = 1e-30
"""Expected counts added where amplitudes are compared: as good as none, but a slope stays finite."""


def frozen_metrics(misfit: Misfit, state: State) -> dict[str, float]:
    """Metrics of the final state."""
    intensity = amplitude = 0.0
    for batch in misfit.batches(len(state.spectra), state.moved):
        of_batch = misfit.compare(
            misfit.model.waves(state.transmission, state.spectra, batch), batch, "amplitude", _FLOOR
        )
        amplitude, intensity = amplitude + of_batch[0], intensity + of_batch[1]
    sums = ResidualSums(intensity, misfit.data.norm, amplitude, misfit.data.total)
    return {"consistency": sums.consistency, "amplitude_consistency": sums.amplitude_consistency}


def frozen_gradient(
    scene_at: Callable[[Tensor], Scene],
    theta: Tensor,
    misfit: Misfit,
    state: State,
    metric: str,
    *,
    spectra_at: Callable[[Scene], Tensor] | None,
) -> Sequence[float]:
    """dC/dtheta at the fixed object (and probe, where it was refined).

    Args:
        scene_at: parameter vector -> scene.
        theta: (parameter,) the values of the differentiable parameters.
        misfit: the data, and the model of the final state; its rounding of positions is held fixed.
        state: the final state.
        metric: ``consistency`` or ``amplitude_consistency``.
        spectra_at: scene -> spectra, where the probe follows from the parameters; None where it was reconstructed, so
            that it is held fixed as the object is.
    """
    theta = theta.detach().requires_grad_(True)
    scene = scene_at(theta)
    # Cut the graph where it is small (positions, probe, propagators), so that each batch frees its own.
    parts = _parts(scene, spectra_at)
    cut = {name: part.detach().requires_grad_(True) for name, part in parts.items()}
    leaves = replace(scene, spectrum=None, **{name: leaf for name, leaf in cut.items() if name != "spectra"})
    spectra = cut.get("spectra", state.spectra)
    model, data = ForwardModel(leaves, misfit.model.layout, TorchKernels()), misfit.data
    squared, norm = 0.0, data.total if metric == "amplitude_consistency" else data.norm
    for batch in model.batches(misfit.pixels_per_batch // len(state.spectra), state.moved):
        measured = data.patterns[batch.indices] * data.valid
        expected = model.intensity(state.transmission, spectra, batch) * data.valid
        if metric == "amplitude_consistency":
            # sqrt has no derivative at 0: leave out pixels where nothing is expected, they carry no gradient.
            floor = torch.finfo(expected.dtype).tiny
            residual = (measured.sqrt() - expected.clamp(min=floor).sqrt()) * data.valid
        else:
            residual = measured - expected
        loss = residual.square().sum()
        squared += float(loss.detach())
        loss.backward()
    # C = 1 - sqrt(S / n)  ->  dC = -dS / (2 sqrt(S n)) = -dS / (2 n (1 - C))
    factor = -1.0 / (2 * norm * max(1.0 - consistency(squared, norm), 1e-12))
    used = [(part, cut[name].grad) for name, part in parts.items() if cut[name].grad is not None and part.grad_fn]
    (gradient,) = torch.autograd.grad(
        [part for part, _ in used], theta, [slope for _, slope in used], allow_unused=True
    )
    return [factor * float(g) for g in gradient]


def _parts(scene: Scene, spectra_at: Callable[[Scene], Tensor] | None) -> dict[str, Tensor]:
    """The tensors through which a parameter acts."""
    parts = {"positions": scene.positions, "background": scene.background}
    if spectra_at is not None:
        parts["spectra"] = spectra_at(scene)
    if scene.propagator is not None:
        parts["propagator"] = scene.propagator
    if scene.slice_propagator is not None:
        parts["slice_propagator"] = scene.slice_propagator
    return parts
