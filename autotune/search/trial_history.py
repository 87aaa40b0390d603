"""Read an Optuna study's trials as the surrogate's history: arrays over the unit cube."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from autotune.problem.space import Floats, Space
from autotune.store.records import ASKED, EXPECTED_IMPROVEMENT, INTERRUPTED, LEVEL, gradient_of, heading_of, reported_by
from autotune.surrogate.model.history import MOST_TRIALS, History, slope_to_unit

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial


def read_histories(
    study: Study, sources: Sequence[Study], space: Space, own_levels: int, asked: FrozenTrial | None = None
) -> History:
    """The trials of a study of ``own_levels`` levels, joined with those of the studies that it learned from.

    Args:
        study: the study.
        sources: the studies that it learned from.
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

    Trials whose parameters are not (or not yet) those of ``space``, or lie outside its ranges as an earlier study's
    may, are counted but give no point.
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
    position = 0
    place: int | None = None
    for other in sorted(study.get_trials(deepcopy=False), key=lambda t: t.number):
        waiting = other.state == TrialState.WAITING
        asked = trial is not None and other.number == trial.number
        if asked:
            place = other.user_attrs.get(ASKED, {}).get("index")
        if asked or waiting or other.user_attrs.get(INTERRUPTED):
            continue
        if trial is None or other.number < trial.number:
            position += 1
            expected.append(other.user_attrs.get(EXPECTED_IMPROVEMENT))
        if not space.contains(other.params):
            continue
        point = space.to_unit(other.params)
        # A stopped trial counts as what it was heading for: far from the best, its place matters more than its digits.
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
    position = position if place is None else place
    return History(points, values, running, position, slopes, lost, levels, tuple(reports), tuple(expected))


def _slope(trial: FrozenTrial, space: Space) -> Floats:
    """The trial's derivatives per unit-cube coordinate, shape (D,); NaN where it has none."""
    return slope_to_unit(space, trial.params, gradient_of(trial))


def _matrix(points: list[Floats], width: int) -> Floats:
    return np.array(points, dtype=np.float64).reshape(len(points), width)
