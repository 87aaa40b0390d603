"""Read numbers from what a program has left: JSON, text and HDF5."""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from autotune.objective import AutotuneError, Problem
from objectives.command.settings import GradientSettings, Source

STREAMS = {"stdout": "stdout.txt", "stderr": "stderr.txt"}
"""Files of the working folder that hold the program's output."""
_LARGEST = 16 * 2**20
"""Bytes of a text or JSON file that are read; of a longer text the last ones, or the first for the first match."""


class NoResult(AutotuneError):
    """The program has not left what the study reads."""


def number_of(source: Source, folder: Path) -> float:
    """The number at ``source`` in a working folder; it may be infinite or NaN.

    Raises:
        NoResult: the file, the place in it or a number there is missing.
    """
    if source.from_json is not None:
        return _number(_at(source, folder), f"{source.from_json}: {source.pointer or 'the document'}")
    if source.regex is not None:
        return _matched(source, folder)
    return _element(source, folder)


def numbers_of(source: Source | GradientSettings, folder: Path) -> dict[str, float]:
    """The JSON object at ``source``: name -> number.

    Raises:
        NoResult: as :func:`number_of` does, and where it is no object of finite numbers.
    """
    found, where = _at(source, folder), f"{source.from_json}: {source.pointer or 'the document'}"
    if not isinstance(found, dict):
        raise NoResult(Problem(where, "is not an object of numbers by name"))
    numbers = {str(name): _number(value, f"{where}/{name}") for name, value in found.items()}
    bad = [name for name, value in numbers.items() if not math.isfinite(value)]
    if bad:
        raise NoResult(Problem(where, f"is not finite: {', '.join(bad)}"))
    return numbers


def text_of(name: str, folder: Path, *, start: bool = False) -> str:
    """The end (or the start) of a text file, or of an output stream; bytes that are no UTF-8 are replaced."""
    with left_file(name, folder).open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0 if start else max(size - _LARGEST, 0))
        return file.read(_LARGEST).decode("utf-8", errors="replace")


def left_file(name: str, folder: Path) -> Path:
    """Path of a file of the working folder, or of an output stream.

    Raises:
        NoResult: it is not there.
    """
    path = folder / STREAMS.get(name, name)
    # A link could lead anywhere: what is read lies in the folder that the program was given.
    if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        raise NoResult(Problem(name, "was not written by the program"))
    return path


def _at(source: Source | GradientSettings, folder: Path) -> Any:
    """The JSON value at a source's pointer."""
    name = source.from_json or ""
    path = left_file(name, folder)
    if path.stat().st_size > _LARGEST:
        raise NoResult(
            Problem(name, f"is larger than {_LARGEST // 2**20} MB", "write the results to a file of their own")
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise NoResult(Problem(name, f"is not JSON: {error}")) from None
    reached = ""
    for token in source.pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        reached += f"/{token}"
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and re.fullmatch(r"0|[1-9][0-9]*", key) and int(key) < len(found):
            found = found[int(key)]
        else:
            raise NoResult(Problem(f"{name}: {reached}", "is not there"))
    return found


def _matched(source: Source, folder: Path) -> float:
    first = source.which == "first"
    matches = re.finditer(source.regex or "", text_of(source.file, folder, start=first), re.MULTILINE)
    match = next(matches, None)
    if not first:
        match = next(iter(deque(matches, maxlen=1)), match)
    where = f"{source.file}: '{source.regex}'"
    if match is None:
        raise NoResult(Problem(where, "does not match anything that the program wrote"))
    return _number(match[1] if match.re.groups else match[0], where)


@contextmanager
def stored_dataset(name: str, path: str, folder: Path) -> Iterator[h5py.Dataset]:
    """A dataset of an HDF5 file of the working folder; links out of the file are not followed.

    Raises:
        NoResult: the file or the dataset is missing or cannot be read.
    """
    try:
        with h5py.File(left_file(name, folder), "r") as file:
            dataset = None
            with suppress(KeyError, RuntimeError):  # a link that leads nowhere
                dataset = file[path]
            if not isinstance(dataset, h5py.Dataset) or not _of(file, dataset):
                raise NoResult(Problem(f"{name}: {path}", "is not there, or no dataset of the file itself"))
            yield dataset
    except OSError as error:
        raise NoResult(Problem(name, f"is not a readable HDF5 file: {error}")) from None


def _of(file: h5py.File, dataset: h5py.Dataset) -> bool:
    """Whether the values of a dataset are in the file itself."""
    return (
        dataset.file.filename == file.filename
        and not (dataset.external or dataset.is_virtual)
        and dataset.shape is not None
    )


def _element(source: Source, folder: Path) -> float:
    where = f"{source.hdf5}: {source.path}"
    with stored_dataset(source.hdf5 or "", source.path, folder) as dataset:
        if dataset.dtype.kind not in "fiub":
            raise NoResult(Problem(where, f"is of type {dataset.dtype}, not of numbers"))
        if source.index is not None and dataset.ndim == 1 and -len(dataset) <= source.index < len(dataset):
            return float(dataset[source.index % len(dataset)])
        if source.index is None and dataset.size == 1:
            return float(np.asarray(dataset[()]).item())
        wanted = "one number" if source.index is None else f"a list with a place {source.index}"
        raise NoResult(Problem(where, f"has shape {dataset.shape}, not {wanted}"))


def _number(value: Any, where: str) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        return float(value)
    except ValueError:
        shown = json.dumps(value, default=str)
        raise NoResult(Problem(where, f"{shown[:60]} is not a number")) from None
