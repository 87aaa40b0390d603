"""Twins in the search space: see :class:`autotune.objective.Twin`.

The metric is the same at both, so that a trial of one tells the same of the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from autotune.objective import Twin, Value
from autotune.problem.space import Floats, Space


def reaches(twin: Twin, space: Space) -> bool:
    """Whether some points inside the space have their twins inside it, too."""
    ranges = {d.name: (d.low, d.high) for d in space.dimensions if d.type == "float" and not d.log and not d.when}
    if not {*twin.negated, *twin.added} <= set(ranges):
        return False
    signs = all(low < 0 < high for low, high in (ranges[name] for name in twin.negated))
    return signs and all(ranges[name][1] - ranges[name][0] > abs(by) for name, by in twin.added.items())


def twin_of(twin: Twin, values: Mapping[str, Value], space: Space) -> dict[str, Value] | None:
    """The values of the other one; None where they are not in the space."""
    there: dict[str, Value] = {**values, **{name: -float(values[name]) for name in twin.negated}}
    for signs in itertools.product((1, -1), repeat=len(twin.added)):
        for sign, (name, by) in zip(signs, twin.added.items(), strict=True):
            there[name] = float(values[name]) + sign * by
        if space.contains(there):
            return there
    return None


def twin_at(twin: Twin, point: Floats, space: Space) -> Floats | None:
    """As :func:`twin_of`, for a point of the unit cube, (D,)."""
    values = twin_of(twin, space.from_unit(point), space)
    return None if values is None else space.to_unit(values)
