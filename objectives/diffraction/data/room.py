"""Judge the size of an array before memory is taken for it: a file may declare anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil

from autotune.objective import InputError, Problem
from objectives.diffraction.data.frames import DetectorFirst, Frames

_SHARE_OF_FREE = 0.9
_JUDGED_BYTES = 2**26
"""Arrays below this are not asked where they come from."""
_MOST_COMPRESSED = 5000
"""Ratio of declared to stored bytes above which nobody has written an array: zeros compress a thousandfold."""


def require_room(where: str, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    """See that an array fits into the memory that is free.

    Args:
        where: the array, for messages.
        shape: its shape.
        dtype: its type, as it will be in memory.

    Raises:
        InputError: it does not.
    """
    need = _bytes(shape, dtype)
    if need < _JUDGED_BYTES:
        return
    free = psutil.virtual_memory().available
    if need > _SHARE_OF_FREE * free:
        what = f"needs {_in_words(need)} of memory for {_times(shape)} values, and {_in_words(free)} are free"
        raise InputError(Problem(where, what, "read less of it: objective.data.region, step or crop"))


def require_written(where: str, shape: Sequence[int], dtype: np.dtype[Any], stored: int) -> None:
    """See that an array can be what it declares: so many values were written.

    Args:
        where: the array, for messages.
        shape: its shape.
        dtype: its type in the file.
        stored: bytes that its files have of it.

    Raises:
        InputError: it cannot.
    """
    declared = _bytes(shape, dtype)
    if declared >= _JUDGED_BYTES and stored * _MOST_COMPRESSED < declared:
        what = f"declares {_times(shape)} values ({_in_words(declared)}), of which {_in_words(stored)} are stored"
        raise InputError(Problem(where, what, "it was never written, or not to its end: measure or copy it again"))


def require_written_frames(where: str, frames: Frames) -> None:
    """See that frames were written, and that there is room for the smallest part of them that can be read.

    Raises:
        InputError: they were not, or there is not.
    """
    if isinstance(frames, DetectorFirst):
        require_written_frames(where, frames.stored)
    elif isinstance(frames, h5py.Dataset):
        require_written(where, frames.shape, frames.dtype, _stored_bytes(frames))
        require_room(f"{where}, one chunk", frames.chunks or (), frames.dtype)


def content_of(path: Path, item: h5py.Dataset) -> Any:
    """All values of a dataset of a file, where it was written and there is room for them.

    Raises:
        InputError: it was not, or there is none.
    """
    where = f"{path}: {item.name}"
    require_written(where, item.shape or (), item.dtype, _stored_bytes(item))
    require_room(where, item.shape or (), item.dtype)
    return item[()]


def _stored_bytes(item: h5py.Dataset) -> int:
    """Bytes that its file, or the files that it is put together from, have of a dataset; of these all, at most."""
    own = Path(item.file.filename)
    if item.is_virtual:
        others = {own.parent / source.file_name for source in item.virtual_sources()} | {own}
        return sum(other.stat().st_size for other in others if other.is_file())
    if item.external:
        return sum(Path(other).stat().st_size for other, *_ in item.external if Path(other).is_file())
    return int(item.id.get_storage_size())


def _bytes(shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    return math.prod(int(n) for n in shape) * np.dtype(dtype).itemsize


def _times(shape: Sequence[int]) -> str:
    return " x ".join(str(int(n)) for n in shape)


def _in_words(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
