"""Open any measurement that a study names: find the file, recognise its format, read and check it."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import h5py

from autotune.objective import InputError, Problem, near_miss
from objectives.data.assemble import assemble
from objectives.data.contents import Contents
from objectives.data.cxi import open_cxi
from objectives.data.hdf5 import is_measurement, open_hdf5
from objectives.data.hdf5_file import open_hdf5_file
from objectives.data.measurement import Measurement
from objectives.data.npz import open_npz
from objectives.data.records import Record, fetch_record, find_record
from objectives.data.settings import DataSettings, GeometrySettings

__all__ = ["open_measurement"]

_SUFFIXES: dict[str, Literal["cxi", "npz", "hdf5"]] = {
    ".cxi": "cxi",
    ".npz": "npz",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
}
_ZIP_MAGIC = b"PK\x03\x04"
_NPZ_ONLY = ("zero_frequency", "positions")


def open_measurement(data: DataSettings, geometry: GeometrySettings, *, folder: Path) -> Measurement:
    """Read the measurement that a study names.

    Args:
        data: which file or record, and how to read it.
        geometry: what the study states; it wins over the record's defaults, and these over the file.
        folder: what a relative ``data.file`` is relative to.

    Returns:
        The measurement in the project's conventions (:mod:`objectives.data.measurement`).

    Raises:
        InputError: the file is missing, unreadable, malformed, or lacks geometry; with every problem found.
    """
    record: Record | None = None
    if data.record is not None:
        record = find_record(data.record)
        path = fetch_record(data.record)
        data, geometry = data.over(record.data), geometry.over(record.geometry)
    else:
        path = folder / Path(data.file or "").expanduser()
    _check_file(path)
    with _open(path, data) as contents:
        measurement = assemble(contents, data, geometry)
    return measurement if record is None else dataclasses.replace(measurement, source=record.origin)


def _check_file(path: Path) -> None:
    """Raise InputError where there is no readable file with something in it."""
    if path.is_dir():
        raise InputError(Problem(str(path), "is a folder", "name the measurement file in it"))
    if not path.exists():
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        guess = near_miss(path.name, names) if path.parent.is_dir() else f"the folder {path.parent} does not exist"
        remedy = guess if guess.startswith(("did you mean", "the folder")) else "check objective.data.file"
        raise InputError(Problem(str(path), "there is no such file", remedy))
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be opened: {error.strerror}")) from error
    if empty:
        raise InputError(Problem(str(path), "is empty (0 bytes)", "copy or download it again"))


def _open(path: Path, data: DataSettings) -> AbstractContextManager[Contents]:
    """The reader of the file's format, once the settings fit that format."""
    found = _recognise(path) if data.format == "auto" else data.format
    useless = [name for name in _NPZ_ONLY if name in data.model_fields_set] if found != "npz" else []
    if useless:
        raise InputError(
            [
                Problem(
                    f"objective.data.{name}",
                    f"'{getattr(data, name)}' is for .npz files; {path} is {found}, which says so itself",
                    "remove it",
                )
                for name in useless
            ]
        )
    if found == "npz":
        return open_npz(path, data)
    return open_cxi(path) if found == "cxi" else open_hdf5(path)


def _recognise(path: Path) -> Literal["cxi", "npz", "hdf5"]:
    """The format by content, else by suffix (so that a damaged file is told as such by its reader)."""
    if h5py.is_hdf5(path):
        if is_measurement(path):
            return "hdf5"
        with open_hdf5_file(path) as file:
            if "cxi_version" in file or "entry_1" in file:
                return "cxi"
            there = ", ".join(sorted(file)) or "nothing"
        raise InputError(
            Problem(
                str(path),
                f"is HDF5, but neither CXI (no 'entry_1') nor an autotune measurement; it holds: {there}",
                "convert it with objectives.data.hdf5.write_measurement, or save it as .npz",
            )
        )
    with path.open("rb") as stream:
        if stream.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC:
            return "npz"
    by_suffix = _SUFFIXES.get(path.suffix.lower())
    if by_suffix is None:
        raise InputError(
            Problem(
                str(path),
                f"is of no known format (suffix '{path.suffix}')",
                f"read are {', '.join(sorted(_SUFFIXES))}; see objective.data.format",
            )
        )
    return by_suffix
