"""What a reconstruction is compared with: the counts, which of them are valid, and the measure of the misfit."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property

import torch
from torch import Tensor

from objectives.ptychography.forward import Batch, ForwardModel, Waves
from objectives.ptychography.kernels import Kernels, Loss
from objectives.ptychography.machine import Machine

_FLOOR = 1e-4
"""Expected counts assumed in every pixel where amplitudes or likelihoods are compared, over the mean count."""


class Data:
    """Measured counts on the device that reconstructs them. The patterns are not copied on the CPU.

    Attributes:
        patterns: (position, det_y, det_x) float32 counts.
        valid: (det_y, det_x) 1 on valid pixels, 0 elsewhere.
        total: counts in all valid pixels.
        norm: sum of squares of the counts in valid pixels.
    """

    def __init__(self, patterns: Tensor, valid: Tensor, machine: Machine) -> None:
        self.machine = machine
        self.patterns = patterns.to(machine.device)
        self.valid = valid.to(machine.device, machine.real)
        self.total, self.norm = 0.0, 0.0
        for block in self.patterns.split(max(1, machine.pixels_per_batch // valid.numel())):
            counted = block * self.valid
            self.total += float(counted.sum(dtype=torch.float64))
            self.norm += float(counted.square().sum(dtype=torch.float64))

    @cached_property
    def mean(self) -> float:
        """Mean count of the valid pixels; the unit in which losses are scaled."""
        return self.total / (len(self.patterns) * float(self.valid.sum()))


class Misfit:
    """A forward model beside the data that it should explain."""

    def __init__(self, model: ForwardModel, data: Data) -> None:
        self.model, self.data = model, data
        self.background = float(model.scene.background)
        self._unmoved: dict[int, list[Batch]] = {}

    @property
    def kernels(self) -> Kernels:
        """The forward model's."""
        return self.model.kernels

    @property
    def pixels_per_batch(self) -> int:
        """Detector pixels that a pass handles at once."""
        return self.data.machine.pixels_per_batch

    def batches(self, modes: int, moved: Tensor | None = None) -> Iterable[Batch]:
        """All patterns in order, a cache's worth of ``modes`` waves each at a time; kept where no position moved."""
        if moved is not None and bool(moved.any()):
            return self.model.batches(self.pixels_per_batch // modes, moved)
        if modes not in self._unmoved:
            self._unmoved[modes] = list(self.model.batches(self.pixels_per_batch // modes))
        return self._unmoved[modes]

    def compare(self, waves: Waves, batch: Batch, loss: Loss, floor: float | None = None) -> tuple[float, float]:
        """Turns the waves at the detector into waves * dL/dI * the squared unit of the model's detector, in place.

        Args:
            waves: of the batch.
            batch: which patterns.
            loss: what is compared.
            floor: expected counts added where amplitudes or likelihoods are; a small share of the mean by default.

        Returns:
            The loss and the squared intensity residual.
        """
        floor = _FLOOR * self.data.mean if floor is None else floor
        return self.kernels.residual(waves.detector, *self._beside(batch), floor, loss)

    def score(self, waves: Waves, batch: Batch, loss: Loss, floor: float) -> tuple[float, float, float]:
        """As :meth:`compare`; both losses and the summed slopes of one, see :meth:`Kernels.score`."""
        return self.kernels.score(waves.detector, *self._beside(batch), floor, loss)

    def _beside(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, float, float]:
        """What the waves of a batch are compared with: all counts, which of them, valid pixels, unit, background."""
        return self.data.patterns, batch.indices, self.data.valid, self.model.detector_unit**2, self.background

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
        """Add half of dL/dRe + i dL/dIm of a batch for the object and, where wanted, the probe; set it for positions.

        Args:
            transmission, spectra: the state, as :class:`ForwardModel` wants it.
            batch: which patterns.
            loss: L.
            of_object: like ``transmission``.
            of_probe: like ``spectra``; None where the probe is held.
            of_positions: (position, 2), half of the slope in 1/pixel; None where positions stay.

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
        return 1 - math.sqrt(squared_residual / self.data.norm)


def loss_scale(loss: Loss, mean: float) -> float:
    """What a loss is divided by, so that its curvature for the object is about the illumination over ``mean``."""
    return mean**2 if loss == "intensity" else mean
