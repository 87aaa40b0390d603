"""One array of patterns in an HDF5 file or a MATLAB file, without geometry: PtyRAD's and fold_slice's inputs.

MATLAB stores arrays column by column. Both kinds of .mat file (7.3, which is HDF5, and older) are read in the order of
their bytes, as PtyRAD reads them: MATLAB's ``dp(ky, kx, rx, ry)`` becomes (ry, rx, kx, ky), ``dp(ky, kx, n)`` becomes
(n, kx, ky). ``objective.data.orientation: {transpose: true}`` undoes the pattern's transposition,
``objective.data.detector_axes: first`` reads what MATLAB shows as (rx, ry, kx, ky).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from autotune.objective import InputError, Problem, near_miss
from objectives.diffraction.data.contents import Contents, numeric
from objectives.diffraction.data.formats.npy import in_order
from objectives.diffraction.data.hdf5_access import find_datasets, name_and_shape, open_hdf5_file
from objectives.diffraction.data.settings import DataSettings, GeometrySettings

MATLAB_5_MAGIC = b"MATLAB 5.0 MAT-file"
MATLAB_7_3_MAGIC = b"MATLAB 7.3 MAT-file"


@contextmanager
def open_dataset(path: Path, data: DataSettings) -> Iterator[Contents]:
    """Open an HDF5 file that holds patterns under any name; they are read later.

    Raises:
        InputError: not HDF5, no dataset with three or four axes, or several and ``key`` does not say which.
    """
    with open_hdf5_file(path) as file:
        found = choose_dataset(path, find_datasets(file, dimensions=(3, 4)), file, data.key)
        yield Contents(
            path=path,
            frames=in_order(found, data),
            frames_name=str(found.name),
            geometry=GeometrySettings(),
        )


def choose_dataset(path: Path, candidates: list[h5py.Dataset], group: h5py.Group, key: str | None) -> h5py.Dataset:
    """The dataset called ``key``, or the only candidate.

    Raises:
        InputError: there is no such dataset, no candidate, or several; the candidates are listed with shapes.
    """
    listed = ", ".join(name_and_shape(one) for one in candidates)
    if key is not None:
        found = group.get(key)
        if isinstance(found, h5py.Dataset):
            return found
        hint = f"patterns may be in: {listed}" if listed else "no dataset in it has three or four axes"
        raise InputError(Problem("objective.data.key", f"{path} has no dataset '{key}'", hint))
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        there = ", ".join(sorted(group)) or "nothing"
        what = f"holds no numeric dataset with three or four axes; at its top level: {there}"
        raise InputError(Problem(str(path), what, "patterns (position, det_y, det_x) or a raster of them are expected"))
    raise InputError(_ask_for_key(path, listed, str(candidates[0].name)))


def _ask_for_key(path: Path, listed: str, example: str) -> Problem:
    return Problem(
        "objective.data.key",
        f"is needed: {path} holds several arrays that could be patterns: {listed}",
        f"state it in the study, e.g. key: {example}",
    )


@contextmanager
def open_mat(path: Path, data: DataSettings) -> Iterator[Contents]:
    """Open a MATLAB file of any version; older ones than 7.3 are loaded as a whole.

    Raises:
        InputError: damaged, no array with three or four axes, or several and ``key`` does not say which.
    """
    if h5py.is_hdf5(path):
        with open_dataset(path, data) as contents:
            yield contents
        return
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    try:
        shapes = {name: tuple(shape) for name, shape, _ in whosmat(path)}
        name = _choose_variable(path, shapes, data.key)
        found = loadmat(path, variable_names=[name])[name]
    except (MatReadError, OSError, EOFError, ValueError, TypeError, MemoryError, NotImplementedError) as error:
        raise InputError(
            Problem(str(path), f"cannot be read as a MATLAB file: {error}", "copy it again, or save it as version 7.3")
        ) from error
    frames = numeric(f"{path}: {name}", np.transpose(found))
    yield Contents(path=path, frames=in_order(frames, data), frames_name=name, geometry=GeometrySettings())


def _choose_variable(path: Path, shapes: Mapping[str, tuple[Any, ...]], key: str | None) -> str:
    if key is not None:
        if key not in shapes:
            raise InputError(Problem("objective.data.key", f"{path} has no '{key}'", near_miss(key, shapes)))
        return key
    candidates = [name for name, shape in shapes.items() if len(shape) in (3, 4)]
    if len(candidates) == 1:
        return candidates[0]
    listed = ", ".join(f"{name} {shapes[name]}" for name in candidates or shapes) or "nothing"
    if not candidates:
        raise InputError(Problem(str(path), f"holds no array with three or four axes; it holds: {listed}"))
    raise InputError(_ask_for_key(path, listed, candidates[0]))
