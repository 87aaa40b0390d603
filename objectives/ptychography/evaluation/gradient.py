"""The one deterministic pass over the frozen final state: its metrics, and the gradient of the tuned one.

At a converged reconstruction x*(theta) the envelope theorem gives d/dtheta max_x C(x, theta) = dC/dtheta at fixed x*: a
backward pass through the forward model yields the gradient of the tuned metric for every differentiable mismatch
parameter. It is exact at convergence and as good as the convergence otherwise.

The parameters act through few arrays: positions, background, the probe, propagators. One pass with the solvers' kernels
gives the gradient of the metric with respect to these; the small graph of the scene carries it on to the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.metrics.counts import consistency
from objectives.ptychography.model.forward import Batch
from objectives.ptychography.model.kernels.protocol import Loss
from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.model.scene import Scene
from objectives.ptychography.solvers.state import State

_FLOOR = 1e-30
"""Expected counts added where amplitudes are compared: negligible, but they keep slopes finite."""


def frozen_metrics(misfit: Misfit, state: State) -> dict[str, float]:
    """Metrics of the final state."""
    amplitude, intensity = misfit.over_all(state.transmission, state.spectra, state.moved, "amplitude", _FLOOR)
    return _metrics(misfit, intensity, amplitude)


@dataclass(frozen=True)
class Frozen:
    """Result of a pass over the final state.

    Attributes:
        metrics: ``consistency`` and ``amplitude_consistency``.
        slopes: name of a part of the scene, or ``spectra`` -> derivative of the requested metric with respect to it,
            dC/dRe + i dC/dIm, in the part's shape.
    """

    metrics: Mapping[str, float]
    slopes: Mapping[str, Tensor]


def frozen_pass(misfit: Misfit, state: State, metric: str) -> Frozen:
    """Metrics of the final state, and the derivatives of one with respect to all arrays that parameters act through.

    Args:
        misfit: the data, and the model of the final state, whose rounding of positions is held fixed.
        state: the final state.
        metric: ``consistency`` or ``amplitude_consistency``.
    """
    loss: Loss = "amplitude" if metric == "amplitude_consistency" else "intensity"
    slopes = _Slopes(misfit, state)
    sums = [0.0, 0.0, 0.0, 0.0]
    for batch in misfit.batches(len(state.spectra), state.moved):
        sums = [total + of_batch for total, of_batch in zip(sums, slopes.add(batch, loss), strict=True)]
    metrics = _metrics(misfit, sums[0], sums[1])
    norm = misfit.data.total if loss == "amplitude" else misfit.data.norm
    # C = 1 - sqrt(S / n)  ->  dC = -dS / (2 sqrt(S n)) = -dS / (2 n (1 - C))
    factor = -1.0 / (2 * norm * max(1.0 - metrics[metric], 1e-12))
    scene = misfit.model.scene
    seen = {"background": torch.full_like(scene.background, sums[2]), "blur": torch.full_like(scene.blur, sums[3])}
    parts = {**seen, **slopes.parts()}
    return Frozen(metrics, {name: factor * part for name, part in parts.items()})


def frozen_gradient(theta: Tensor, scene: Scene, spectra: Tensor | None, frozen: Frozen) -> Sequence[float]:
    """dC/dtheta at the fixed object (and at the fixed probe, where it was refined).

    Args:
        theta: (parameter,) values of the differentiable parameters; they require gradients.
        scene: the scene at ``theta``, with its graph.
        spectra: the probe at ``theta``, with its graph; None where it was reconstructed and so is held fixed.
        frozen: the pass over the final state.
    """
    parts = {"spectra": spectra, **{name: getattr(scene, name) for name in frozen.slopes if name != "spectra"}}
    used = {name: part for name, part in parts.items() if part is not None and part.requires_grad}
    slopes = [frozen.slopes[name] for name in used]
    (gradient,) = torch.autograd.grad(list(used.values()), theta, slopes)
    return gradient.tolist()


class _Slopes:
    """Half of dS/dRe + i dS/dIm of the summed squares S for the parts of a scene, collected over batches."""

    def __init__(self, misfit: Misfit, state: State) -> None:
        self._misfit, self._state = misfit, state
        scene = misfit.model.scene
        self._positions = torch.zeros_like(state.moved)
        self._spectra = torch.zeros_like(state.spectra)
        pattern = state.spectra[0]
        self._propagator = None if scene.propagator is None else torch.zeros_like(pattern)
        self._between = None if len(state.transmission) == 1 else torch.zeros_like(pattern)

    def add(self, batch: Batch, loss: Loss) -> tuple[float, float, float, float]:
        """Add a batch; returns what :meth:`objectives.ptychography.model.kernels.protocol.Kernels.score` does."""
        misfit, model, kernels = self._misfit, self._misfit.model, self._misfit.kernels
        transmission, spectra = self._state.transmission, self._state.spectra
        waves = model.waves(transmission, spectra, batch)
        seen = None if self._propagator is None else torch.fft.fft2(waves.detector)
        sums = misfit.score(waves, batch, loss, _FLOOR)  # turns the waves into the gradient with respect to them
        wanted = waves.take_detector()
        along = None if seen is None else self._add_propagator(seen, wanted)
        leaving = model.from_detector(wanted, batch)
        for index in reversed(range(len(transmission))):
            leaving = kernels.transmit_back(leaving, transmission[index], batch.corners)
            if index > 0:
                leaving = self._add_between(waves.entering[index], leaving)
        slopes = model.slopes_of_spectra(leaving)
        kernels.add_unshifted(slopes, batch.ramp_y, batch.ramp_x, self._spectra)
        of_positions = kernels.shift_slopes(slopes, spectra, batch.ramp_y, batch.ramp_x)
        self._positions[batch.indices] = of_positions if along is None else of_positions + along
        return sums

    def _add_between(self, entering: Tensor, leaving: Tensor) -> Tensor:
        """Propagate back to the slice before, and add the gradient with respect to the propagator H between them.

        For w' = F^-1[H F w] with |H| = 1 the gradient with respect to H is conj(F w) F g = H conj(F w') F g, where g is
        the gradient with respect to w'.

        Args:
            entering: w', the waves that enter the slice.
            leaving: g.
        """
        between = self._misfit.model.scene.slice_propagator
        assert between is not None and self._between is not None  # noqa: S101
        slopes = torch.fft.fft2(leaving)
        nowhere = torch.zeros((len(leaving), 2), dtype=torch.int64, device=leaving.device)
        self._misfit.kernels.add_product(torch.fft.fft2(entering), slopes, nowhere, self._between)
        return torch.fft.ifft2(slopes * between.conj())

    def _add_propagator(self, seen: Tensor, wanted: Tensor) -> Tensor:
        """Add the gradient with respect to the near field's propagator, as :meth:`_add_between` does.

        Args:
            seen: spectra of the waves at the detector.
            wanted: gradient with respect to these waves.

        Returns:
            The gradient with respect to the positions (b, 2), as far as the waves are moved back by them.
        """
        assert self._propagator is not None  # noqa: S101
        product = torch.fft.fft2(wanted) * seen.conj()
        self._propagator += product.sum((0, 1))
        flat = torch.ones_like(product[0])
        unmoved = (torch.ones_like(product[:, 0, :, 0]), torch.ones_like(product[:, 0, 0, :]))
        return self._misfit.kernels.shift_slopes(product, flat, *unmoved) / -flat[0].numel()

    def parts(self) -> dict[str, Tensor]:
        """Name of a part -> dS/dRe + i dS/dIm."""
        scene = self._misfit.model.scene
        slopes = {"positions": self._positions, "spectra": self._spectra}
        unscaled = 1 / self._spectra[0].numel()
        if scene.propagator is not None and self._propagator is not None:
            slopes["propagator"] = self._propagator * scene.propagator * unscaled
        if scene.slice_propagator is not None and self._between is not None:
            slopes["slice_propagator"] = self._between * scene.slice_propagator * unscaled
        return {name: 2 * part for name, part in slopes.items()}


def _metrics(misfit: Misfit, intensity: float, amplitude: float) -> dict[str, float]:
    data = misfit.data
    return {
        "consistency": consistency(intensity, data.norm),
        "amplitude_consistency": consistency(amplitude, data.total),
    }
