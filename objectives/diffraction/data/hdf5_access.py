"""Open HDF5 files and find datasets in them, with errors that a user can act on.

A file that is cut short or holds damaged data is reported as such. Damage inside HDF5's own structures may crash the
HDF5 library itself; nothing in this process can catch that.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py

from autotune.objective import InputError, Problem

with suppress(ImportError):  # where installed, it adds the compression filters that some detectors write with
    importlib.import_module("hdf5plugin")

_CACHE_BYTES = 32 * 2**20  # chunks that successive blocks share are decompressed once


@contextmanager
def open_hdf5_file(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading; a read that fails inside the context is reported as an error of the file.

    Raises:
        InputError: not HDF5, cut short, or damaged.
    """
    if not h5py.is_hdf5(path):
        raise InputError(
            Problem(
                str(path),
                "is not an HDF5 file",
                "name an HDF5 file, or state its real format in objective.data.format",
            )
        )
    try:
        with h5py.File(path, "r", rdcc_nbytes=_CACHE_BYTES) as file:
            _require_own(path, file, path.resolve().parent, set())
            yield file
    except (OSError, RuntimeError) as error:
        raise InputError(
            Problem(
                str(path),
                f"cannot be read as HDF5: {error}",
                _remedy(error),
            )
        ) from error


def _require_own(path: Path, file: h5py.File, folder: Path, seen: set[Path]) -> None:
    """See that nothing in the file leads out of the folder of the measurement; a link may name any file there is.

    Raises:
        InputError: something does.
    """
    seen.add(path.resolve())
    found: list[tuple[str, str]] = []

    def visit_link(name: str, link: object) -> None:
        if isinstance(link, h5py.ExternalLink):
            found.append((name, link.filename))

    def visit(name: str, item: h5py.HLObject) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        for other, *_ in item.external or ():
            found.append((name, other))
        if item.is_virtual:
            found.extend((name, source.file_name) for source in item.virtual_sources() if source.file_name != ".")

    file.visititems_links(visit_link)
    file.visititems(visit)
    for name, stated in dict.fromkeys(found):
        for other in _candidates(stated, path):
            if not other.is_relative_to(folder):
                what = f"leads to {stated}, which is not below the measurement's folder"
                raise InputError(Problem(f"{path}: /{name}", what, "copy that file beside the measurement"))
            if other not in seen and other.is_file() and h5py.is_hdf5(other):
                with h5py.File(other, "r") as below:
                    _require_own(other, below, folder, seen)


def _candidates(stated: str, path: Path) -> list[Path]:
    """The files that HDF5 may take a name in a file for: beside it, or in the current folder, whichever is there."""
    beside, here = (path.parent / stated).resolve(), Path(stated).resolve()
    return [beside] if beside.exists() or not here.exists() else [here]


def _remedy(error: Exception) -> str:
    if "required filter" in str(error) or "can't open directory" in str(error) or "plugin" in str(error):
        return "it is compressed with a filter that is not installed: install the package hdf5plugin"
    return "a file cut short by a broken copy or download looks so; copy it again"


def find(group: h5py.Group, name: str) -> h5py.Dataset | None:
    """The dataset called ``name``; None where there is none (or only a link to nowhere)."""
    item = group.get(name)
    return item if isinstance(item, h5py.Dataset) else None


def dataset(path: Path, file: h5py.File, names: Sequence[str]) -> tuple[str, h5py.Dataset]:
    """Find the first of ``names`` that is a dataset; return its name and the dataset.

    Raises:
        InputError: none of them is.
    """
    for name in names:
        item = find(file, name)
        if item is not None:
            return name, item
    there = ", ".join(sorted(file)) or "nothing"
    raise InputError(
        Problem(str(path), f"has no dataset {' or '.join(names)}", f"at its top level the file holds: {there}")
    )


def find_datasets(group: h5py.Group, *, dimensions: Sequence[int]) -> list[h5py.Dataset]:
    """Every numeric dataset below ``group`` that has one of these numbers of axes, sorted by name."""
    datasets: list[h5py.Dataset] = []

    def visit(_: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset) and len(item.shape or ()) in dimensions and item.dtype.kind in "iuf":
            datasets.append(item)

    group.visititems(visit)
    return sorted(datasets, key=lambda item: str(item.name))


def choose_dataset(path: Path, candidates: list[h5py.Dataset], group: h5py.Group, key: str | None) -> h5py.Dataset:
    """Choose the dataset called ``key``, or the only candidate where ``key`` is None.

    Raises:
        InputError: there is no such dataset, no candidate, or several; the candidates are listed with shapes.
    """
    listed = ", ".join(name_and_shape(dataset) for dataset in candidates)
    if key is not None:
        named = find(group, key)
        if named is not None:
            return named
        hint = f"patterns may be in: {listed}" if listed else "no dataset in it has three or four axes"
        raise InputError(Problem("objective.data.key", f"{path} has no dataset '{key}'", hint))
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        there = ", ".join(sorted(group)) or "nothing"
        what = f"holds no numeric dataset with three or four axes; at its top level: {there}"
        raise InputError(Problem(str(path), what, "patterns (position, det_y, det_x) or a raster of them are expected"))
    raise InputError(ask_for_key(path, listed, str(candidates[0].name)))


def ask_for_key(path: Path, listed: str, example: str) -> Problem:
    """Ask for ``objective.data.key`` by name: ``listed`` are the candidates, ``example`` is the name of one."""
    return Problem(
        "objective.data.key",
        f"is needed: {path} holds several arrays that could be patterns: {listed}",
        f"state it in the study, e.g. key: {example}",
    )


def name_and_shape(item: h5py.Dataset) -> str:
    """Name and shape for a message, such as ``/entry/data (900, 64, 64)``."""
    return f"{item.name} {tuple(int(n) for n in item.shape)}"


def text(value: object) -> str:
    """Decode an HDF5 string, stored as bytes or text, alone or in an array of one."""
    while hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list) and len(value) == 1:
        return text(value[0])
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
