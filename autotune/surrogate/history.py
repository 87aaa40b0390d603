"""What the surrogate sees of a study: an Optuna study's trials as arrays over the unit cube."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autotune.space import Floats, Space
from autotune.store import INTERRUPTED

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class History:
    """Trials before the one being asked.

    Attributes:
        X: evaluated points, shape (n, D).
        y: their values, shape (n,), finite, larger is better.
        pending: points, shape (m, D), that are running or ended without a value (failed, pruned, not finite):
            no value is known, and nothing is gained by asking for them again.
        position: how many trials count before this one; 0 for the first.
    """

    X: Floats
    y: Floats
    pending: Floats
    position: int

    @property
    def known(self) -> Floats:
        """Every point that need not be asked again, shape (n + m, D)."""
        return np.concatenate([self.X, self.pending])


def read_history(study: Study, trial: FrozenTrial, space: Space) -> History:
    """Read the trials of ``study`` other than ``trial``, the one being asked.

    Trials whose parameters are not (or not yet) those of ``space`` are counted but give no point.
    """
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    sign = -1.0 if study.direction == StudyDirection.MINIMIZE else 1.0
    X: list[Floats] = []
    y: list[float] = []
    pending: list[Floats] = []
    position = 0
    for other in sorted(study.get_trials(deepcopy=False), key=lambda t: t.number):
        waiting = other.state == TrialState.WAITING
        if other.number == trial.number or waiting or other.user_attrs.get(INTERRUPTED):
            continue
        position += other.number < trial.number
        if not set(space.names) <= set(other.params):
            continue
        point = space.to_unit(other.params)
        value = other.value if other.state == TrialState.COMPLETE else None
        if value is not None and math.isfinite(value):
            X.append(point)
            y.append(sign * value)
        else:
            pending.append(point)
    return History(_matrix(X, space.width), np.array(y, dtype=np.float64), _matrix(pending, space.width), position)


def _matrix(points: list[Floats], width: int) -> Floats:
    return np.array(points, dtype=np.float64).reshape(len(points), width)
