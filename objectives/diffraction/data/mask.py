"""Bad-pixel masks that a study names: a .npy file, or a dataset of an HDF5 file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from autotune.objective import InputError, Problem
from objectives.diffraction.data.contents import numeric
from objectives.diffraction.data.hdf5_access import find, find_datasets, name_and_shape, open_hdf5_file
from objectives.diffraction.data.room import content_of

_SEPARATOR = "::"


def locate_mask(mask: str, folder: Path) -> str:
    """The same mask, with its path relative to ``folder`` made a path that can be opened."""
    file, separator, dataset = mask.partition(_SEPARATOR)
    return f"{folder / Path(file).expanduser()}{separator}{dataset}"


def read_mask(mask: str, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a mask of bad pixels.

    Args:
        mask: the path of a .npy or HDF5 file, with ``::/dataset`` appended where the latter holds several.
        size: shape (y, x) that the mask must have.

    Returns:
        bool (y, x), True where the stored value is not zero: on bad pixels.

    Raises:
        InputError: no such file or dataset, not numbers, or another shape.
    """
    file, _, name = mask.partition(_SEPARATOR)
    path = Path(file)
    if not path.is_file():
        raise InputError(Problem("objective.data.mask", f"there is no file {path}", "give a .npy or HDF5 file"))
    if h5py.is_hdf5(path):
        stored, name = _from_hdf5(path, name)
    elif name:
        raise InputError(Problem("objective.data.mask", f"{path} is not HDF5 and has no dataset '{name}'"))
    else:
        stored, name = _from_npy(path), "mask"
    values = numeric(f"{path}: {name}", stored, kinds="iufb")
    if values.shape != size:
        raise InputError(
            Problem(f"{path}: {name}", f"has shape {values.shape}", f"the detector's shape {size} is expected")
        )
    return np.asarray(values != 0)


def _from_npy(path: Path) -> object:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError, MemoryError) as error:
        raise InputError(Problem(str(path), f"cannot be read as .npy: {error}", "give a .npy or HDF5 file")) from error


def _from_hdf5(path: Path, name: str) -> tuple[object, str]:
    with open_hdf5_file(path) as file:
        there = find_datasets(file, dimensions=(2,))
        if not name and len(there) == 1:
            name = there[0].name
        mask = find(file, name) if name else None
        if mask is None:
            listed = ", ".join(name_and_shape(dataset) for dataset in there) or "none"
            fault = f"has no dataset '{name}'" if name else f"holds {len(there)} two-dimensional datasets"
            example = there[0].name if there else "/mask"
            raise InputError(
                Problem("objective.data.mask", f"{path} {fault}: {listed}", f"name one, e.g. {path.name}::{example}")
            )
        return content_of(path, mask), str(name)
