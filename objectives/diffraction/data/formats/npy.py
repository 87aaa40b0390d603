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
from objectives.diffraction.data.format_reader import Certainty, Clues, Reader
from objectives.diffraction.data.frames import with_detector_last
from objectives.diffraction.data.settings import DataSettings, GeometrySettings

_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True)
class NpyHeader:
    """Shape, order and type stated by the header of a .npy stream."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


def read_npy_header(stream: IO[bytes]) -> NpyHeader | None:
    """Read the header and leave the stream at the first value; None for versions that NumPy has no public reader for.

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
        InputError: the file is damaged, or holds Python objects.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError, MemoryError) as error:
        raise InputError(
            Problem(str(path), f"cannot be read as .npy: {error}", "a file cut short looks so; copy it again")
        ) from error
    frames = with_detector_last(array, data.detector_axes)
    yield Contents(path=path, frames=frames, frames_name="array", geometry=GeometrySettings())


def _recognise(clues: Clues) -> Certainty:
    """Signed by the first bytes."""
    return Certainty.SIGNED if clues.start.startswith(_MAGIC) else Certainty.NONE


READER = Reader(open_npy, _recognise, suffixes=(".npy",))
