"""The misfit of a model to the data: the counts, their validity, and the losses that compare them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

import torch
from torch import Tensor

from objectives.metrics.counts import consistency
from objectives.ptychography.model.device import Machine
from objectives.ptychography.model.forward import Batch, ForwardModel, Waves
from objectives.ptychography.model.kernels.protocol import Kernels, Loss

_FLOOR = 1e-4
"""Expected counts assumed in every pixel where amplitudes or likelihoods are compared, over the mean count."""


class Data:
    """Measured counts on the device that reconstructs them. The patterns are not copied on the CPU.

    Attributes:
        patterns: (position, det_y, det_x) float32 counts.
        valid: (mask, det_y, det_x) 1 on pixels that are compared, 0 on those that are masked or withheld.
        mask_of: (position,) int64, index of each pattern's mask.
    """

    def __init__(self, patterns: Tensor, valid: Tensor, machine: Machine, mask_of: Tensor | None = None) -> None:
        """``mask_of`` may be left out where there is one mask for all patterns."""
        self.machine = machine
        self.patterns = patterns.to(machine.device)
        self.valid = valid.to(machine.device, machine.real)
        same = torch.zeros(len(patterns), dtype=torch.int64)
        self.mask_of = (same if mask_of is None else mask_of).to(machine.device)

    @property
    def total(self) -> float:
        """Counts in all pixels that are compared."""
        return self._sums[0]

    @property
    def norm(self) -> float:
        """Sum of squares of the counts in pixels that are compared."""
        return self._sums[1]

    @cached_property
    def pixels(self) -> float:
        """Number of pixels that are compared, over all patterns."""
        return float((self._patterns_of_mask * self.valid.sum((1, 2), dtype=torch.float64)).sum())

    @cached_property
    def mean(self) -> float:
        """Mean count of the pixels that are compared; the unit in which losses are scaled."""
        return self.total / self.pixels

    @cached_property
    def share(self) -> Tensor:
        """Share of the patterns in which each pixel is compared, 0..1, shape (det_y, det_x)."""
        weights = (self._patterns_of_mask / len(self.patterns)).to(self.valid.dtype)
        return (weights[:, None, None] * self.valid).sum(0)

    @cached_property
    def seen(self) -> Tensor:
        """Indices (n,) of the patterns with at least one pixel that is compared, ascending."""
        return self.valid.any(2).any(1)[self.mask_of].nonzero()[:, 0]

    def mean_pattern(self) -> Tensor:
        """Mean count of each pixel (det_y, det_x) over the patterns in which it is compared; 0 where it never is."""
        total = torch.zeros(self.valid.shape[1:], dtype=torch.float64, device=self.machine.device)
        for block in self._compared():
            total += block.sum(0, dtype=torch.float64)
        patterns = (self.share * len(self.patterns)).round().clamp(min=1)
        return (total / patterns).to(self.machine.real)

    @cached_property
    def _sums(self) -> tuple[float, float]:
        total = norm = 0.0
        for block in self._compared():
            total += float(block.sum(dtype=torch.float64))
            norm += float(block.square().sum(dtype=torch.float64))
        return total, norm

    @cached_property
    def _patterns_of_mask(self) -> Tensor:
        """(mask,) float64."""
        return self.mask_of.bincount(minlength=len(self.valid)).double()

    def _compared(self) -> Iterator[Tensor]:
        """The counts in blocks of patterns, 0 where they are not compared."""
        size = max(1, self.machine.pixels_per_batch // self.valid[0].numel())
        for block, mask_of in zip(self.patterns.split(size), self.mask_of.split(size), strict=True):
            yield block * (self.valid if len(self.valid) == 1 else self.valid[mask_of])


class Misfit:
    """A forward model and the data that it should explain."""

    def __init__(self, model: ForwardModel, data: Data) -> None:
        self.model, self.data = model, data
        self.background = float(model.scene.background)
        self._unmoved: dict[int, list[Batch]] = {}

    @property
    def kernels(self) -> Kernels:
        """The kernels of the forward model."""
        return self.model.kernels

    @property
    def pixels_per_batch(self) -> int:
        """Detector pixels that a pass handles at once."""
        return self.data.machine.pixels_per_batch

    def batches(self, modes: int, moved: Tensor | None = None) -> Iterable[Batch]:
        """All patterns in order, so many at a time that their ``modes`` waves fit the cache; kept if nothing moved."""
        if moved is not None and bool(moved.any()):
            return self.model.batches(self.pixels_per_batch // modes, moved)
        if modes not in self._unmoved:
            self._unmoved[modes] = list(self.model.batches(self.pixels_per_batch // modes))
        return self._unmoved[modes]

    def compare(self, waves: Waves, batch: Batch, loss: Loss, floor: float | None = None) -> tuple[float, float]:
        """Turn the waves at the detector into waves * dL/dI * the squared unit of the model's detector, in place.

        Args:
            waves: the waves of the batch.
            batch: the patterns.
            loss: L.
            floor: expected counts that the amplitude and Poisson losses add; a small share of the mean by default.

        Returns:
            The loss and the squared intensity residual.
        """
        floor = _FLOOR * self.data.mean if floor is None else floor
        return self.kernels.residual(waves.detector, *self._beside(batch), floor, loss, self.model.response)

    def over_all(
        self, transmission: Tensor, spectra: Tensor, moved: Tensor, loss: Loss, floor: float | None = None
    ) -> tuple[float, float]:
        """The loss and the squared intensity residual of all patterns; arguments as elsewhere."""
        losses = squared = 0.0
        for batch in self.batches(len(spectra), moved):
            of_batch = self.compare(self.model.waves(transmission, spectra, batch), batch, loss, floor)
            losses, squared = losses + of_batch[0], squared + of_batch[1]
        return losses, squared

    def score(self, waves: Waves, batch: Batch, loss: Loss, floor: float) -> tuple[float, float, float, float]:
        """As :meth:`compare`; returns two losses and the slopes of one, see :meth:`Kernels.score`."""
        return self.kernels.score(waves.detector, *self._beside(batch), floor, loss, self.model.response)

    def _beside(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor, float, float]:
        """Arguments of the kernels that compare: all counts, the batch's indices, masks, mask_of, unit, background."""
        data = self.data
        return data.patterns, batch.indices, data.valid, data.mask_of, self.model.detector_unit**2, self.background

    def add_gradient(
        self,
        transmission: Tensor,
        spectra: Tensor,
        batch: Batch,
        loss: Loss,
        of_object: Tensor,
        of_probe: Tensor | None,
        of_positions: Tensor | None,
    ) -> tuple[float, float]:
        """Add half of dL/dRe + i dL/dIm of a batch for the object and, if asked for, the probe; set it for positions.

        Args:
            transmission, spectra: the state, in the form of :class:`ForwardModel`.
            batch: the patterns.
            loss: L.
            of_object: gradient for the object, like ``transmission``.
            of_probe: gradient for the probe, like ``spectra``; None where the probe is held.
            of_positions: (position, 2), half of the gradient in 1/pixel; None where positions stay.

        Returns:
            The loss and the squared intensity residual.
        """
        model, kernels = self.model, self.kernels
        waves = model.waves(transmission, spectra, batch)
        of_batch = self.compare(waves, batch, loss)
        leaving = model.from_detector(waves.take_detector(), batch)
        for index in reversed(range(len(transmission))):
            leaving = model.pull_back(index, waves, leaving, transmission, batch, of_object[index])
        if of_probe is None and of_positions is None:
            return of_batch
        slopes = model.slopes_of_spectra(leaving)
        if of_probe is not None:
            kernels.add_unshifted(slopes, batch.ramp_y, batch.ramp_x, of_probe)
        if of_positions is not None:
            of_positions[batch.indices] = kernels.shift_slopes(slopes, spectra, batch.ramp_y, batch.ramp_x)
        return of_batch

    def consistency(self, squared_residual: float) -> float:
        """Intensity consistency ``1 - ||y - Hx|| / ||y||``."""
        return consistency(squared_residual, self.data.norm)


def loss_scale(loss: Loss, mean: float) -> float:
    """The divisor of a loss that makes its curvature for the object about the illumination over ``mean``."""
    return mean**2 if loss == "intensity" else mean
