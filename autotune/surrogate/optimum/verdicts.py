"""Verdicts: whether the data identify a parameter, and if not, why not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from scipy.optimize import minimize

from autotune.problem.space import Dimension, Floats
from autotune.surrogate.model.gradient_model import GradientGP
from autotune.surrogate.optimum.intervals import NORMAL_HALF_WIDTH, widths
from autotune.surrogate.optimum.locations import Locations

FLAT = 0.8
"""An interval that covers more of the range than this says nothing about the parameter."""
CORRELATED = 0.9
"""Correlation from which two parameters can hardly be told apart."""

Kind = Literal["identified", "model_limited", "flat", "at_bound", "correlated", "sign_not_identifiable", "not_found"]
Because = Literal["", "fell_short", "failed", "depends", "not_evaluated"]
"""Why a maximum was not found: evaluated, it fell short; an evaluation to confirm it failed; the value far
from it shows that it depends on the parameter after all; or nothing was evaluated there. Empty where it was found."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on one parameter.

    Attributes:
        kind: ``identified``: the data determine it to within its interval; ``model_limited``: they would, but the model
            does not explain them, so that the interval rests on what the misfit shows of its errors; ``flat``: the
            value hardly depends on it, as evaluations far away show where they can be made;
            ``at_bound``: the best value is at an end of the range; ``correlated``: the data determine only a
            combination with another parameter; ``sign_not_identifiable``: the value with the other sign explains the
            data as well; ``not_found``: the search has not reached the maximum, or has not seen that the value
            depends on the parameter.
        other: the parameter it is correlated with, or another unknown that makes up for it.
        coefficient: the correlation; None where it is known beforehand that no data tell the two apart.
        because: why it was not found.
    """

    kind: Kind
    other: str = ""
    coefficient: float | None = None
    because: Because = ""


def find_verdicts(
    model: GradientGP,
    top: Floats,
    dimensions: Sequence[Dimension],
    free: Sequence[int],
    where: Locations,
    correlations: Floats,
    noisy: Collection[str],
    made_up_by: Mapping[str, str] = MappingProxyType({}),
    missed: Because = "",
    explained: bool | None = True,
) -> dict[str, Verdict]:
    """Judge each parameter; where noise is not known, give only the verdicts that the search alone allows.

    Args:
        model: the model of the value.
        top: (D,) the maximum of its mean.
        dimensions: the k parameters that are float or int.
        free: (k,) their columns.
        where: the optimum's location.
        correlations: (k, k) correlations of its samples.
        noisy: names of the parameters whose interval covers the noise of the measurement.
        made_up_by: names of the parameters that no data determine -> the unknown that makes up for each.
        missed: why the maximum is not one; empty where an evaluation has confirmed it, or none was made.
        explained: whether the model explains the data, as far as the noise can tell; None where that should be known
            and is not: nothing is called identified then.

    Returns:
        Parameter name -> verdict.
    """
    verdicts: dict[str, Verdict] = {}
    not_found = Verdict("not_found", because=missed)
    # Errors of the model widen an interval, but they do not make the value depend less on the parameter.
    width = widths(where.samples if where.without_model is None else where.without_model) if free else np.zeros(0)
    for i, dimension in enumerate(dimensions):
        j = _partner(i, correlations)
        if dimension.name in made_up_by:
            verdicts[dimension.name] = Verdict("correlated", made_up_by[dimension.name])
        elif where.edges[i]:
            verdicts[dimension.name] = Verdict("at_bound")
        elif where.flat[i] or (width[i] > FLAT and j is None):
            verdicts[dimension.name] = not_found if missed else Verdict("flat")
        elif dimension.name not in noisy and width[i] <= FLAT:
            if missed:
                verdicts[dimension.name] = not_found
        elif j is not None:
            verdicts[dimension.name] = Verdict("correlated", dimensions[j].name, float(correlations[i, j]))
        elif _mirrored(model, top, dimension, i, free, where):
            verdicts[dimension.name] = Verdict("sign_not_identifiable")
        else:
            if missed:
                verdicts[dimension.name] = not_found
            elif explained is not None:
                verdicts[dimension.name] = Verdict("identified" if explained else "model_limited")
    return verdicts


def _partner(i: int, correlations: Floats) -> int | None:
    """The coordinate that ``i`` is most correlated with, where that exceeds :data:`CORRELATED`; else None."""
    others = np.abs(correlations[i])
    others[i] = 0.0
    j = int(others.argmax())
    return j if others[j] > CORRELATED else None


def _mirrored(
    model: GradientGP, top: Floats, dimension: Dimension, i: int, free: Sequence[int], where: Locations
) -> bool:
    """Whether a value of the other sign, with all else fitted to it, is as good as the best within the noise.

    A metric that is lower by half the size of the noise is one standard deviation away. Where the surrogate itself is
    less certain than that of the other side, the answer is no.
    """
    if dimension.type != "float" or not dimension.low < 0 < dimension.high or where.noise is None:
        return False
    zero, column = dimension.to_unit(0.0)[0], free[i]
    mirrored = 2 * zero - top[column]
    if not 0 <= mirrored <= 1 or abs(top[column] - zero) <= 2 * NORMAL_HALF_WIDTH * float(where.samples[:, i].std()):
        return False  # the interval holds zero, or nearly
    start = top.copy()
    start[column] = mirrored
    drop, deviation = _drop(model, top, start, column, free, zero)
    return drop + deviation < NORMAL_HALF_WIDTH**2 * where.noise.size / 2


def _drop(
    model: GradientGP, top: Floats, start: Floats, column: int, free: Sequence[int], zero: float
) -> tuple[float, float]:
    """How much lower the value is at the best point near ``start`` than at ``top``, and the standard deviation of that.

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
