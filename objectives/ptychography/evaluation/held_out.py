"""Choose the counts that are withheld from a reconstruction, so that the metric on them shows over-fitting.

Data error rewards over-fitting: more modes, more iterations and weaker penalties always explain the fitted counts
better. Counts that the solver does not see are explained better only by a better model (cross-validation; for phase
retrieval the free R factor, Bruenger, Nature 355, 472 (1992)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autotune.objective import InputError, Problem

if TYPE_CHECKING:
    from objectives.ptychography.settings import HeldOutSettings

_MASKS = 16
"""Number of different sets of withheld pixels: enough that a pixel withheld in one pattern is seen in the next ones. A
set for every pattern would take as much memory as the patterns."""


@dataclass(frozen=True)
class Split:
    """The two parts of a measurement's counts.

    Attributes:
        seen: (mask, det_y, det_x) bool, pixels that the solver sees.
        withheld: (mask, det_y, det_x) bool, pixels that it does not see; together the two are the valid pixels.
        mask_of: (position,) int64, index of each pattern's mask.
    """

    seen: NDArray[np.bool_]
    withheld: NDArray[np.bool_]
    mask_of: NDArray[np.int64]


def split_counts(valid: NDArray[np.bool_], positions: int, settings: HeldOutSettings) -> Split:
    """Draw the withheld counts; equal arguments give equal parts.

    ``pixels``: a random share of the valid pixels, a different one in each of up to 16 groups of patterns, which are
    drawn at random, too. ``patterns``: a random share of whole patterns. At least one is withheld, and one seen.

    Args:
        valid: (det_y, det_x).
        positions: number of patterns.
        settings: kind, share and seed of the withheld counts.

    Raises:
        InputError: there is only one pixel, or pattern.
    """
    count = int(valid.sum()) if settings.of == "pixels" else positions
    if count < 2:
        wrong = f"'{settings.of}' cannot be withheld of a measurement with {count}"
        raise InputError(Problem("objective.held_out.of", wrong, "withhold the other one of pixels and patterns"))
    random = np.random.default_rng(settings.seed)
    drawn = min(count - 1, max(1, round(settings.fraction * count)))
    if settings.of == "patterns":
        mask_of = np.zeros(positions, np.int64)
        mask_of[random.choice(positions, drawn, replace=False)] = 1
        withheld = np.stack([np.zeros_like(valid), valid])
    else:
        masks = min(_MASKS, positions)
        mask_of = random.permutation(np.arange(positions) % masks)
        withheld = np.zeros((masks, *valid.shape), np.bool_)
        for mask in withheld:
            mask.flat[random.choice(np.flatnonzero(valid), drawn, replace=False)] = True
    return Split(valid & ~withheld, withheld, mask_of)
