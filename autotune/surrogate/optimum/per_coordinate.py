"""What an objective tells of its gradient, per unit of its parameters, in coordinates of the unit cube; and back.

The steps that it is asked to take are found in the cube and given in the parameters' units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from autotune.objective import Value
from autotune.problem.space import Dimension, Floats, Space
from autotune.surrogate.model.gradient_model import GradientGP
from autotune.surrogate.model.history import History
from autotune.surrogate.optimum.intervals import in_own_unit
from autotune.surrogate.optimum.locations import curvatures
from autotune.surrogate.optimum.model_errors import Deviations, ModelErrors

STEPS = (5e-4, 0.1)
"""Shortest and longest step, in unit-cube coordinates, of the differences that derivatives of errors are taken by."""
_STRETCHED = 0.03
"""Logarithm of the ratio of the values at both ends of such a step, at most."""
DEVIATIONS = 3.0
"""Length of such a step in standard deviations of the noise, at least."""
_TRUST = 0.5
"""Relative standard error of the surrogate's curvature at its maximum."""
DROP = 3e-4
"""Drop of the value over such a step, in standard deviations of all values, at least. Two reconstructions that were
given almost the same values differ by more than these values do, since rounding errors grow; at 1e5 electrons a
pattern the noise is smaller than that."""


def scores_of(
    gradients: Sequence[Mapping[str, float]], values: Mapping[str, Value], space: Space, names: Sequence[str]
) -> Floats | None:
    """Derivatives per unit-cube coordinate, (b, k), NaN where not known; None for fewer than two repetitions."""
    if len(gradients) < 2:
        return None
    per_coordinate = [space.gradient_to_unit(values, gradient) for gradient in gradients]
    return np.array([[slopes.get(name, np.nan) for name in names] for slopes in per_coordinate])


def errors_of(errors: ModelErrors, values: Mapping[str, Value], space: Space, names: Sequence[str]) -> Deviations:
    """Errors of the model per unit-cube coordinate; 0 where one does not act."""

    def rows(slopes: Sequence[Mapping[str, float]]) -> Floats:
        found = [space.gradient_to_unit(values, {n: s for n, s in each.items() if n in names}) for each in slopes]
        return np.array([[row.get(name, 0.0) for name in names] for row in found]).reshape(len(found), len(names))

    curvature = None
    if errors.curvature:
        # Both the derivative and the step are per unit of a parameter.
        per_unit = space.gradient_to_unit(values, dict.fromkeys(names, 1.0))
        bent = {name: errors.curvature.get(name, {}) for name in names}
        units = np.array([per_unit.get(name, np.nan) for name in names])
        curvature = np.array([[bent[a].get(b, np.nan) for b in names] for a in names]) * np.outer(units, units)
    of_errors = (rows(errors.pulls), rows(errors.noise), rows(errors.shifts))
    confounded = steps_in_cube(errors.confounded, values, space, names)
    again = rows(errors.again) if errors.again else None
    return Deviations(*of_errors, curvature, again, np.nan_to_num(confounded))


def not_sharper(errors: Deviations, curvature: Floats) -> Deviations:
    """The same errors, with a measured curvature that is nowhere sharper than ``curvature`` (k,), which is below 0.

    Where it comes from differences of whole reconstructions without derivatives, all that two of them differ by anyhow
    is in it, squared.
    """
    if errors.curvature is None:
        return errors
    measured = np.maximum(-errors.curvature.diagonal(), 1e-300)
    share = np.clip(np.maximum(-curvature, 1e-300) / measured, 0.0, 1.0) ** 0.5
    return replace(errors, curvature=errors.curvature * np.outer(share, share))


