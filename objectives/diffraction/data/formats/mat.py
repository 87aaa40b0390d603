"""One array of patterns in a MATLAB file, without geometry: PtyRAD's and fold_slice's inputs.

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
from objectives.diffraction.data.format_reader import Certainty, Clues, Reader
from objectives.diffraction.data.formats.single_dataset import open_dataset
from objectives.diffraction.data.frames import with_detector_last
from objectives.diffraction.data.hdf5_access import ask_for_key
from objectives.diffraction.data.room import require_room, require_written
from objectives.diffraction.data.settings import DataSettings, GeometrySettings

_MAGIC = (b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file")


def _recognise(clues: Clues) -> Certainty:
    """Signed by the first bytes."""
    return Certainty.SIGNED if clues.start.startswith(_MAGIC) else Certainty.NONE


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
        require_written(f"{path}: {name}", shapes[name], np.dtype(np.uint8), path.stat().st_size)
        require_room(f"{path}: {name}", shapes[name], np.dtype(np.uint8))
        array = loadmat(path, variable_names=[name])[name]
    except (MatReadError, OSError, EOFError, ValueError, TypeError, MemoryError, NotImplementedError) as error:
        raise InputError(
            Problem(str(path), f"cannot be read as a MATLAB file: {error}", "copy it again, or save it as version 7.3")
        ) from error
    frames = with_detector_last(numeric(f"{path}: {name}", np.transpose(array)), data.detector_axes)
    yield Contents(path=path, frames=frames, frames_name=name, geometry=GeometrySettings())


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
    raise InputError(ask_for_key(path, listed, candidates[0]))


READER = Reader(open_mat, _recognise, suffixes=(".mat",))
