"""Single arrays in .npy files: a raster scan of patterns, without geometry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from autotune.objective import InputError, Problem
from objectives.diffraction.data.contents import Contents
from objectives.diffraction.data.frames import DetectorFirst, Frames
from objectives.diffraction.data.settings import DataSettings, GeometrySettings

MAGIC = b"\x93NUMPY"


@dataclass(frozen=True)
class NpyHeader:
    """What the header of a .npy stream says."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


def read_npy_header(stream: IO[bytes]) -> NpyHeader | None:
    """Read a header and leave the stream at the first value; None for versions without public reader.

    Raises:
        ValueError: not a .npy stream.
    """
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        return None
    shape, fortran, dtype = readers[version](stream)
    return NpyHeader(shape, fortran, dtype)


@contextmanager
def open_npy(path: Path, data: DataSettings) -> Iterator[Contents]:
    """Open a .npy file; its patterns are mapped, not loaded.

    Raises:
        InputError: damaged, or Python objects.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError, MemoryError) as error:
        raise InputError(
            Problem(str(path), f"cannot be read as .npy: {error}", "a file cut short looks so; copy it again")
        ) from error
    yield Contents(path=path, frames=in_order(found, data), frames_name="array", geometry=GeometrySettings())


def in_order(stored: Any, data: DataSettings) -> Frames:
    """The array with the pattern's axes last, whichever way it is stored."""
    if data.detector_axes == "first" and len(stored.shape) in (3, 4):
        return DetectorFirst(stored)
    frames: Frames = stored
    return frames
