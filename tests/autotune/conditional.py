"""A small search with conditions: which solver, and the settings that only some solvers have."""

from __future__ import annotations

import math
from collections.abc import Mapping

from autotune.objective import Value
from autotune.problem.space import Dimension, Space

SPACE = Space(
    (
        Dimension("step", low=1e-3, high=1.0, log=True, differentiable=True, when=(("solver", ("sgd", "momentum")),)),
        Dimension("shift", "angstrom", low=-2.0, high=2.0, differentiable=True),
        Dimension("solver", type="categorical", choices=("exact", "sgd", "momentum")),
        Dimension("decay", low=0.0, high=1.0, differentiable=True, when=(("solver", ("momentum",)),)),
        Dimension("slices", type="int", low=1, high=4, when=(("solver", ("exact", "momentum")),)),
    )
)
"""The best value is 0: momentum with step 0.05, decay 0.8, slices 3 and shift 0.7."""


def value(values: Mapping[str, Value]) -> float:
    """Larger is better; reads only the parameters that the solver has."""
    loss = ((float(values["shift"]) - 0.7) / 2) ** 2
    if values["solver"] == "exact":
        return -(loss + 0.15 + 0.02 * (int(values["slices"]) - 2) ** 2)
    loss += 0.2 * math.log10(float(values["step"]) / 0.05) ** 2
    if values["solver"] == "sgd":
        return -(loss + 0.1)
    return -(loss + (float(values["decay"]) - 0.8) ** 2 + 0.02 * (int(values["slices"]) - 3) ** 2)


def gradient(values: Mapping[str, Value]) -> dict[str, float]:
    """Derivative of :func:`value` per unit of each float that the solver has."""
    slopes = {"shift": -(float(values["shift"]) - 0.7) / 2}
    if values["solver"] != "exact":
        step = float(values["step"])
        slopes["step"] = -0.4 * math.log10(step / 0.05) / (step * math.log(10))
    if values["solver"] == "momentum":
        slopes["decay"] = -2 * (float(values["decay"]) - 0.8)
    return slopes