def steadied(errors: Deviations, curvature: Floats, steps: Floats) -> Deviations:
    """The same errors, with a measured curvature that gives way to ``curvature`` as far as it is not known.

    It is a difference of two slopes over a step. Slopes of evaluations that are as valid differ, too, such as those on
    other grids: over a short step, that may be most of the difference, or take it away. The surrogate's, from trials
    farther away, is trusted to within :data:`_TRUST`; both are weighed by their variances.

    Args:
        errors: errors of the model along k coordinates.
        curvature: (k,) that of the surrogate; below 0 at a maximum.
        steps: (k,) lengths of the steps, in unit-cube coordinates; NaN where none was taken.
    """
    if errors.curvature is None or errors.again is None:
        return errors
    rough = np.concatenate([np.zeros((1, errors.again.shape[1])), errors.again]).std(axis=0, ddof=1)
    measured = 2 * np.square(rough / steps)
    prior = np.square(_TRUST * np.minimum(curvature, 0.0))
    share = np.where((prior > 0) & np.isfinite(measured), prior / np.where(prior > 0, prior + measured, 1.0), 1.0)
    weight = np.sqrt(share)
    return replace(errors, curvature=errors.curvature * np.outer(weight, weight) + np.diag((1 - share) * curvature))


def steps_in_cube(
    steps: Mapping[str, float], values: Mapping[str, Value], space: Space, names: Sequence[str]
) -> Floats:
    """Lengths (k,) of steps of :func:`find_steps` in unit-cube coordinates; NaN where there is none."""
    per_unit = space.gradient_to_unit(values, dict.fromkeys(names, 1.0))
    return np.array([abs(steps[name] / per_unit[name]) if steps.get(name) else np.nan for name in names])


def without_slope(
    history: History, numeric: Sequence[tuple[Dimension, int]], *, at_last: bool
) -> list[tuple[Dimension, int]]:
    """The mismatch parameters, each with its column, along which the value's slope is not known.

    Args:
        history: the trials.
        numeric: parameters and columns.
        at_last: whether the last trial is at the maximum, and says it; else any trial does.
    """
    gradient = np.full_like(history.X, np.nan) if history.gradient is None else history.gradient
    tells = gradient[-1:] if at_last else gradient
    moved = [(d, c) for d, c in numeric if d.type == "float" and d.kind == "mismatch"]
    return [(d, c) for d, c in moved if not np.isfinite(tells[:, c]).any()]


def find_steps(
    model: GradientGP,
    top: Floats,
    numeric: Sequence[tuple[Dimension, int]],
    smooth: Sequence[int],
    scores: Floats | None,
    drop: float = 0.0,
) -> dict[str, float]:
    """A step for the difference of two reconstructions along each mismatch, in what derivatives are by, into its range.

    It is so large that the change of the counts expected stands out from what two reconstructions of one measurement
    differ by anyhow, and so small that it is nearly linear: a few standard deviations of the noise or, if that is more,
    what lowers the value by :data:`DROP`, or by ``drop`` (in the same unit); within the limits of :data:`STEPS`. On a
    logarithmic scale it is short enough that a unit of the parameter means about the same at both ends.
    """
    curvature = curvatures(model, top, [start for _, start in numeric], smooth)
    noise = np.full(len(numeric), np.nan) if scores is None else scores.std(axis=0, ddof=1)
    steps: dict[str, float] = {}
    for i, (dimension, column) in enumerate(numeric):
        if dimension.type != "float" or dimension.kind != "mismatch":
            continue
        bent = max(-float(curvature[i]), 1e-300)
        length = max(DEVIATIONS * float(np.nan_to_num(noise[i])) / bent, (2 * max(DROP, drop) / bent) ** 0.5)
        longest = min(STEPS[1], _STRETCHED / math.log(dimension.high / dimension.low)) if dimension.log else STEPS[1]
        length = min(max(length, STEPS[0]), longest)
        u = top[column]
        ends = in_own_unit(dimension, np.array([u, u + length if u + length <= 1.0 else u - length]))
        steps[dimension.name] = dimension.acting(float(ends[1])) - dimension.acting(float(ends[0]))
    return steps
