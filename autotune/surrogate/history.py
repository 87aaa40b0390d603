"""What the surrogate sees of a study: an Optuna study's trials as arrays over the unit cube."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autotune.space import Floats, Space
from autotune.store import INTERRUPTED, gradient_of

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
        gradient: derivatives of the values, shape (n, D), per unit-cube coordinate; NaN where one is not known; None
            where none is.
    """

    X: Floats
    y: Floats
    pending: Floats
    position: int
    gradient: Floats | None = None

    @property
    def has_gradient(self) -> bool:
        """Whether any derivative is known."""
        return self.gradient is not None and bool(np.isfinite(self.gradient).any())

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
    gradient: list[Floats] = []
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
            gradient.append(sign * _slope(other, space))
        else:
            pending.append(point)
    values = np.array(y, dtype=np.float64)
    width = space.width
    return History(_matrix(X, width), values, _matrix(pending, width), position, _matrix(gradient, width))


def _slope(trial: FrozenTrial, space: Space) -> Floats:
    """The trial's derivatives per unit-cube coordinate, shape (D,); NaN where it has none."""
    known = space.gradient_to_unit(trial.params, gradient_of(trial))
    slopes = [[known.get(d.name, math.nan)] * d.width for d in space.dimensions]
    return np.array([slope if math.isfinite(slope) else math.nan for of_one in slopes for slope in of_one])


def _matrix(points: list[Floats], width: int) -> Floats:
    return np.array(points, dtype=np.float64).reshape(len(points), width)
