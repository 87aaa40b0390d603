"""Load patterns: cut them while reading, check them and convert them to float32, block by block.

Besides the float32 patterns, memory holds only one block of a few megabytes (or one HDF5 chunk, where that is larger)
and the temporary arrays of its checks.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autotune.objective import InputError, Problem
from objectives.diffraction.data.contents import Contents, describe_type
from objectives.diffraction.data.pattern_turns import central, orient
from objectives.diffraction.data.room import require_room
from objectives.diffraction.data.selection import Selection, blocks


def load_patterns(
    contents: Contents,
    selection: Selection,
    bad: NDArray[np.bool_],
    negative: Literal["refuse", "clip"] = "refuse",
) -> tuple[NDArray[np.float32], bool]:
    """Read the selected frames.

    Args:
        contents: the open file.
        selection: which frames and pixels are kept.
        bad: bool (crop_y, crop_x), True on pixels whose values are ignored and set to zero.
        negative: whether negative values are refused or set to zero.

    Returns:
        float32 (position, crop_y, crop_x) with the beam at (N//2, N//2), and whether the values are counted
        quanta: an integer type, or whole numbers throughout.

    Raises:
        InputError: values are not numbers, not finite, negative, or all zero.
    """
    where = f"{contents.path}: {contents.frames_name}"
    dtype = contents.frames.dtype
    if dtype.kind not in "iuf":
        raise InputError(Problem(where, f"holds {describe_type(dtype)}", "counts or intensities are expected"))
    scan = tuple(len(axis) for axis in selection.kept)
    require_room(where, (*scan, *selection.crop), np.dtype(np.float32))
    patterns = np.empty((*scan, *selection.crop), np.float32)
    numbers = selection.frames.reshape(scan)
    flaws = _Flaws(where, dtype)
    for stored, kept in blocks(selection, contents.frames):
        block = _cut(contents, selection, stored)
        block[:, bad] = 0
        flaws.check(block, numbers[kept].ravel())
        if negative == "clip" and block.dtype.kind != "u":
            np.maximum(block, 0, out=block)
        with np.errstate(over="ignore"):  # already recorded as not finite
            patterns[kept] = block.reshape(patterns[kept].shape)
    flaws.raise_any(negative)
    counted = contents.counted if contents.counted is not None else flaws.whole
    patterns = patterns.reshape(-1, *selection.crop)
    _check_blank(where, patterns, selection.frames, counted)
    return patterns, counted


def _cut(contents: Contents, selection: Selection, stored: tuple[slice, ...]) -> NDArray[Any]:
    """Copy the central pixels of the turned frames of one block, (position, y, x), in the file's own type."""
    if contents.corner:
        whole = np.asarray(contents.frames[(*stored, slice(None), slice(None))])
        turned = orient(np.fft.fftshift(whole, axes=(-2, -1)), selection.orientation)
        y, x = central((turned.shape[-2], turned.shape[-1]), selection.crop)
        turned = turned[..., y, x]
    else:
        turned = orient(np.asarray(contents.frames[(*stored, *selection.window)]), selection.orientation)
    block = turned.reshape(-1, *selection.crop)
    fit = block.flags.owndata and block.flags.writeable and block.dtype.isnative
    return block if fit else np.array(block, dtype=block.dtype.newbyteorder("="))


class _Flaws:
    """Counts unusable values over all blocks."""

    def __init__(self, where: str, dtype: np.dtype[Any]) -> None:
        self.where = where
        self.whole = True
        # Dead pixels of hybrid detectors (Eiger) are stored as the largest value of the type.
        self.dead = np.iinfo(dtype).max if dtype.kind in "iu" and dtype.itemsize >= 4 else None
        self.counts = {"not finite": 0, "negative": 0, "dead": 0}
        self.first: dict[str, str] = {}

    def check(self, block: NDArray[Any], chosen: NDArray[np.intp]) -> None:
        """Check one block of frames; ``chosen`` are their indices in the file."""
        if block.dtype.kind == "f":
            finite = np.abs(block) <= np.finfo(np.float32).max  # a value beyond float32 counts as infinite
            self._record("not finite", ~finite, block, chosen)
            self.whole = self.whole and bool(np.all(block == np.floor(block), where=finite))
        if block.dtype.kind != "u":
            self._record("negative", block < 0, block, chosen)
        if self.dead is not None:
            self._record("dead", block == self.dead, block, chosen)

    def _record(self, kind: str, flawed: NDArray[np.bool_], block: NDArray[Any], chosen: NDArray[np.intp]) -> None:
        count = int(np.count_nonzero(flawed))
        if count and kind not in self.first:
            frame, y, x = np.unravel_index(int(np.argmax(flawed)), flawed.shape)
            self.first[kind] = f"first {block[frame, y, x]} in pattern {chosen[frame]} at used pixel ({y}, {x})"
        self.counts[kind] += count

    def raise_any(self, negative: Literal["refuse", "clip"]) -> None:
        """Raise InputError if any value was unusable."""
        remedies = {
            "not finite": ("NaN or infinite", "mask these pixels (objective.data.mask) or repair the file"),
            "negative": (
                "negative",
                "counts and intensities are not negative; undo the background subtraction, or set them to zero with "
                "objective.data.negative: clip",
            ),
            "dead": (
                "the largest number of their type",
                "detectors mark dead pixels so; give a mask with objective.data.mask",
            ),
        }
        problems = [
            Problem(self.where, f"{self.counts[kind]} values are {word} ({self.first[kind]})", remedy)
            for kind, (word, remedy) in remedies.items()
            if self.counts[kind] and not (kind == "negative" and negative == "clip")
        ]
        if problems:
            raise InputError(problems)


def _check_blank(where: str, patterns: NDArray[np.float32], chosen: NDArray[np.intp], counted: bool) -> None:
    """Refuse data without signal: every pattern zero, or single blank patterns that chance cannot explain.

    A Poisson pattern with mean m counts is blank with probability exp(-m). Blank patterns, such as those of a closed
    shutter, are refused where the expected number of blank patterns in such a scan is below 1e-6.
    """
    totals = patterns.sum(axis=(1, 2), dtype=np.float64)
    blank = np.flatnonzero(totals == 0)
    if blank.size == totals.size:
        raise InputError(Problem(where, "every value used is zero", "patterns with signal are expected"))
    by_chance = counted and totals.size * math.exp(-float(totals.mean())) > 1e-6
    if blank.size and not by_chance:
        listed = ", ".join(str(chosen[i]) for i in blank[:5]) + (", ..." if blank.size > 5 else "")
        raise InputError(
            Problem(
                where,
                f"{blank.size} of {totals.size} patterns are all zero (pattern {listed})",
                f"the mean pattern holds {totals.mean():.4g}; remove blank frames and their positions",
            )
        )
