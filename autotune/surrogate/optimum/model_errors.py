"""What errors of the model do to an optimum: deviations of the metric's derivative at it, larger is better.

Where the model is right, each part of the data (a region of a detector, say) has its optimum at the same parameter
values but for noise. Where it is wrong, each part pulls its own way: its share of the gradient is not zero although the
sum is. If errors of different parts are independent, the covariance of the sum is that of R parts g_r,

    J = R / (R - 1) sum_r (g_r - g) (g_r - g)^T,    g = sum_r g_r / R

(the cluster-robust covariance: Liang and Zeger, Biometrika 73, 13 (1986)). A quantity that is stated and held, but not
known exactly, moves the derivative too, by some shift for one standard uncertainty of the quantity. Both are given as
deviations e_i, of which J = sum_i e_i e_i^T.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from autotune.objective import Value

MISFIT = 3.0
"""Standard deviations of the noise by which a residual may exceed it before the model is said not to explain it."""


@dataclass(frozen=True)
class ModelErrors:
    """The effect of errors of the model at one set of parameter values.

    Attributes:
        deviations: parameter name -> change of the metric's derivative, per unit; one mapping for each error that is
            independent of the others, of one standard deviation.
        misfit: standard deviations of the noise by which the residual exceeds it; None where that is not known.
    """

    deviations: Sequence[Mapping[str, float]]
    misfit: float | None = None

    @classmethod
    def of(
        cls, parts: Mapping[str, Sequence[float]], shifts: Sequence[Mapping[str, float]], misfit: float | None
    ) -> ModelErrors:
        """From the parts of the gradient, and from its shifts by one standard uncertainty of each held value."""
        count = max((len(of_name) for of_name in parts.values()), default=0)
        scale = math.sqrt(count / (count - 1)) if count > 1 else 0.0
        means = {name: sum(of_name) / count for name, of_name in parts.items()}
        scatter = [{name: scale * (parts[name][r] - means[name]) for name in parts} for r in range(count)]
        return cls((*scatter, *shifts), misfit)

    @property
    def explained(self) -> bool:
        """Whether the model explains the data, as far as the noise can tell."""
        return self.misfit is None or self.misfit <= MISFIT

    def times(self, factor: float) -> ModelErrors:
        """The same for the metric times ``factor``."""
        scaled = tuple({name: factor * slope for name, slope in each.items()} for each in self.deviations)
        return replace(self, deviations=scaled)


FindModelErrors = Callable[[Mapping[str, Value]], ModelErrors | None]
"""From parameter values to the effect of errors of the model there; None where they cannot be evaluated."""
