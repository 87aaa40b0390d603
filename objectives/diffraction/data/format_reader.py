"""The reader that every module of ``formats/`` offers as ``READER``: it recognises a file, and opens it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import h5py

from objectives.diffraction.data.contents import Contents
from objectives.diffraction.data.settings import DataSettings


class Certainty(IntEnum):
    """Certainty that a file has a format, judged by its content."""

    NONE = 0
    """Nothing in the file says so."""
    POSSIBLE = 1
    """The format could hold such a file, as it could many others."""
    LIKELY = 2
    """The file looks like this format without stating it."""
    STATED = 3
    """A name or attribute in the file belongs to this format."""
    SIGNED = 4
    """The file carries the format's signature, which outweighs everything else in it."""


@dataclass(frozen=True)
class Clues:
    """The parts of a file by which a format may recognise it; valid while the recogniser's context is open.

    Attributes:
        path: the file or folder.
        start: its first bytes, at least 32 where the file has so many; empty for a folder.
        hdf5: the open file, where it is HDF5.
    """

    path: Path
    start: bytes
    hdf5: h5py.File | None

    @property
    def suffix(self) -> str:
        """The path's last suffix in lower case, with its dot."""
        return self.path.suffix.lower()


def _never(clues: Clues) -> Certainty:
    """Recogniser of a format whose content has no mark."""
    return Certainty.NONE


@dataclass(frozen=True)
class Reader:
    """One format's part in opening a file.

    Attributes:
        open: opens a file whose format is decided; raises InputError where it cannot be read.
        recognise: judges by the content; the most certain format reads the file.
        suffixes: lower case, with the dot; they decide where no format recognises the content, so that the reader can
            say what is wrong with a damaged file.
        folders: those suffixes whose "file" may be a folder.
    """

    open: Callable[[Path, DataSettings], AbstractContextManager[Contents]]
    recognise: Callable[[Clues], Certainty] = _never
    suffixes: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
