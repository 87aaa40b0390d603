"""What the data say of each parameter: known, or not, and why not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.stats import norm

from autotune.problem.space import Dimension, Floats
from autotune.surrogate.model.gradient_model import GradientGP
from autotune.surrogate.optimum.locations import Locations

FLAT = 0.8
"""A 90 % interval that covers more of the range than this says nothing about the parameter."""
CORRELATED = 0.9
"""Coefficient from which two parameters can hardly be told apart."""

Kind = Literal["identified", "flat", "at_bound", "correlated", "sign_not_identifiable", "unsettled"]
_NORMAL = float(norm.ppf(0.95))
"""Standard deviations at the ends of a central 90 % interval."""


@dataclass(frozen=True)
class Verdict:
    """One parameter's.

    Attributes:
        kind: ``identified``: its interval is what it is; ``flat``: the interval fills the range; ``at_bound``: the best
            value is at an end of the range; ``correlated``: only a combination with another parameter is known;
            ``sign_not_identifiable``: the value with the other sign explains the data as well; ``unsettled``: the
            search has not come to the maximum.
        other: the parameter it is correlated with, or another unknown that makes up for it.
        coefficient: of that correlation; None where it is known beforehand that nothing tells the two apart.
    """

    kind: Kind
    other: str = ""
    coefficient: float | None = None


def find_verdicts(
    model: GradientGP,
    top: Floats,
    dimensions: Sequence[Dimension],
    free: Sequence[int],
    where: Locations,
    correlations: Floats,
    noisy: Collection[str],
    made_up_by: Mapping[str, str] = MappingProxyType({}),
    settled: bool = True,
) -> dict[str, Verdict]:
    """Verdicts by parameter name; where noise is not known, only those that the search alone can tell.

    Args:
        model: of the value.
        top: (D,) the maximum of its mean.
        dimensions: the k parameters that are float or int.
        free: (k,) their columns.
        where: the optimum's location.
        correlations: (k, k) of its samples.
        noisy: names of the parameters whose interval covers the noise of the measurement.
        made_up_by: names of those that no data tell -> what makes up for them.
        settled: whether the maximum is where it is taken to be.
    """
    found: dict[str, Verdict] = {}
    width = np.diff(np.percentile(where.samples, [5, 95], axis=0), axis=0)[0] if free else np.zeros(0)
    for i, dimension in enumerate(dimensions):
        j = _partner(i, correlations)
        if dimension.name in made_up_by:
            found[dimension.name] = Verdict("correlated", made_up_by[dimension.name])
        elif where.edges[i]:
            found[dimension.name] = Verdict("at_bound")
        elif where.flat[i] or (width[i] > FLAT and j is None):
            found[dimension.name] = Verdict("flat")
        elif dimension.name not in noisy and width[i] <= FLAT:
            continue
        elif j is not None:
            found[dimension.name] = Verdict("correlated", dimensions[j].name, float(correlations[i, j]))
        elif _mirrored(model, top, dimension, i, free, where):
            found[dimension.name] = Verdict("sign_not_identifiable")
        else:
            found[dimension.name] = Verdict("identified" if settled else "unsettled")
    return found


def _partner(i: int, correlations: Floats) -> int | None:
    """The coordinate that ``i`` is most correlated with, where that is too much."""
    others = np.abs(correlations[i])
    others[i] = 0.0
    j = int(others.argmax())
    return j if others[j] > CORRELATED else None


def _mirrored(
    model: GradientGP, top: Floats, dimension: Dimension, i: int, free: Sequence[int], where: Locations
) -> bool:
    """Whether a value of the other sign, with all else fitted to it, is as good as the best within the noise.

    A metric that is lower by half the size of the noise is one standard deviation away. Where the surrogate itself does
    not know the other side so well, nothing is said.
    """
    if dimension.type != "float" or not dimension.low < 0 < dimension.high or where.noise is None:
        return False
    zero, column = dimension.to_unit(0.0)[0], free[i]
    mirrored = 2 * zero - top[column]
    if not 0 <= mirrored <= 1 or abs(top[column] - zero) <= 2 * _NORMAL * float(where.samples[:, i].std()):
        return False  # the interval holds zero, or nearly
    start = top.copy()
    start[column] = mirrored
    drop, deviation = _drop(model, top, start, column, free, zero)
    return drop + deviation < _NORMAL**2 * where.noise.size / 2


def _drop(
    model: GradientGP, top: Floats, start: Floats, column: int, free: Sequence[int], zero: float
) -> tuple[float, float]:
    """How much lower the value is at the best point near ``start`` than at ``top``, and the deviation of that.

    ``column`` stays on the side of ``zero`` where it starts, and half as far away at least.
    """
    higher = model.improvement(torch.as_tensor(top))
    half = (zero + start[column]) / 2
    ends = {column: (half, 1.0) if start[column] > zero else (0.0, half)}

    def loss(x: Floats) -> tuple[float, Floats]:
        point = torch.as_tensor(start).clone()
        point[list(free)] = torch.as_tensor(x)
        point.requires_grad_(True)
        mean = higher(point[None])[0].sum()
        (slope,) = torch.autograd.grad(mean, point)
        return -float(mean.detach()), -slope[list(free)].numpy()

    bounds = [ends.get(c, (0.0, 1.0)) for c in free]
    best = minimize(loss, start[list(free)], jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 30})
    point = torch.as_tensor(start).clone()
    point[list(free)] = torch.as_tensor(best.x)
    with torch.no_grad():
        mean, variance = higher(point[None])
    return -float(mean[0]), float(variance[0].clamp(min=0).sqrt())
