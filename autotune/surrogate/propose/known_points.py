"""Which points have been evaluated, or are being evaluated, so that they need not be asked again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autotune.problem.space import Floats
from autotune.surrogate.model.history import History

REPEAT_TOLERANCE = 1e-5
"""Points closer than this in every coordinate are one point."""


def is_known(point: Floats, history: History, level: int) -> bool:
    """Whether a point, (D,), has been or is being evaluated at that level."""
    return not bool(are_new(point[None], history, level)[0])


def are_new(points: Floats, history: History, level: int = 0) -> NDArray[np.bool_]:
    """Which of the points, (r, D), have not been evaluated at that level and are not being evaluated, (r,)."""
    new: NDArray[np.bool_] = distances(points, history.known(level)) > REPEAT_TOLERANCE
    return new


def distances(points: Floats, others: Floats) -> Floats:
    """Largest coordinate difference of ``points``, shape (r, D), to the nearest of ``others``; (r,)."""
    if len(others) == 0:
        return np.full(len(points), np.inf)
    nearest: Floats = np.abs(points[:, None, :] - others[None, :, :]).max(axis=-1).min(axis=1)
    return nearest
