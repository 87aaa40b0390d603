"""How well a model explains a measurement.

Every metric is computed in one deterministic pass over the frozen final state of a reconstruction, never as a running
average while a solver still updates. ``y`` are measured and ``model`` expected counts, same shape; masked pixels are
left out of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ResidualSums:
    """Sums over patterns and valid pixels from which the consistency metrics follow; add them over batches.

    Attributes:
        intensity: sum of (y - model)^2.
        intensity_norm: sum of y^2.
        amplitude: sum of (sqrt y - sqrt model)^2.
        amplitude_norm: sum of y.
    """

    intensity: float = 0.0
    intensity_norm: float = 0.0
    amplitude: float = 0.0
    amplitude_norm: float = 0.0

    @classmethod
    def of(cls, y: Tensor, model: Tensor) -> ResidualSums:
        """Sums of one batch, any shape; both already zero on masked pixels. Accumulated in float64."""
        amplitude = (y.sqrt() - model.clamp(min=0).sqrt()).square()
        return cls(
            float((y - model).square().sum(dtype=torch.float64)),
            float(y.square().sum(dtype=torch.float64)),
            float(amplitude.sum(dtype=torch.float64)),
            float(y.sum(dtype=torch.float64)),
        )

    def __add__(self, other: ResidualSums) -> ResidualSums:
        return ResidualSums(
            self.intensity + other.intensity,
            self.intensity_norm + other.intensity_norm,
            self.amplitude + other.amplitude,
            self.amplitude_norm + other.amplitude_norm,
        )

    @property
    def consistency(self) -> float:
        """Intensity consistency ``1 - ||y - Hx|| / ||y||``: 1 is perfect; shot noise bounds it below 1."""
        return consistency(self.intensity, self.intensity_norm)

    @property
    def amplitude_consistency(self) -> float:
        """Amplitude consistency ``1 - ||sqrt y - sqrt Hx|| / ||sqrt y||``; biased at low counts, so never tuned."""
        return consistency(self.amplitude, self.amplitude_norm)


def consistency(squared_residual: float, squared_norm: float) -> float:
    """``1 - sqrt(squared_residual / squared_norm)``."""
    return 1.0 - float(squared_residual / squared_norm) ** 0.5
