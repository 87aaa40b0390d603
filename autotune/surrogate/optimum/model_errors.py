"""What errors of the model do to an optimum: deviations of the metric's derivative at it, larger is better.

Where the model is right, each part of the data (a region of a detector, say) has its optimum at the same parameter
values but for noise. Where it is wrong, each part pulls its own way: its share of the gradient is not zero although the
sum is. If errors of different parts are independent, the covariance of the sum is that of R parts g_r,

    J = R / (R - 1) sum_r (g_r - g) (g_r - g)^T,    g = sum_r g_r / R

(the cluster-robust covariance: Liang and Zeger, Biometrika 73, 13 (1986)). Noise is in it, too, and as the derivatives
of the parts are those at a fixed reconstruction, far more of it than in the optimum, where the reconstruction follows.
So the covariance N that independent noise gives the sum is taken off where it is known: what is left of J - N, without
the directions in which N is the larger, is due to errors that a part's values have in common. A quantity that is stated
and held, but not known exactly, moves the derivative too, by some shift for one standard uncertainty of the quantity.
Both are given as deviations e_i, of which the covariance is sum_i e_i e_i^T.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

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
        cls,
        parts: Mapping[str, Sequence[float]],
        noise: Mapping[str, Mapping[str, float]],
        shifts: Sequence[Mapping[str, float]],
        misfit: float | None,
    ) -> ModelErrors:
        """From the parts of the gradient and N, and from its shifts by one standard uncertainty of each held value.

        Where ``noise`` is empty, all scatter of the parts counts.
        """
        names = list(parts)
        gradients = np.array([parts[name] for name in names], dtype=np.float64)
        count = gradients.shape[1] if gradients.size else 0
        if count < 2:
            return cls(tuple(shifts), misfit)
        of_noise = np.array([[noise.get(a, {}).get(b, 0.0) for b in names] for a in names])
        scatter = np.cov(gradients).reshape(len(names), -1) * count
        return cls((*_deviations(names, scatter, of_noise), *shifts), misfit)

    @property
    def explained(self) -> bool:
        """Whether the model explains the data, as far as the noise can tell."""
        return self.misfit is None or self.misfit <= MISFIT

    def times(self, factor: float) -> ModelErrors:
        """The same for the metric times ``factor``."""
        scaled = tuple({name: factor * slope for name, slope in each.items()} for each in self.deviations)
        return replace(self, deviations=scaled)


def _deviations(
    names: Sequence[str], scatter: NDArray[np.float64], of_noise: NDArray[np.float64]
) -> list[Mapping[str, float]]:
    """The deviations that make up the positive part of ``scatter`` less ``of_noise``, covariances (name, name)."""
    units = np.sqrt(scatter.diagonal())
    units[units == 0] = 1.0
    variances, directions = np.linalg.eigh((scatter - of_noise) / np.outer(units, units))
    found = directions * np.sqrt(np.clip(variances, 0.0, None))
    return [dict(zip(names, (units * found[:, i]).tolist(), strict=True)) for i in np.flatnonzero(variances > 0)]


FindModelErrors = Callable[[Mapping[str, Value]], ModelErrors | None]
"""From parameter values to the effect of errors of the model there; None where they cannot be evaluated."""
