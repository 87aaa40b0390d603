"""Compare scan positions with the true ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def position_error(positions: NDArray[np.floating], true: NDArray[np.floating]) -> float:
    """Root mean square distance of ``positions`` (n, 2) from ``true`` (n, 2), in their unit, without the common shift.

    Nothing that is measured tells a shift of all positions from a shift of the object.
    """
    off = np.asarray(positions, np.float64) - np.asarray(true, np.float64)
    return float(np.sqrt(np.square(off - off.mean(axis=0)).sum(axis=1).mean()))
