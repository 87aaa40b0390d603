"""Opening HDF5 files and finding datasets in them, with errors that a user can act on.

A file cut short, or with damaged data, is told as such. Damage inside HDF5's own structures may crash the
HDF5 library itself; nothing in this process can catch that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py

from autotune.objective import InputError, Problem


@contextmanager
def open_hdf5_file(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading; a failing read inside the context is told as an error of the file.

    Raises:
        InputError: not HDF5, cut short, or damaged.
    """
    if not h5py.is_hdf5(path):
        raise InputError(
            Problem(
                str(path),
                f"is not an HDF5 file (it starts with {_start(path)!r})",
                "name a CXI or autotune HDF5 file, or state its real format in objective.data.format",
            )
        )
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError) as error:
        raise InputError(
            Problem(
                str(path),
                f"cannot be read as HDF5: {error}",
                "a file cut short by a broken copy or download looks so; copy it again",
            )
        ) from error


def _start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(8)


def find(group: h5py.Group, name: str) -> h5py.Dataset | None:
    """The dataset called ``name``; None where there is none (or only a link to nowhere)."""
    found = group.get(name)
    return found if isinstance(found, h5py.Dataset) else None


def dataset(path: Path, file: h5py.File, names: Sequence[str]) -> tuple[str, h5py.Dataset]:
    """The first of ``names`` that is a dataset, with its name.

    Raises:
        InputError: none of them is.
    """
    for name in names:
        found = find(file, name)
        if found is not None:
            return name, found
    there = ", ".join(sorted(file)) or "nothing"
    raise InputError(
        Problem(str(path), f"has no dataset {' or '.join(names)}", f"at its top level the file holds: {there}")
    )
