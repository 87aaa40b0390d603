"""How well a model explains a measurement, and how good a reconstruction is: pure functions of arrays.

:mod:`objectives.metrics.counts` compares expected with measured counts: consistency, Poisson deviance, the noise
ceiling. :mod:`objectives.metrics.images` looks at reconstructions: phase contrast, and PSNR, SSIM and correlation where
there is a truth. :mod:`objectives.metrics.resolution` compares two reconstructions from half of the data each.

Metrics are computed on the frozen final state of a reconstruction, never as a running average while a solver still
updates. A held-out metric is the same function on counts that the solver never saw
(:mod:`objectives.ptychography.evaluation.held_out`). Nothing here imports torch.
"""

from __future__ import annotations

from objectives.metrics.counts import (
    amplitude_consistency,
    consistency,
    fraction_of_ceiling,
    intensity_consistency,
    noise_ceiling,
    poisson_deviance,
)
from objectives.metrics.images import correlation, peak_signal_to_noise, phase_contrast, structural_similarity
from objectives.metrics.planes import aligned_phases, flattened, phase_plane
from objectives.metrics.resolution import RingCorrelation, fourier_ring_correlation, half_bit_threshold

__all__ = [
    "RingCorrelation",
    "aligned_phases",
    "amplitude_consistency",
    "consistency",
    "correlation",
    "flattened",
    "fourier_ring_correlation",
    "fraction_of_ceiling",
    "half_bit_threshold",
    "intensity_consistency",
    "noise_ceiling",
    "peak_signal_to_noise",
    "phase_contrast",
    "phase_plane",
    "poisson_deviance",
    "structural_similarity",
]
