"""Recognise a file's format: ask every row of the format table, and import the reader of the chosen one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from autotune.objective import InputError, Problem
from objectives.diffraction.data.format_reader import Certainty, Clues, Reader
from objectives.diffraction.data.format_table import FORMATS
from objectives.diffraction.data.hdf5_access import open_hdf5_file

_START_BYTES = 128


def reader_of(name: str) -> Reader:
    """The reader of the format called ``name``, a key of :data:`~objectives.diffraction.data.format_table.FORMATS`."""
    reader: Reader = importlib.import_module(FORMATS[name].module).READER
    return reader


def recognise(path: Path) -> str:
    """Name of a file's format: by its content, else by its suffix.

    Raises:
        InputError: no format recognises the file, or it is HDF5 and damaged.
        OSError: the file cannot be opened.
    """
    with _clues(path) as clues:
        name = _by_content(clues)
    if name is None:
        name = next((name for name in FORMATS if clues.suffix in reader_of(name).suffixes), None)
    if name is None:
        known = sorted({suffix for name in FORMATS for suffix in reader_of(name).suffixes})
        raise InputError(
            Problem(
                str(path),
                f"is of no known format (suffix '{path.suffix}')",
                f"read are {', '.join(known)}; see objective.data.format",
            )
        )
    return name


def is_folder_of_a_format(path: Path) -> bool:
    """Whether ``path`` is a folder that, by its suffix, some format reads as one file."""
    return path.is_dir() and any(path.suffix.lower() in reader_of(name).folders for name in FORMATS)


@contextmanager
def _clues(path: Path) -> Iterator[Clues]:
    start = b""
    if path.is_file():
        with path.open("rb") as stream:
            start = stream.read(_START_BYTES)
    if path.is_file() and h5py.is_hdf5(path):
        with open_hdf5_file(path) as file:
            yield Clues(path, start, file)
    else:
        yield Clues(path, start, None)


def _by_content(clues: Clues) -> str | None:
    """The format that is most certain of the content, the first of equally certain ones; None where none is."""
    chosen, highest = None, Certainty.NONE
    for name in FORMATS:
        certainty = reader_of(name).recognise(clues)
        if certainty > highest:
            chosen, highest = name, certainty
        if highest is Certainty.SIGNED:
            break
    return chosen
