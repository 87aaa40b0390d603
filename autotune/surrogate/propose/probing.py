"""Probing: where a model that expects no more improvement may be wrong.

Derivatives make a model sure of its basin, and too sure of places that no trial has seen: where a parameter hardly
matters at the answer so far, it seems to matter nowhere. A point in which all parameters are drawn anew says little
about that, since those that are found already spoil it. A probe therefore differs from the answer in one parameter
alone.
"""

from __future__ import annotations

import itertools

import numpy as np
from botorch.acquisition.analytic import PosteriorMean
from numpy.typing import NDArray

from autotune.problem.space import Dimension, Floats, Space
from autotune.surrogate.model.coordinates import Coordinates
from autotune.surrogate.model.history import History
from autotune.surrogate.model.value_model import FittedModel
from autotune.surrogate.propose.acquisition_optimisation import evaluate
from autotune.surrogate.propose.known_points import REPEAT_TOLERANCE, distances

NARROW = 0.25
"""Share of a range that may be left untested."""
LITTLE = 0.25
"""Loss by the other parameters, in standard deviations of the values, up to which a trial tests one parameter."""


def probe(fitted: FittedModel, history: History, space: Space, answer: Floats) -> Floats | None:
    """The point that differs from the answer in one parameter, whose range has been tested least.

    A trial tests a parameter's range where its other parameters are as good as the answer's, as the model sees it. The
    probe halves the widest stretch without a tested value; of a categorical it takes a choice that none has tested. A
    trial in which the parameter was inactive does not test it.

    Args:
        fitted: the value model.
        history: the trials that it was fitted on.
        space: the search space.
        answer: the incumbent, (D,).

    Returns:
        The point, (D,), or None where no parameter has more than :data:`NARROW` of its range untested.
    """
    tried = np.concatenate([history.X, history.pending, *([] if history.failed is None else [history.failed])])
    coordinates, active_at_answer = Coordinates(space), space.active(space.from_unit(answer))
    widest, best = NARROW, None
    actives = [space.active(space.from_unit(point)) for point in tried] if space.conditional else None
    for dimension, start in coordinates.columns:
        if dimension.name not in active_at_answer:
            continue
        columns = slice(start, start + dimension.width)
        test = _only_this_differs(fitted, history, tried, answer, columns)
        if actives is not None:
            test &= np.array([dimension.name in active for active in actives], dtype=np.bool_)
        untested, value = _untested(dimension, np.concatenate([tried[test, columns], answer[None, columns]]))
        point = answer.copy()
        point[columns] = value
        point = coordinates.snap(point[None])[0]
        if untested > widest and bool(distances(point[None], tried)[0] > REPEAT_TOLERANCE):
            widest, best = untested, point
    return best


def _only_this_differs(
    fitted: FittedModel, history: History, tried: Floats, answer: Floats, columns: slice
) -> NDArray[np.bool_]:
    """Which trials, (n,), would be about as good as the answer if they had its value of one parameter."""
    alike = tried.copy()
    alike[:, columns] = answer[columns]
    means = evaluate(PosteriorMean(fitted.model), np.vstack([alike, answer]))
    close: NDArray[np.bool_] = means[-1] - means[:-1] <= LITTLE * history.y.std()
    return close


def _untested(dimension: Dimension, tests: Floats) -> tuple[float, Floats]:
    """The share of a dimension's range that no value tests, and the unit coordinates, (width,), that test it next.

    Of a categorical, half for any choice that is not tested: nothing is known of it.

    Args:
        dimension: the dimension.
        tests: values tested, (n, width), at least one.
    """
    if dimension.type == "categorical":
        untested = np.flatnonzero(tests.max(axis=0) < 0.5)
        return 0.5 * (len(untested) > 0), np.eye(dimension.width)[untested[0] if len(untested) else 0]
    if dimension.type == "int":
        values = list(range(int(dimension.low), int(dimension.high) + 1))
        known = {int(dimension.from_unit([float(u)])) for u in tests[:, 0]}
        runs = [list(run) for free, run in itertools.groupby(values, lambda v: v not in known) if free]
        longest = max(runs, key=len, default=[])
        middle = longest[len(longest) // 2] if longest else values[0]
        return len(longest) / len(values), np.array(dimension.to_unit(middle))
    ends = np.concatenate([[0.0], np.sort(tests[:, 0]), [1.0]])
    gaps = np.diff(ends)
    at = int(gaps.argmax())
    return float(gaps[at]), np.array([(ends[at] + ends[at + 1]) / 2])
