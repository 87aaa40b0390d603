"""Select the frames and pixels that are read, and split them into blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotune.objective import InputError, Problem
from objectives.diffraction.data.contents import Contents
from objectives.diffraction.data.pattern_turns import oriented_size, stored_window
from objectives.diffraction.data.settings import DataSettings, Orientation, Region

_BLOCK_BYTES = 8 * 2**20
_LARGEST_BLOCK_BYTES = 64 * 2**20  # chunks that span the whole scan are read twice rather than all at once


@dataclass(frozen=True)
class Selection:
    """The frames and the central pixels that are kept.

    Attributes:
        kept: the kept indices along each axis of the scan (one axis, or rows and columns).
        whole: the scan's full size along these axes.
        scan_shape: (rows, columns) of the kept raster; None where the scan is not a raster.
        size: (y, x) of a stored pattern.
        crop: kept pixels along y and x of the turned pattern; the kept beam sits at (crop//2, crop//2).
        orientation: how the stored pattern is turned.
    """

    kept: tuple[range, ...]
    whole: tuple[int, ...]
    scan_shape: tuple[int, int] | None
    size: tuple[int, int]
    crop: tuple[int, int]
    orientation: Orientation

    @property
    def frames(self) -> NDArray[np.intp]:
        """Indices of the kept frames in the flattened scan, in order."""
        grid = np.meshgrid(*(np.array(axis) for axis in self.kept), indexing="ij")
        return np.asarray(np.ravel_multi_index(tuple(axis.ravel() for axis in grid), self.whole), np.intp)

    @property
    def count(self) -> int:
        """Number of kept frames."""
        return math.prod(len(axis) for axis in self.kept)

    @property
    def window(self) -> tuple[slice, slice]:
        """The pixels (y, x) of the stored pattern that are kept."""
        return stored_window(self.size, self.crop, self.orientation)


def select(contents: Contents, data: DataSettings) -> Selection:
    """Select the frames and pixels that ``region``, ``step``, ``crop`` and ``orientation`` keep.

    Raises:
        InputError: the frames' shape is not a scan of patterns, or too little is left.
    """
    shape = tuple(int(n) for n in contents.frames.shape)
    where = f"{contents.path}: {contents.frames_name}"
    if len(shape) not in (3, 4) or 0 in shape:
        raise InputError(
            Problem(
                where,
                f"has shape {shape}",
                "(position, det_y, det_x) or (scan_y, scan_x, det_y, det_x) is expected, with no empty axis",
            )
        )
    stored = (shape[-2], shape[-1])
    orientation = data.orientation or Orientation(transpose=contents.transposed)
    size = oriented_size(stored, orientation)
    if data.crop is not None and data.crop > min(size):
        raise InputError(
            Problem(
                "objective.data.crop",
                f"{data.crop} exceeds the patterns of {size[0]} x {size[1]} pixels in {where}",
            )
        )
    scan = (shape[0], shape[1]) if len(shape) == 4 else contents.scan_shape
    whole = scan if scan is not None else (shape[0],)
    limits = _limits(data.region, scan, where)
    kept = tuple(range(*limit, data.step) for limit in limits) if limits else (range(0, shape[0], data.step),)
    count = math.prod(len(axis) for axis in kept)
    if count < 2:
        remedy = f"lower objective.data.step ({data.step})" if data.step > 1 else "a scan has at least two positions"
        raise InputError(Problem(where, f"has shape {shape}, of which {count} pattern is used", remedy))
    return Selection(
        kept=kept,
        whole=whole,
        scan_shape=(len(kept[0]), len(kept[1])) if len(kept) == 2 else None,
        size=stored,
        crop=(data.crop or size[0], data.crop or size[1]),
        orientation=orientation,
    )


def _limits(region: Region | None, scan: tuple[int, int] | None, where: str) -> list[tuple[int, int]]:
    """[first, end) of the rows and columns of a raster; empty for a scan that is not a raster."""
    if scan is None:
        if region is not None:
            raise InputError(
                Problem("objective.data.region", f"has no effect: {where} is a list of positions, not a raster")
            )
        return []
    asked = (region.rows, region.columns) if region is not None else (None, None)
    problems = [
        Problem(
            f"objective.data.region.{name}",
            f"[{pair[0]}, {pair[1]}] exceeds the {size} {name} of {where}",
            f"0 <= first < end <= {size}",
        )
        for name, pair, size in zip(("rows", "columns"), asked, scan, strict=True)
        if pair is not None and pair[1] > size
    ]
    if problems:
        raise InputError(problems)
    return [pair if pair is not None else (0, size) for pair, size in zip(asked, scan, strict=True)]


Block = tuple[tuple[slice, ...], tuple[slice, ...]]


def blocks(selection: Selection, frames: Any) -> Iterator[Block]:
    """Split a selection into blocks of a few megabytes, such that no two blocks share an HDF5 chunk of ordinary size.

    Args:
        selection: which frames and pixels are kept.
        frames: the stored array. Blocks end at the borders of its ``chunks``, where it has any.

    Yields:
        the slices of ``frames`` along the scan's axes, and the slices of the kept scan to which they belong.
    """
    chunks = getattr(frames, "chunks", None)  # dask's are tuples of tuples, and need no care
    sizes = [int(n) if isinstance(n, int) else 1 for n in chunks] if chunks else [1] * len(frames.shape)
    pattern = math.prod(selection.size) * max(frames.dtype.itemsize, 4)
    room = max(1, _BLOCK_BYTES // pattern)
    if len(frames.shape) == 3 and len(selection.kept) == 2:
        yield from _rows_of_list(selection, room)
        return
    tiles = [sizes[axis] for axis in range(len(selection.kept))]
    while math.prod(tiles) * pattern > _LARGEST_BLOCK_BYTES and max(tiles) > 1:
        longest = tiles.index(max(tiles))
        tiles[longest] = -(-tiles[longest] // 2)
    for axis in reversed(range(len(tiles))):  # grow along the fast axis first
        others = math.prod(tiles) // tiles[axis]
        tiles[axis] *= max(1, room // (others * tiles[axis]))
    parts = [list(_parts(axis, tile)) for axis, tile in zip(selection.kept, tiles, strict=True)]
    for combination in product(*parts):
        yield tuple(stored for stored, _ in combination), tuple(kept for _, kept in combination)


def _rows_of_list(selection: Selection, room: int) -> Iterator[Block]:
    """Blocks of a raster that is stored as one list: runs within a row, or whole rows where every column is kept."""
    rows, columns = selection.kept
    width = selection.whole[1]
    if rows.step == 1 and len(columns) == width:
        per_block = max(1, room // width)
        for first in range(0, len(rows), per_block):
            end = min(first + per_block, len(rows))
            yield (slice(rows[first] * width, (rows[end - 1] + 1) * width),), (slice(first, end), slice(None))
        return
    for number, row in enumerate(rows):
        for stored, kept in _parts(columns, room * columns.step):
            yield (
                (slice(row * width + stored.start, row * width + stored.stop, stored.step),),
                (slice(number, number + 1), kept),
            )


def _parts(kept: range, tile: int) -> Iterator[tuple[slice, slice]]:
    """Runs of ``kept`` between multiples of ``tile``: their slices of the stored axis, and of the kept axis."""
    number = 0
    while number < len(kept):
        border = (kept[number] // tile + 1) * tile
        end = min(len(kept), number + max(1, -(-(border - kept[number]) // kept.step)))
        yield slice(kept[number], kept[end - 1] + 1, kept.step), slice(number, end)
        number = end
