"""The acquisition function that suits a situation."""

from __future__ import annotations

from botorch.acquisition.acquisition import AcquisitionFunction

from autotune.surrogate.propose.acquisitions.protocol import Situation
from autotune.surrogate.propose.acquisitions.table import choose


def acquisition_function(situation: Situation) -> AcquisitionFunction:
    """The BoTorch function, over points (b, 1, D), of the first row of the table that suits."""
    return choose(situation).make(situation)
