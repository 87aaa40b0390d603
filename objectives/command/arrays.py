"""Read the arrays of a reconstruction that a program has left: from .npy and HDF5 files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotune.objective import Problem
from objectives.command.outputs import NoResult, left_file, stored_dataset
from objectives.command.settings import ArraySource

_LARGEST = 2**31
"""Bytes of an array that is read."""


def array_of(source: ArraySource, folder: Path) -> NDArray[Any]:
    """The array at ``source`` in a working folder: real or complex numbers.

    HDF5 has no complex numbers; pairs of ``r`` and ``i``, or ``real`` and ``imag`` (MATLAB), are taken for them.

    Raises:
        NoResult: it is missing, too large or not of numbers.
    """
    if source.npy is not None:
        return _of_npy(source.npy, folder)
    with stored_dataset(source.hdf5 or "", source.path, folder) as dataset:
        where = f"{source.hdf5}: {source.path}"
        _require_size(where, dataset.shape, dataset.dtype)
        return _numbers(where, np.asarray(dataset[()]))


def _of_npy(name: str, folder: Path) -> NDArray[Any]:
    path = left_file(name, folder)
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(mapped, np.ndarray):
            raise ValueError("it is an archive")
        _require_size(name, mapped.shape, mapped.dtype)
        return _numbers(name, np.array(mapped))
    except (ValueError, OSError, EOFError) as error:
        raise NoResult(Problem(name, f"is not a readable .npy file: {error}")) from None


def _require_size(where: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    size = math.prod(shape) * dtype.itemsize
    if size > _LARGEST:
        raise NoResult(Problem(where, f"holds {size / 2**30:.3g} GiB", f"at most {_LARGEST // 2**30} are read"))


def _numbers(where: str, array: NDArray[Any]) -> NDArray[Any]:
    for real, imaginary in (("r", "i"), ("real", "imag")):
        if array.dtype.names == (real, imaginary):
            array = array[real] + 1j * array[imaginary]
    if array.dtype.kind not in "fiuc":
        raise NoResult(Problem(where, f"is of type {array.dtype}, not of numbers"))
    return array
