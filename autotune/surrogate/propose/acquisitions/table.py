"""The table of acquisition functions, and the choice among them."""

from __future__ import annotations

from autotune.surrogate.propose.acquisitions import (
    hypervolume_improvement,
    improvement_with_gradients,
    limits_first,
    log_expected_improvement,
    noisy_log_expected_improvement,
)
from autotune.surrogate.propose.acquisitions.protocol import Acquisition, Situation

ACQUISITIONS: tuple[Acquisition, ...] = (
    Acquisition("limits first", limits_first.suits, limits_first.make, in_the_metrics_unit=False),
    Acquisition(
        "hypervolume improvement",
        hypervolume_improvement.suits,
        hypervolume_improvement.make,
        in_the_metrics_unit=False,
    ),
    Acquisition("improvement with gradients", improvement_with_gradients.suits, improvement_with_gradients.make),
    Acquisition("log-EI", log_expected_improvement.suits, log_expected_improvement.make),
    Acquisition("qLogNEI", noisy_log_expected_improvement.suits, noisy_log_expected_improvement.make),
)
"""In order: the first row that suits is used. The last one always suits."""


def choose(situation: Situation) -> Acquisition:
    """The first acquisition function of the table that suits."""
    return next(acquisition for acquisition in ACQUISITIONS if acquisition.suits(situation))
