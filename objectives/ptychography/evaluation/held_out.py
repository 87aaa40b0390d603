"""Which counts are withheld from a reconstruction, so that its metric on them says what it is worth.

Data error rewards over-fitting: more modes, more iterations and weaker penalties always explain better what they were
fitted to. Counts that no solver saw are explained better only by what is true of all of them (cross-validation; for
phase retrieval the free R factor, Bruenger, Nature 355, 472 (1992)).
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
"""Different sets of withheld pixels: enough for a pixel that is withheld in one pattern to be seen in the next ones. A
set for every pattern would take as much memory as the patterns."""


@dataclass(frozen=True)
class Split:
    """The two parts of a measurement's counts.

    Attributes:
        seen: (mask, det_y, det_x) bool, what the solver sees.
        withheld: (mask, det_y, det_x) bool, what it does not; the two together are the valid pixels.
        mask_of: (position,) int64, which mask is whose.
    """

    seen: NDArray[np.bool_]
    withheld: NDArray[np.bool_]
    mask_of: NDArray[np.int64]


def split_counts(valid: NDArray[np.bool_], positions: int, settings: HeldOutSettings) -> Split:
    """Draw what is withheld: equal arguments give equal parts.

    ``pixels``: a share of the valid pixels at random, others in each of up to 16 groups of patterns, which are drawn at
    random, too. ``patterns``: a share of the patterns, entirely. At least one of each is withheld, and one seen.

    Args:
        valid: (det_y, det_x).
        positions: number of patterns.
        settings: what is withheld, and how much.

    Raises:
        InputError: there is only one to withhold.
    """
    count = int(valid.sum()) if settings.of == "pixels" else positions
    if count < 2:
        what = f"'{settings.of}' cannot be withheld of a measurement with {count}"
        raise InputError(Problem("objective.held_out.of", what, "withhold the other one of pixels and patterns"))
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
