"""From stored frames to checked float32 patterns: cut while reading, converted and checked block by block.

Besides the frames themselves, at most one float32 copy and one block of frames are in memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotune.objective import InputError, Problem
from objectives.data.contents import Contents, describe_type

_BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Selection:
    """Which frames and which central pixels are kept.

    Attributes:
        frames: indices of the kept frames, in order, into the flattened scan.
        scan_shape: (rows, columns) of the kept raster; None where the scan is not a raster.
        crop: kept pixels along y and x; the kept beam sits at (crop//2, crop//2).
    """

    frames: NDArray[np.intp]
    scan_shape: tuple[int, int] | None
    crop: tuple[int, int]


def select(contents: Contents, *, step: int, crop: int | None) -> Selection:
    """Work out which frames and pixels ``step`` and ``crop`` keep.

    Raises:
        InputError: the frames' shape is not a scan of patterns, or too little is left.
    """
    shape = tuple(contents.frames.shape)
    where = f"{contents.path}: {contents.frames_name}"
    if len(shape) not in (3, 4) or 0 in shape:
        raise InputError(
            Problem(
                where,
                f"has shape {shape}",
                "(position, det_y, det_x) or (scan_y, scan_x, det_y, det_x) is expected, with no empty axis",
            )
        )
    size = shape[-2:]
    if crop is not None and crop > min(size):
        raise InputError(
            Problem(
                "objective.data.crop",
                f"{crop} exceeds the patterns of {size[0]} x {size[1]} pixels in {where}",
            )
        )
    scan = shape[:2] if len(shape) == 4 else contents.scan_shape
    count = math.prod(shape[:-2])
    if scan is not None:
        kept = np.arange(count).reshape(scan)[::step, ::step]
        scan_shape: tuple[int, int] | None = (kept.shape[0], kept.shape[1])
        frames = kept.ravel()
    else:
        frames, scan_shape = np.arange(count)[::step], None
    if frames.size < 2:
        remedy = f"lower objective.data.step ({step})" if step > 1 else "a scan has at least two positions"
        raise InputError(Problem(where, f"has shape {shape}, of which {frames.size} pattern is used", remedy))
    return Selection(frames, scan_shape, (crop or size[0], crop or size[1]))


def load_patterns(contents: Contents, selection: Selection, bad: NDArray[np.bool_]) -> tuple[NDArray[np.float32], bool]:
    """Read the selected frames.

    Args:
        contents: the file.
        selection: what is kept of it.
        bad: bool (crop_y, crop_x), pixels whose values are ignored and set to zero.

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
    patterns = np.empty((selection.frames.size, *selection.crop), np.float32)
    flaws = _Flaws(where, dtype)
    per_block = max(1, _BLOCK_BYTES // (math.prod(contents.frames.shape[-2:]) * max(dtype.itemsize, 4)))
    for start in range(0, selection.frames.size, per_block):
        chosen = selection.frames[start : start + per_block]
        block = _cut(contents, chosen, selection.crop)
        block[:, bad] = 0
        flaws.look(block, chosen)
        with np.errstate(over="ignore"):  # already noted as not finite
            patterns[start : start + len(chosen)] = block
    flaws.raise_any()
    counted = contents.counted if contents.counted is not None else flaws.whole
    _check_blank(where, patterns, selection.frames, counted)
    return patterns, counted


def _cut(contents: Contents, chosen: NDArray[np.intp], crop: tuple[int, int]) -> NDArray[Any]:
    """The central pixels of the chosen frames, in the file's own type; a copy."""
    shape = contents.frames.shape
    if contents.corner:
        block = np.fft.fftshift(_frames_at(contents, chosen, slice(None), slice(None)), axes=(-2, -1))
        y, x = (_central(size, kept) for size, kept in zip(shape[-2:], crop, strict=True))
        return np.array(block[:, y, x])
    y, x = (_central(size, kept) for size, kept in zip(shape[-2:], crop, strict=True))
    return np.array(_frames_at(contents, chosen, y, x))


def _frames_at(contents: Contents, chosen: NDArray[np.intp], y: slice, x: slice) -> NDArray[Any]:
    """Read frames by flat index; a run at constant stride is one hyperslab, which HDF5 reads fastest."""
    frames = contents.frames
    if len(frames.shape) == 3:
        stride = int(chosen[1] - chosen[0]) if chosen.size > 1 else 1
        if chosen.size == 1 or bool(np.all(np.diff(chosen) == stride)):
            return np.asarray(frames[int(chosen[0]) : int(chosen[-1]) + 1 : stride, y, x])
        return np.asarray(frames[chosen, y, x])
    rows, columns = np.unravel_index(chosen, frames.shape[:2])
    parts = [np.asarray(frames[int(row), columns[rows == row], y, x]) for row in np.unique(rows)]
    return np.concatenate(parts)


def _central(size: int, kept: int) -> slice:
    """The slice that moves pixel size//2 to kept//2."""
    start = size // 2 - kept // 2
    return slice(start, start + kept)


class _Flaws:
    """What is wrong with the values, gathered over blocks."""

    def __init__(self, where: str, dtype: np.dtype[Any]) -> None:
        self.where = where
        self.whole = True
        # Dead pixels of hybrid detectors (Eiger) are stored as the largest value of the type.
        self.dead = np.iinfo(dtype).max if dtype.kind in "iu" and dtype.itemsize >= 4 else None
        self.counts = {"not finite": 0, "negative": 0, "dead": 0}
        self.first: dict[str, str] = {}

    def look(self, block: NDArray[Any], chosen: NDArray[np.intp]) -> None:
        """Check one block of frames, whose indices in the file are ``chosen``."""
        if block.dtype.kind == "f":
            finite = np.abs(block) <= np.finfo(np.float32).max  # what float32 cannot hold is infinite to us
            self._note("not finite", ~finite, block, chosen)
            self.whole = self.whole and bool(np.all(block == np.floor(block), where=finite))
        if block.dtype.kind != "u":
            self._note("negative", block < 0, block, chosen)
        if self.dead is not None:
            self._note("dead", block == self.dead, block, chosen)

    def _note(self, kind: str, flawed: NDArray[np.bool_], block: NDArray[Any], chosen: NDArray[np.intp]) -> None:
        count = int(np.count_nonzero(flawed))
        if count and kind not in self.first:
            frame, y, x = np.unravel_index(int(np.argmax(flawed)), flawed.shape)
            self.first[kind] = f"first {block[frame, y, x]} in pattern {chosen[frame]} at used pixel ({y}, {x})"
        self.counts[kind] += count

    def raise_any(self) -> None:
        """Raise InputError where values are unusable."""
        remedies = {
            "not finite": ("NaN or infinite", "mask these pixels or repair the file"),
            "negative": (
                "negative",
                "counts and intensities are not negative; undo the background subtraction",
            ),
            "dead": (
                "the largest number of their type",
                "detectors mark dead pixels so; add a mask to the file",
            ),
        }
        problems = [
            Problem(self.where, f"{self.counts[kind]} values are {word} ({self.first[kind]})", remedy)
            for kind, (word, remedy) in remedies.items()
            if self.counts[kind]
        ]
        if problems:
            raise InputError(problems)


def _check_blank(where: str, patterns: NDArray[np.float32], chosen: NDArray[np.intp], counted: bool) -> None:
    """Refuse data without signal: every pattern zero, or single ones that chance cannot explain.

    A Poisson pattern with mean m counts is empty with probability exp(-m); blank frames of a closed shutter
    are refused where fewer than one in a million such scans would hold one.
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
