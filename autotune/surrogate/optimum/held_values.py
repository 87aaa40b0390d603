"""How far the best values go when a quantity moves that is held and not known exactly.

With g the metric's gradient by the tuned parameters and C its changes per unit of each, the first step is
-C^-1 (g' - g), for the gradient g' at the held quantity's other value. A ridge along which both nearly make up for each
other is long beside the range in which the metric is quadratic: the change of the gradient where the first step ends
corrects it, as a second step of Newton's method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autotune.problem.space import Floats

Slopes = Mapping[str, float]
"""Parameter name -> derivative of the metric, or a change of it, per unit of the parameter."""

_CURVED = 1e-3
"""Least eigenvalue of a measured curvature, scaled to a diagonal of ones: below it, errors of it run away."""


def definite(curvature: Floats) -> Floats | None:
    """The symmetric part of second derivatives (k, k); None where one is not known, or where they do not curve one way
    in every direction, as they do at an optimum.
    """
    symmetric: Floats = (curvature + curvature.T) / 2
    diagonal = symmetric.diagonal()
    if len(diagonal) == 0 or not np.isfinite(symmetric).all() or not (np.all(diagonal < 0) or np.all(diagonal > 0)):
        return None
    units = np.sqrt(np.abs(diagonal))
    sign = np.sign(diagonal[0])
    return symmetric if np.linalg.eigvalsh(sign * symmetric / np.outer(units, units)).min() > _CURVED else None


def first_step(shift: Slopes, curvature: Mapping[str, Slopes], limits: Mapping[str, tuple[float, float]]) -> Slopes:
    """How far the best values move, to first order: parameter name -> move, in its unit; empty where not known.

    Args:
        shift: change of the gradient.
        curvature: name -> name -> change of the second one's derivative per unit of the first.
        limits: name -> least and largest move.
    """
    names = list(curvature)
    C = definite(_matrix(curvature, names))
    if C is None or not set(names) <= set(shift):
        return {}
    units = np.sqrt(np.abs(C.diagonal()))
    moves = -np.linalg.solve(C / np.outer(units, units), np.array([shift[n] for n in names]) / units) / units
    ends = [limits.get(name, (-np.inf, np.inf)) for name in names]
    return {name: float(np.clip(move, *end)) for name, move, end in zip(names, moves, ends, strict=True)}


def corrected(shift: Slopes, curvature: Mapping[str, Slopes], step: Slopes, left: Slopes) -> Slopes:
    """The change of the gradient for which a first step leads as far as the second one did.

    ``shift`` itself where the gradient that is left is not less, over the curvature: the step may have led to where the
    metric is another one.

    Args:
        shift: the change of the gradient at the values where it was 0.
        curvature: as for :func:`first_step`.
        step: the first step.
        left: change of the gradient where it ended.
    """
    names = list(step)
    C = definite(_matrix(curvature, names))
    if C is None or not set(names) <= set(left):
        return shift
    before, after = (np.array([slopes[name] for name in names]) for slopes in (shift, left))
    if not abs(after @ np.linalg.solve(C, after)) < abs(before @ np.linalg.solve(C, before)):
        return shift
    found = after - C @ np.array([step[name] for name in names])
    return {**shift, **dict(zip(names, found.tolist(), strict=True))}


def _matrix(of: Mapping[str, Slopes], names: Sequence[str]) -> Floats:
    return np.array([[of[a].get(b, np.nan) for b in names] for a in names]).reshape(len(names), len(names))
