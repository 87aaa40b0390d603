"""The parameters of the share of the data that an evaluation uses.

They are never tuned, since the metric of less data is another metric. Their effect is in
:mod:`objectives.ptychography.evaluation.data_share`.
"""

from __future__ import annotations

import math

from autotune.objective import Parameter
from objectives.diffraction.data.measurement import FarField

BINNING = "detector_binning"
_MOST_BINNED = 8
_BINS_ACROSS_DISK = 8
"""Least number of binned pixels across the bright-field disk: the window is then 4 lambda / alpha, which holds a probe
in focus."""


def fidelity_parameters(lens: FarField | None = None) -> tuple[Parameter, ...]:
    """Share of the scan and, where ``lens`` forms the probe, binning of the detector."""
    fraction = Parameter(
        "scan_fraction",
        "1",
        "fidelity",
        1.0,
        minimum=0.01,
        maximum=1.0,
        cheaper="lower",
        description="share of the scan positions that is used: a square around the scan's middle, at least 9 of them",
    )
    if lens is None or most_binned(lens) == 1:
        return (fraction,)
    binning = Parameter(
        BINNING,
        "1",
        "fidelity",
        1,
        type="int",
        minimum=1,
        maximum=most_binned(lens),
        cheaper="higher",
        description="detector pixels along each axis that are summed to one; the probe's window shrinks as much",
    )
    return fraction, binning


def most_binned(lens: FarField) -> int:
    """Largest number of pixels along one axis that may be summed: the smaller window still holds a probe in focus."""
    if lens.semi_convergence_mrad is None or lens.angular_sampling_mrad is None:
        return 1
    across = 2 * lens.semi_convergence_mrad / max(lens.angular_sampling_mrad)
    return max(1, min(_MOST_BINNED, math.floor(across / _BINS_ACROSS_DISK)))


def why_not_binned(lens: FarField | None) -> str:
    """Say why the detector cannot be binned; ``lens`` is None where none forms the probe; empty where it can."""
    if lens is None:
        return "it needs the known probe of a lens, to make sure that the probe fits into a smaller window"
    if most_binned(lens) == 1:
        return f"with less than {2 * _BINS_ACROSS_DISK} pixels across the bright-field disk the probe would not fit"
    return ""
