"""The state of a reconstruction in progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class State:
    """Object, probe and positions, with the residuals of the iterations so far.

    Attributes:
        transmission: (slice, rows, columns) complex object.
        spectra: (mode, det_y, det_x) complex probe, in the form of the forward model.
        moved: (position, 2) displacements (y, x) of the scan positions in object pixels.
        squared_residuals: sum of (I - y)^2 over valid pixels after each iteration; of a stepwise solver, summed while
            it updates.
        stopped: whether the caller asked for an early end.
        more: metrics that the solver itself reports.
        remarks: what people should know of it, in sentences that stand by themselves.
        files: name -> content of files that a package has made of it.
    """

    transmission: Tensor
    spectra: Tensor
    moved: Tensor
    squared_residuals: list[float] = field(default_factory=list)
    stopped: bool = False
    more: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    files: Mapping[str, bytes] = field(default_factory=dict)


Report = Callable[[int, float], bool]
"""Called after every iteration with (iterations done, squared residual); returns False to stop."""


def to_the_end(iteration: int, squared_residual: float) -> bool:
    """The :data:`Report` that never stops."""
    return True
