"""A reconstruction in progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class State:
    """Object, probe and positions, and how well they explained the data on the way.

    Attributes:
        transmission: (slice, rows, columns) complex object.
        spectra: (mode, det_y, det_x) complex probe, as the forward model wants it.
        moved: (position, 2) displacements (y, x) of the scan positions in object pixels.
        squared_residuals: sum of (I - y)^2 over valid pixels in each iteration; of a stepwise solver while it updates.
        stopped: whether the caller asked for an early end.
    """

    transmission: Tensor
    spectra: Tensor
    moved: Tensor
    squared_residuals: list[float] = field(default_factory=list)
    stopped: bool = False


Report = Callable[[int, float], bool]
"""Called with (iterations done, squared residual); False asks to stop."""
