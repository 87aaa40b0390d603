"""Read the trials of an Optuna study as the surrogate's history: arrays over the unit cube."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from autotune.objective import Twin, Value
from autotune.problem.space import Floats, Space
from autotune.problem.twins import twin_at
from autotune.store.records import (
    ASKED,
    EXPECTED_IMPROVEMENT,
    INTERRUPTED,
    LEVEL,
    free_index,
    gradient_of,
    heading_of,
    reported_by,
)
from autotune.surrogate.model.history import MOST_TRIALS, History, slope_to_unit

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial


def read_histories(
    study: Study, sources: Sequence[Study], space: Space, own_levels: int, asked: FrozenTrial | None = None
) -> History:
    """Read the trials of a study, joined with those of the studies that it learns from.

    Args:
        study: the study.
        sources: the studies that it learns from.
        space: the search space.
        own_levels: how many levels of evaluations the study has; those of the sources follow.
        asked: the trial being asked, which is left out; None where none is.
    """
    history = read_history(study, asked, space)
    for level, source in enumerate(sources, start=own_levels):
        history = history.joined(read_history(source, None, space), level)
    return history.bounded(MOST_TRIALS)


def read_history(study: Study, trial: FrozenTrial | None, space: Space) -> History:
    """Read the trials of ``study`` other than ``trial``, the one being asked; all where that is None.

    Its position is the place that the store has for ``trial``, else the next free one. Trials whose parameters are not
    (or not yet) those of ``space``, or lie outside its ranges as an earlier study's may, count but give no point.
    """
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    sign = -1.0 if study.direction == StudyDirection.MINIMIZE else 1.0
    X: list[Floats] = []
    y: list[float] = []
    gradient: list[Floats] = []
    pending: list[Floats] = []
    failed: list[Floats] = []
    level: list[int] = []
    reports: list[Mapping[str, float]] = []
    expected: list[float | None] = []
    taken: list[int | None] = []
    position: int | None = None
    for other in sorted(study.get_trials(deepcopy=False), key=lambda t: t.number):
        waiting = other.state == TrialState.WAITING
        asked = trial is not None and other.number == trial.number
        if asked:
            position = _place(other)
        if asked or waiting or other.user_attrs.get(INTERRUPTED):
            continue
        if trial is None or other.number < trial.number:
            taken.append(_place(other))
            expected.append(other.user_attrs.get(EXPECTED_IMPROVEMENT))
        if not space.contains(other.params):
            continue
        point = space.to_unit(other.params)
        # A stopped trial counts with its predicted final value: far from the best, its place matters more than digits.
        value = other.value if other.state == TrialState.COMPLETE else heading_of(other)
        if value is not None and math.isfinite(value):
            X.append(point)
            y.append(sign * value)
            gradient.append(sign * _slope(other, space))
            level.append(other.user_attrs.get(LEVEL, 0))
            reports.append(reported_by(other))
        else:
            (pending if other.state == TrialState.RUNNING else failed).append(point)
    values = np.array(y, dtype=np.float64)
    points, running, slopes, lost = (_matrix(rows, space.width) for rows in (X, pending, gradient, failed))
    levels = np.array(level, dtype=np.int64)
    position = free_index(taken) if position is None else position
    return History(points, values, running, position, slopes, lost, levels, tuple(reports), tuple(expected))


def _place(trial: FrozenTrial) -> int | None:
    """The trial's place in the search; None where it was not asked by a tuner."""
    place: int | None = trial.user_attrs.get(ASKED, {}).get("index")
    return place


def _slope(trial: FrozenTrial, space: Space) -> Floats:
    """The trial's derivatives per unit-cube coordinate, shape (D,); NaN where one is missing."""
    return slope_to_unit(space, trial.params, gradient_of(trial))


def _matrix(points: list[Floats], width: int) -> Floats:
    return np.array(points, dtype=np.float64).reshape(len(points), width)


def on_side_of(values: Mapping[str, Value], history: History, twin: Twin, space: Space) -> History:
    """The history with every trial at its own values or at its twin's, whichever are nearer to ``values``."""
    to = space.to_unit(values)
    sign = np.concatenate([np.full(d.width, -1.0 if d.name in twin.negated else 1.0) for d in space.dimensions])
    X, gradient = history.X.copy(), None if history.gradient is None else history.gradient.copy()
    for i, point in enumerate(history.X):
        there = twin_at(twin, point, space)
        if there is not None and np.sum((there - to) ** 2) < np.sum((point - to) ** 2):
            X[i] = there
            if gradient is not None:
                gradient[i] *= sign
    return replace(history, X=X, gradient=gradient)
