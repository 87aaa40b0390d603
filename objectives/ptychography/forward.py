"""The single-slice forward model, far field and near field, and its hand-derived gradient.

    psi_j = F[ P(r - f_j) O(r + c_j) ],   I_j = |psi_j|^2

c_j is the corner of the object patch under the probe (whole pixels), f_j the sub-pixel rest of the scan position,
applied to the probe as a Fourier phase ramp. F is a unitary FFT (far field) or convolution with the Fresnel propagator
(near field). In the near field the illumination rests on the detector while the object moves, so the wave is moved back
by f_j there; in the far field that is a mere phase. Far-field patterns keep their zero frequency at [0, 0] here.
Intensities are in units of the mean count per pixel.

The gradient is derived by hand instead of traced, so that no graph is kept in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.ptychography.scene import Scene

_PIXELS_PER_BATCH = 1 << 16
_CACHE_BYTES = 1 << 28


@dataclass(frozen=True)
class Layout:
    """Where each probe position falls on the object grid. A function of the rounded positions, so not differentiable.

    Attributes:
        corners: (position, 2) int64 upper-left corner of the patch of each position.
        object_shape: (rows, columns) of the object.
        detector_shape: (rows, columns) of a patch, a probe and a pattern.
    """

    corners: Tensor
    object_shape: tuple[int, int]
    detector_shape: tuple[int, int]

    @classmethod
    def of(cls, positions: Tensor, detector_shape: tuple[int, int], margin: int = 2) -> Layout:
        """Lay patches on the smallest object that holds them all, with ``margin`` pixels around."""
        whole = positions.detach().round().to(torch.int64)
        low, high = whole.amin(0), whole.amax(0)
        rows, columns = (int(high[i] - low[i]) + detector_shape[i] + 2 * margin for i in range(2))
        return cls(whole - low + margin, (rows, columns), detector_shape)

    def pixels(self, batch: Tensor) -> Tensor:
        """Flat object indices of the patches of ``batch``, int64 (batch, det_y, det_x)."""
        device = self.corners.device
        rows = self.corners[batch, 0, None] + torch.arange(self.detector_shape[0], device=device)
        columns = self.corners[batch, 1, None] + torch.arange(self.detector_shape[1], device=device)
        return rows[:, :, None] * self.object_shape[1] + columns[:, None, :]

    def batches(self) -> Iterator[Tensor]:
        """All positions in order, in batches that fit the processor's cache."""
        size = max(1, _PIXELS_PER_BATCH // (self.detector_shape[0] * self.detector_shape[1]))
        yield from torch.arange(len(self.corners), device=self.corners.device).split(size)


class ForwardModel:
    """Forward model of one scene. States are a flat object (rows * columns) and a probe (det_y, det_x), complex."""

    def __init__(self, scene: Scene, layout: Layout) -> None:
        self.layout = layout
        self._propagator = scene.propagator
        self._fraction = scene.positions - scene.positions.detach().round()

    def ramp(self, batch: Tensor) -> Tensor:
        """Fourier phase ramps that shift the probe by the sub-pixel part of each position."""
        rows, columns = self.layout.detector_shape
        fraction = self._fraction[batch]
        frequency = [torch.fft.fftfreq(n, dtype=fraction.dtype, device=fraction.device) for n in (rows, columns)]
        phase_y = -2 * torch.pi * fraction[:, 0, None] * frequency[0]
        phase_x = -2 * torch.pi * fraction[:, 1, None] * frequency[1]
        one = torch.ones_like
        ramp_y, ramp_x = torch.polar(one(phase_y), phase_y), torch.polar(one(phase_x), phase_x)
        return ramp_y[:, :, None] * ramp_x[:, None, :]

    def shifted_probes(self, probe: Tensor, batch: Tensor) -> Tensor:
        """The probe at the sub-pixel position of each pattern, (batch, det_y, det_x)."""
        return torch.fft.ifft2(torch.fft.fft2(probe) * self.ramp(batch))

    def to_detector(self, exit_waves: Tensor, batch: Tensor) -> Tensor:
        """Unitary propagation of the exit waves of ``batch`` to the detector."""
        if self._propagator is None:
            return torch.fft.fft2(exit_waves, norm="ortho")
        return torch.fft.ifft2(torch.fft.fft2(exit_waves) * (self._propagator * self.ramp(batch).conj()))

    def from_detector(self, waves: Tensor, batch: Tensor) -> Tensor:
        """The adjoint (= inverse) of :meth:`to_detector`."""
        if self._propagator is None:
            return torch.fft.ifft2(waves, norm="ortho")
        return torch.fft.ifft2(torch.fft.fft2(waves) * (self._propagator.conj() * self.ramp(batch)))

    def probe_seen_as(self, wave: Tensor) -> Tensor:
        """The probe, centred at (N//2, N//2), that reaches the detector as ``wave`` where there is no object."""
        if self._propagator is None:
            return torch.fft.fftshift(torch.fft.ifft2(wave, norm="ortho"))
        return torch.fft.ifft2(torch.fft.fft2(wave) * self._propagator.conj())

    def intensity(self, flat_object: Tensor, probe: Tensor, batch: Tensor) -> Tensor:
        """Expected intensities, (batch, det_y, det_x)."""
        exit_waves = self.shifted_probes(probe, batch) * flat_object[self.layout.pixels(batch)]
        waves = self.to_detector(exit_waves, batch)
        return waves.real.square() + waves.imag.square()

    def illumination(self, probe: Tensor) -> Tensor:
        """Summed probe intensity that each object pixel received, real (rows * columns)."""
        rows, columns = self.layout.object_shape
        total = torch.zeros(rows * columns, dtype=probe.real.dtype, device=probe.device)
        for batch in self.layout.batches():
            intensity = self.shifted_probes(probe, batch).abs().square()
            total.index_add_(0, self.layout.pixels(batch).reshape(-1), intensity.reshape(-1))
        return total


class IntensityLoss:
    """Sum of squared intensity residuals over valid pixels, with its gradient for object and probe.

    Minimising it at fixed mismatch maximises the intensity consistency, the metric that is tuned, so the envelope
    theorem applies to the final state.
    """

    def __init__(self, model: ForwardModel, patterns: Tensor, valid: Tensor, fixed_probe: Tensor | None) -> None:
        """Bind the loss to data.

        Args:
            model: the forward model.
            patterns: (position, det_y, det_x) measured, in the model's layout and units, zero where not valid.
            valid: (det_y, det_x) 1 on valid pixels, 0 elsewhere.
            fixed_probe: the probe where it is not refined; its shifted copies are then computed only once
                (where they fit in 256 MB).
        """
        self._model, self._patterns, self._valid = model, patterns, valid
        self._shifted: Callable[[Tensor, Tensor], Tensor] = model.shifted_probes
        if fixed_probe is not None and patterns.numel() * fixed_probe.element_size() <= _CACHE_BYTES:
            cached = torch.cat([model.shifted_probes(fixed_probe, batch) for batch in model.layout.batches()])
            self._shifted = lambda _, batch: cached[batch]

    def __call__(
        self, flat_object: Tensor, probe: Tensor, *, refine_probe: bool
    ) -> tuple[float, Tensor, Tensor | None]:
        """Loss and its gradients dL/dRe + i dL/dIm for the object and, where it is refined, the probe."""
        model, layout = self._model, self._model.layout
        loss = 0.0
        object_gradient = torch.zeros_like(flat_object)
        probe_spectrum = torch.zeros_like(probe)
        for batch in layout.batches():
            pixels = layout.pixels(batch)
            probes, patches = self._shifted(probe, batch), flat_object[pixels]
            waves = model.to_detector(probes * patches, batch)
            residual = (waves.real.square() + waves.imag.square()) * self._valid - self._patterns[batch]
            loss += float(residual.square().sum(dtype=torch.float64))
            back = model.from_detector(waves * (4 * residual), batch)
            object_gradient.index_add_(0, pixels.reshape(-1), (probes.conj() * back).reshape(-1))
            if refine_probe:
                probe_spectrum += (torch.fft.fft2(patches.conj() * back) * model.ramp(batch).conj()).sum(0)
        return loss, object_gradient, torch.fft.ifft2(probe_spectrum) if refine_probe else None
