"""Whether a value that seems not to depend on a parameter really does not: evaluations far away show it.

Where the surrogate takes what it does not understand for scatter, a dependence hides in that. Evaluations close to the
maximum show how much of it is scatter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from autotune.objective import Value
from autotune.problem.space import Dimension, Floats, Space
from autotune.surrogate.model.gradient_model import GradientGP
from autotune.surrogate.optimum.locations import DEPENDS
from autotune.surrogate.optimum.verdicts import Because, Verdict

Check = Callable[[Mapping[str, Value]], tuple[float, Mapping[str, float]] | None]
"""From parameter values to the metric of a full evaluation there, larger is better, and its derivatives per unit of
each parameter; None where that fails."""
FAR = (0.1, 0.9)
"""Unit-cube coordinates at which a parameter that seems not to matter is evaluated."""
NEAR = 2e-3
"""How far all of these are moved from the maximum, up and down, to see how evaluations scatter."""


def show_flat(
    verdicts: dict[str, Verdict],
    check: Check | None,
    model: GradientGP,
    top: Floats,
    seems: Sequence[tuple[Dimension, int]],
    tilts: Mapping[str, float],
    space: Space,
) -> None:
    """Evaluate far from the maximum along each coordinate that seems flat, all else held there.

    Where the value there differs by more than noise and scatter explain, the coordinate is not flat: the search has not
    found what it does. (With all else fitted to the other value it could only be higher.)

    Args:
        verdicts: name -> verdict; ``flat`` becomes ``not_found`` where that is so.
        check: makes the evaluations; None where none can be made, and nothing is called flat then.
        model: the model of the value.
        top: (D,) the maximum of its mean.
        seems: the dimensions that seem flat, each with its column.
        tilts: name -> standard deviation, by the measurement's noise, of the value's slope along the unit coordinate.
            For a parameter without one, all that the surrogate takes for scatter is allowed for.
        space: the search space.
    """
    if check is None:
        verdicts.update({dimension.name: Verdict("not_found", because="not_evaluated") for dimension, _ in seems})
    if check is None or not seems:
        return
    at_top, scatter = _value(check, space, top), 0.0
    columns = [column for dimension, column in seems if dimension.name in tilts]
    if columns:
        close = [np.clip(top[columns] + by, 0.0, 1.0) for by in (-NEAR, NEAR)]
        near = [_value(check, space, _moved(top, columns, to)) for to in close]
        scatter = float(np.abs(np.array(near) - at_top).max())
    for dimension, column in seems:
        tilt = tilts.get(dimension.name, 0.0)
        unsure = scatter if dimension.name in tilts else max(scatter, model.noise_deviation)
        for far in FAR:
            allowed = DEPENDS * (unsure + tilt * abs(far - top[column]))
            difference = abs(_value(check, space, _moved(top, [column], far)) - at_top)
            if not difference <= allowed:
                because: Because = "failed" if math.isnan(difference) else "depends"
                verdicts[dimension.name] = Verdict("not_found", because=because)
                break


def _value(check: Check, space: Space, point: Floats) -> float:
    """The value of a full evaluation at a point, (D,); NaN where it fails."""
    at = check(space.from_unit(point))
    return math.nan if at is None else at[0]


def _moved(top: Floats, columns: Sequence[int], to: float | Floats) -> Floats:
    point: Floats = top.copy()
    point[list(columns)] = to
    return point
