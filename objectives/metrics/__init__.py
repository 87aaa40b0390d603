"""Metrics of how well a model explains a measurement, and of how good a reconstruction is: pure functions of arrays.

:mod:`objectives.metrics.counts` compares expected with measured counts: consistency, Poisson deviance, the noise
ceiling. :mod:`objectives.metrics.images` assesses reconstructions: phase contrast, and PSNR, SSIM and correlation where
the truth is known. :mod:`objectives.metrics.resolution` compares two reconstructions from half of the data each.

To add a metric, write its function here, and let each objective that should report it do so: an objective lists its
metrics in ``metrics()`` and returns their values from ``evaluate()`` (:class:`autotune.objective.Objective`).

Metrics are computed on the frozen final state of a reconstruction, never as a running average while a solver still
updates it. A held-out metric is the same function of counts that the solver never saw
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
from objectives.metrics.phase_plane import aligned_phases, flattened, phase_plane
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
