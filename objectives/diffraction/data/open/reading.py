"""Open any measurement that a study names: find the file, recognise its format, read and check it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import h5py

from autotune.objective import InputError, Problem, near_miss
from objectives.diffraction.data.contents import Contents
from objectives.diffraction.data.formats.autotune_hdf5 import is_measurement, open_hdf5
from objectives.diffraction.data.formats.cxi import is_cxi, open_cxi
from objectives.diffraction.data.formats.empad import open_empad
from objectives.diffraction.data.formats.nexus import is_nexus, open_nexus
from objectives.diffraction.data.formats.npy import MAGIC as NPY_MAGIC
from objectives.diffraction.data.formats.npy import open_npy
from objectives.diffraction.data.formats.npz import open_npz
from objectives.diffraction.data.formats.py4dstem import is_emd, open_py4dstem
from objectives.diffraction.data.formats.rosettasciio import open_rosettasciio
from objectives.diffraction.data.formats.rosettasciio import suffixes as rsciio_suffixes
from objectives.diffraction.data.formats.single_dataset import MATLAB_5_MAGIC, MATLAB_7_3_MAGIC, open_dataset, open_mat
from objectives.diffraction.data.hdf5_access import open_hdf5_file, text
from objectives.diffraction.data.mask import locate_mask
from objectives.diffraction.data.measurement import Measurement
from objectives.diffraction.data.open.assemble import assemble
from objectives.diffraction.data.open.records import Record, fetch_record, find_record
from objectives.diffraction.data.raster import with_shape
from objectives.diffraction.data.settings import DataSettings, Format, GeometrySettings

__all__ = ["open_contents", "open_measurement", "recognise"]

_ZIP_MAGIC = b"PK\x03\x04"
_ZIPPED = (".zspy", ".prz")  # formats of RosettaSciIO that are ZIP archives, too
_FOLDERS = (".zspy",)  # formats whose file is a folder
_SUFFIXES: Mapping[str, Format] = {
    ".cxi": "cxi",
    ".npz": "npz",
    ".npy": "npy",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".nxs": "nexus",
    ".mat": "mat",
    ".raw": "empad",
}
_EFFECTS: Mapping[str, tuple[Format, ...]] = {
    "zero_frequency": ("npz",),
    "positions": ("npz",),
    "key": ("dataset", "mat", "py4dstem", "nexus", "rsciio"),
    "detector_axes": ("dataset", "mat", "npy"),
}
"""Settings that only the readers of some formats know."""


def open_measurement(data: DataSettings, geometry: GeometrySettings, *, folder: Path) -> Measurement:
    """Read the measurement that a study names.

    Args:
        data: which file or record, and how to read it.
        geometry: what the study states; it wins over the record's defaults, and these over the file.
        folder: what a relative ``data.file`` is relative to.

    Returns:
        The measurement in the project's conventions (:mod:`objectives.diffraction.data.measurement`).

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
    if data.mask is not None:
        data = data.model_copy(update={"mask": locate_mask(data.mask, folder)})
    with open_contents(path, data) as contents:
        measurement = assemble(contents, data, geometry)
    return measurement if record is None else dataclasses.replace(measurement, source=record.origin)


def _check_file(path: Path) -> None:
    """Raise InputError where there is no readable file with something in it."""
    if path.is_dir() and path.suffix.lower() in _FOLDERS:
        return
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


@contextmanager
def open_contents(path: Path, data: DataSettings) -> Iterator[Contents]:
    """Open a file with the reader of its format, before geometry is resolved and patterns are loaded.

    Args:
        path: the file.
        data: how to read it; its own ``file`` is not looked at.

    Raises:
        InputError: the file cannot be read, or a setting has no effect on its format or is needed and missing.
    """
    found = recognise(path) if data.format == "auto" else data.format
    _check_effects(path, data, found)
    with _reader(path, data, found) as contents:
        yield with_shape(contents, data)


def _check_effects(path: Path, data: DataSettings, found: Format) -> None:
    problems = [
        Problem(
            f"objective.data.{name}",
            f"'{getattr(data, name)}' is for {_listed(formats)} files; {path} is {found}, which says so itself",
            "remove it",
        )
        for name, formats in _EFFECTS.items()
        if name in data.model_fields_set and found not in formats
    ]
    if problems:
        raise InputError(problems)


def _listed(formats: tuple[Format, ...]) -> str:
    return ".npz" if formats == ("npz",) else ", ".join(formats)


def _reader(path: Path, data: DataSettings, found: Format) -> AbstractContextManager[Contents]:
    if found in ("cxi", "hdf5"):
        return open_cxi(path) if found == "cxi" else open_hdf5(path)
    readers: Mapping[str, Callable[[Path, DataSettings], AbstractContextManager[Contents]]] = {
        "npz": open_npz,
        "npy": open_npy,
        "nexus": open_nexus,
        "py4dstem": open_py4dstem,
        "dataset": open_dataset,
        "mat": open_mat,
        "empad": open_empad,
        "rsciio": open_rosettasciio,
    }
    return readers[found](path, data)


def recognise(path: Path) -> Format:
    """The format by content, else by suffix (so that a damaged file is told as such by its reader).

    Raises:
        InputError: of no known format.
        OSError: the file cannot be opened.
    """
    suffix = path.suffix.lower()
    if path.is_file() and h5py.is_hdf5(path):
        return _recognise_hdf5(path)
    if path.is_file():
        with path.open("rb") as stream:
            start = stream.read(32)
        if start.startswith(_ZIP_MAGIC) and suffix not in _ZIPPED:
            return "npz"
        if start.startswith(NPY_MAGIC):
            return "npy"
        if start.startswith((MATLAB_5_MAGIC, MATLAB_7_3_MAGIC)):
            return "mat"
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if suffix in rsciio_suffixes():
        return "rsciio"
    raise InputError(
        Problem(
            str(path),
            f"is of no known format (suffix '{path.suffix}')",
            f"read are {', '.join(sorted({*_SUFFIXES, *rsciio_suffixes()}))}; see objective.data.format",
        )
    )


def _recognise_hdf5(path: Path) -> Format:
    """The format of an HDF5 file, by what is in it."""
    with path.open("rb") as stream:
        if stream.read(len(MATLAB_7_3_MAGIC)) == MATLAB_7_3_MAGIC:
            return "mat"
    if is_measurement(path):
        return "hdf5"
    with open_hdf5_file(path) as file:
        if is_emd(file):
            return "py4dstem"
        if is_cxi(file):
            return "cxi"
        if is_nexus(file):
            return "nexus"
        if "entry_1" in file:
            return "cxi"
        if path.suffix.lower() in (".emd", ".hspy") or text(file.attrs.get("file_format", "")) == "HyperSpy":
            return "rsciio"
    return "dataset"
