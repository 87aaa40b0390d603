"""The forward model: from object, probe, mismatch and positions to expected counts, and the adjoint of each step.

    w_1 = F^-1[ S_m(q) exp(-2 pi i q . f_j) ]    the probe's spectrum, moved by the sub-pixel part f_j of position j
    w_s+1 = F^-1[ F[ w_s O_s ] H(q) ]            transmission of slice s, propagation to the next (multislice)
    I_j = R[ sum_m |D[ w_S O_S ]|^2 ] + background    incoherent modes m; D: far field F, or near field F^-1 H' F

R is the response of the detector's pixels (:mod:`objectives.ptychography.model.response`).

O_s is the patch of the object under the probe (whole pixels). F is the unitary Fourier transform of the N x N window,
of which a far-field detector sees the middle (:mod:`objectives.ptychography.model.window`); the probe is kept as its
spectrum on the window's pixels, zero frequency at (N//2, N//2), as the patterns are. A shift
by N//2 pixels inside the probe's ramp puts every wave's spectrum there, so no pattern is ever rolled. In the near field
the illumination rests on the detector while the object moves, so the wave is moved back by f_j there; in the far field
that is a mere phase.

Multislice: Cowley and Moodie, Acta Cryst. 10, 609 (1957); mixed states: Thibault and Menzel, Nature 494, 68 (2013).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from objectives.ptychography.model.cropping import seen_part, with_unseen
from objectives.ptychography.model.kernels.protocol import Kernels
from objectives.ptychography.model.response import Response, respond, response_taps
from objectives.ptychography.model.scene import Scene


@dataclass(frozen=True)
class Layout:
    """Place of each scan position on the object's grid, which depends on rounded positions and is not differentiable.

    Attributes:
        corners: (position, 2) int64 upper-left corner of the patch of each position.
        object_shape: (rows, columns) of the object.
        window: (rows, columns) of a patch and of a probe.
        detector_shape: (rows, columns) of a pattern, at most those of the window.
        origin: (2,), added to a corner gives the pixel nearest to the position.
    """

    corners: Tensor
    object_shape: tuple[int, int]
    window: tuple[int, int]
    detector_shape: tuple[int, int]
    origin: Tensor

    @classmethod
    def of(
        cls,
        positions: Tensor,
        detector_shape: tuple[int, int],
        margin: int = 2,
        window: tuple[int, int] | None = None,
    ) -> Layout:
        """Lay patches on the smallest object that holds them all, with ``margin`` pixels around.

        The window is as large as the detector where none is given.
        """
        window = window or detector_shape
        whole = positions.detach().round().to(torch.int64)
        low, high = whole.amin(0), whole.amax(0)
        rows, columns = (int(high[i] - low[i]) + window[i] + 2 * margin for i in range(2))
        return cls(whole - low + margin, (rows, columns), window, detector_shape, low - margin)

    def fits(self, positions: Tensor, window: tuple[int, int]) -> bool:
        """Whether the patches are those of other positions, too: none is further than a pixel from its patch."""
        if window != self.window or len(positions) != len(self.corners):
            return False
        return bool((positions.detach() - (self.corners + self.origin)).abs().max() <= 1)

    def on_another_grid(self, positions: Tensor, by: tuple[float, float]) -> Layout:
        """The patches of the same positions on a grid of pixels that is moved, with as wide a margin.

        Args:
            positions: (position, 2), (y, x) in object pixels.
            by: how far the grid is moved up and to the left, in pixels.
        """
        shift = positions.new_tensor(by)
        moved = Layout.of(positions + shift, self.detector_shape, int(self.corners.min()), self.window)
        return replace(moved, origin=moved.origin - shift)


@dataclass(frozen=True)
class Batch:
    """The positions of some patterns, as a pass over these needs them.

    Attributes:
        indices: (b,) int64, indices of the patterns.
        corners: (b, 2) int64, corners of their patches.
        ramp_y, ramp_x: (b, y), (b, x): Fourier ramps that shift the probe, over the roots of the window's sides, so
            that the unscaled transforms before and after them are unitary.
        back: both ramps that move the wave back on a near-field detector; empty in the far field.
        box: (first row, end row, first column, end column) of the object that the patches cover.
    """

    indices: Tensor
    corners: Tensor
    ramp_y: Tensor
    ramp_x: Tensor
    back: tuple[Tensor, ...]
    box: tuple[int, int, int, int]


@dataclass
class Waves:
    """The waves of a batch on their way to the detector.

    Attributes:
        entering: the waves that enter each slice, (b, mode, y, x) on the window.
        detector: (b, mode, det_y, det_x) the waves at the detector, in the model's ``detector_unit``: its square times
            their squared modulus is in counts.
    """

    entering: list[Tensor]
    detector: Tensor

    def take_detector(self) -> Tensor:
        """Release the waves at the detector; their memory can be used again while the cache still holds it."""
        taken, self.detector = self.detector, self.detector.new_empty(0)
        return taken


class ForwardModel:
    """Forward model of one scene; the layout may be that of a scene whose positions are less than a few pixels off.

    States are an object, the transmission of every slice (slice, rows, columns), and the probe's spectra
    (mode, y, x) on the window, complex, scaled so that the summed intensity of the spectra is the counts of a pattern.
    """

    def __init__(self, scene: Scene, layout: Layout, kernels: Kernels) -> None:
        self.scene, self.layout, self.kernels = scene, layout, kernels
        self.response = Response.of(scene.blur, scene.pixel_fill)
        self._fraction = scene.positions - (layout.corners + layout.origin)
        # Transforms stay unscaled where another step can apply the scale: that saves a pass over the arrays each.
        self.detector_unit = 1.0 if scene.propagator is not None else 1 / math.sqrt(math.prod(layout.window))

    def batch(self, indices: Tensor, moved: Tensor | None = None) -> Batch:
        """Prepare a pass over some patterns.

        Args:
            indices: (b,) int64.
            moved: (position, 2) displacements (y, x) in object pixels, found by position refinement.
        """
        return self.batch_at(indices, None if moved is None else moved[indices])

    def batch_at(self, indices: Tensor, moves: Tensor | None) -> Batch:
        """As :meth:`batch`; ``moves`` (b, 2) belong to ``indices``, which may name a pattern repeatedly.

        A position is split anew into the nearest pixel and the rest, as one that was stated there would be. So a probe
        that moves by pixels does not come back at the other side of its window.
        """
        layout, sizes = self.layout, self.layout.window
        fraction, corners = self._fraction[indices], layout.corners[indices]
        if moves is not None:
            whole = (fraction + moves).detach().round()
            fraction, corners = fraction + moves - whole, corners + whole.to(torch.int64)
        corners = corners.contiguous()
        low, high = corners.amin(0).tolist(), corners.amax(0).tolist()
        ends = [n - size for n, size in zip(layout.object_shape, sizes, strict=True)]
        if min(low) < 0 or high[0] > ends[0] or high[1] > ends[1]:  # compiled kernels would read and write beyond it
            raise ValueError(f"patches from {low} to {high} lie outside an object of {layout.object_shape}")
        return Batch(
            indices,
            corners,
            _ramp(fraction[:, 0] + sizes[0] // 2, sizes[0]) / math.sqrt(sizes[0]),
            _ramp(fraction[:, 1] + sizes[1] // 2, sizes[1]) / math.sqrt(sizes[1]),
            () if self.scene.propagator is None else tuple(_ramp(-fraction[:, i], n) for i, n in enumerate(sizes)),
            (low[0], high[0] + sizes[0], low[1], high[1] + sizes[1]),
        )

    def batches(self, pixels: int, moved: Tensor | None = None) -> Iterator[Batch]:
        """All patterns in order, about ``pixels`` pixels of windows at a time."""
        size = max(1, pixels // math.prod(self.layout.window))
        for indices in torch.arange(len(self.layout.corners), device=self.layout.corners.device).split(size):
            yield self.batch(indices, moved)

    def waves(self, transmission: Tensor, spectra: Tensor, batch: Batch) -> Waves:
        """Send the probe through the object to the detector."""
        wave = self.enter(spectra, batch)
        entering = []
        for index, of_slice in enumerate(transmission):
            entering.append(wave)
            wave = self.kernels.transmit(wave, of_slice, batch.corners)
            if index < len(transmission) - 1:
                wave = torch.fft.ifft2(torch.fft.fft2(wave) * self._between_slices())
        return Waves(entering, self.to_detector(wave, batch))

    def enter(self, spectra: Tensor, batch: Batch) -> Tensor:
        """The probe at every position of the batch, (b, mode, y, x), modulated by a phase of modulus 1."""
        if spectra.shape[-2:] != self.layout.window:  # compiled kernels would read and write beyond them
            stated, window = ("{} x {}".format(*shape) for shape in (spectra.shape[-2:], self.layout.window))
            raise ValueError(f"the probe has spectra of {stated} pixels, a window of {window} needs as many")
        return torch.fft.ifft2(self.kernels.shift(spectra, batch.ramp_y, batch.ramp_x), norm="forward")

    def slopes_of_spectra(self, leaving: Tensor) -> Tensor:
        """Adjoint of :meth:`enter`, less the ramps: for ``Kernels.add_unshifted`` and ``Kernels.shift_slopes``."""
        return torch.fft.fft2(leaving)

    def expected(self, waves: Waves) -> Tensor:
        """Expected counts (b, det_y, det_x) of waves at the detector."""
        at = waves.detector
        intensity = (at.real.square() + at.imag.square()).sum(1) * self.detector_unit**2
        return respond(intensity, response_taps(self.scene.blur, self.scene.pixel_fill)) + self.scene.background

    def intensity(self, transmission: Tensor, spectra: Tensor, batch: Batch) -> Tensor:
        """Expected counts, (b, det_y, det_x)."""
        return self.expected(self.waves(transmission, spectra, batch))

    def from_detector(self, waves: Tensor, batch: Batch) -> Tensor:
        """Adjoint of :meth:`to_detector`, for waves times the squared unit."""
        propagator = self.scene.propagator
        if propagator is None:
            return torch.fft.ifft2(with_unseen(waves, self.layout.window), norm="forward")
        spectra = torch.fft.fft2(waves) * propagator.conj()
        return torch.fft.ifft2(self.kernels.shift(spectra, *(ramp.conj_physical() for ramp in batch.back)))

    def pull_back(
        self,
        index: int,
        waves: Waves,
        leaving: Tensor,
        transmission: Tensor,
        batch: Batch,
        gradient: Tensor,
        illumination: Tensor | None = None,
    ) -> Tensor:
        """Adjoint of slice ``index`` and of the propagation to it: from its exit to the exit of the slice before it.

        The adjoint of the first slice ends where the probe enters. ``leaving`` is overwritten. The gradient for the
        slice, conj(entering) * leaving, is added to ``gradient`` (rows, columns), the illumination to ``illumination``.
        """
        self.kernels.pull_back(
            waves.entering[index], leaving, transmission[index], batch.corners, gradient, illumination
        )
        return self.between_slices_back(leaving) if index > 0 else leaving

    def between_slices_back(self, waves: Tensor) -> Tensor:
        """Adjoint of the propagation from one slice to the next."""
        return torch.fft.ifft2(torch.fft.fft2(waves) * self._between_slices().conj())

    def illumination(self, spectra: Tensor, pixels: int, moved: Tensor | None = None) -> Tensor:
        """Summed probe intensity that each object pixel received in the first slice, real (rows, columns)."""
        total = torch.zeros(self.layout.object_shape, dtype=spectra.real.dtype, device=spectra.device)
        for batch in self.batches(pixels, moved):
            wave = self.enter(spectra, batch)
            self.kernels.add_illumination(wave, torch.ones_like(batch.ramp_y[:, 0].real), batch.corners, total)
        return total

    def to_detector(self, waves: Tensor, batch: Batch) -> Tensor:
        """Propagate the waves behind the last slice to the detector, see :attr:`Waves.detector`."""
        if self.scene.propagator is None:
            return seen_part(torch.fft.fft2(waves), self.layout.detector_shape)
        return torch.fft.ifft2(self.kernels.shift(torch.fft.fft2(waves) * self.scene.propagator, *batch.back))

    def _between_slices(self) -> Tensor:
        propagator = self.scene.slice_propagator
        if propagator is None:
            raise ValueError("an object of several slices needs a scene that was built for them")
        return propagator


def positions_in_object(model: ForwardModel) -> NDArray[np.float64]:
    """(position, 2) object pixel under the middle of the probe, (y, x), not rounded."""
    layout = model.layout
    half = torch.tensor([n // 2 for n in layout.window])
    found: NDArray[np.float64] = (model.scene.positions.double().cpu() - layout.origin.double().cpu() + half).numpy()
    return found


def spectrum_seen_as(wave: Tensor, scene: Scene) -> Tensor:
    """The probe's spectrum that reaches the detector as ``wave`` (det_y, det_x) where there is no object."""
    return wave if scene.propagator is None else spectrum_of(wave) * scene.propagator.conj()


def spectrum_of(field: Tensor) -> Tensor:
    """Unitary spectrum of a centred field (..., det_y, det_x), zero frequency at (N//2, N//2)."""
    axes = (-2, -1)
    return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(field, dim=axes), norm="ortho"), dim=axes)


def field_of(spectrum: Tensor) -> Tensor:
    """The inverse of :func:`spectrum_of`."""
    axes = (-2, -1)
    return torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=axes), norm="ortho"), dim=axes)


def _ramp(shift: Tensor, n: int) -> Tensor:
    """exp(-2 pi i v shift / n) for v = -(n//2) ..., shape (b, n): moves a field by ``shift`` pixels."""
    v = torch.arange(n, dtype=shift.dtype, device=shift.device) - n // 2
    phase = (-2 * torch.pi / n) * shift[:, None] * v
    return torch.polar(torch.ones_like(phase), phase)
