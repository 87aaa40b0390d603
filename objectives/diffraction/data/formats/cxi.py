"""Coherent X-ray Imaging files (.cxi), version 1.6 of the format, SI units; http://cxidb.org/cxi.html.

What is read from ``/entry_1``: the detector's data (or ``data_1/data``), distance, pixel sizes, mask and basis
vectors; the source's wavelength or energy; the sample's translation.

- Axes. The two basis vectors point along increasing row (slow) and column (fast) in the laboratory frame. Where the
  file has none, they are (0, -1, 0) and (-1, 0, 0): a detector read from its top left corner as seen along the beam.
  The sample moves by +t, so the probe moves by -t on the object: y = -(t . slow), x = -(t . fast).
- Mask. Any bit means a bad pixel, except 0x1000, which marks a signal above background.
- ``distance`` is from sample to detector. In the near field it is taken as the distance from the focus to the
  detector, which is larger by the focus-to-sample distance; state ``geometry.detector_distance_mm`` where that matters.
- The format does not state near or far field: far field is assumed unless the study states otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from autotune.objective import InputError, Problem
from objectives.diffraction.data.contents import Contents, geometry_in_file, numeric, scalar
from objectives.diffraction.data.format_reader import Certainty, Clues, Reader
from objectives.diffraction.data.hdf5_access import dataset, find, open_hdf5_file
from objectives.diffraction.data.radiation import photon_wavelength_angstrom
from objectives.diffraction.data.room import content_of
from objectives.diffraction.data.settings import DataSettings, GeometrySettings

_DETECTOR = "/entry_1/instrument_1/detector_1"
_SOURCE = "/entry_1/instrument_1/source_1"
_FRAMES = (f"{_DETECTOR}/data", "/entry_1/data_1/data")
_TRANSLATIONS = (
    "/entry_1/sample_1/geometry_1/translation",
    "/entry_1/data_1/translation",
    f"{_DETECTOR}/translation",
)
_HAS_SIGNAL = 0x1000
_JOULE_PER_KEV = 1.602176634e-16


def _recognise(clues: Clues) -> Certainty:
    """Stated by the version, or by patterns at CXI's place; likely by the name of the first entry."""
    file = clues.hdf5
    if file is None:
        return Certainty.NONE
    if "cxi_version" in file or any(find(file, name) is not None for name in _FRAMES):
        return Certainty.STATED
    return Certainty.LIKELY if "entry_1" in file else Certainty.NONE


@contextmanager
def open_cxi(path: Path, data: DataSettings) -> Iterator[Contents]:
    """Open a CXI file; its patterns are read later, from ``/entry_1``. No setting of ``data`` concerns this format.

    Raises:
        InputError: not HDF5, or patterns or translations missing or of the wrong shape or type.
    """
    with open_hdf5_file(path) as file:
        frames_name, frames = dataset(path, file, _FRAMES)
        if len(frames.shape) != 3:
            raise InputError(
                Problem(
                    f"{path}: {frames_name}",
                    f"has shape {frames.shape}",
                    "(position, det_y, det_x) is expected",
                )
            )
        translation_name, translation = dataset(path, file, _TRANSLATIONS)
        yield Contents(
            path=path,
            frames=frames,
            frames_name=frames_name,
            geometry=_geometry(path, file),
            positions=_positions(path, file, translation_name, translation),
            positions_name=translation_name,
            bad=_mask(path, file),
        )


def _basis(path: Path, file: h5py.File) -> NDArray[np.float64]:
    """The basis vectors as rows (slow, fast), unit vectors of the laboratory frame, shape (2, 3)."""
    name = f"{_DETECTOR}/basis_vectors"
    stored = find(file, name)
    if stored is None:
        return np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]])
    vectors = numeric(f"{path}: {name}", content_of(path, stored)).astype(np.float64)
    if vectors.shape == (3, 2):
        vectors = vectors.T
    if vectors.shape != (2, 3):
        raise InputError(
            Problem(f"{path}: {name}", f"has shape {vectors.shape}", "(3, 2), columns slow and fast, is expected")
        )
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    if not np.all((largest > 0) & np.isfinite(largest)):
        raise InputError(Problem(f"{path}: {name}", f"{vectors.tolist()} holds a vector without direction"))
    vectors = vectors / largest  # before the norm, which overflows for lengths in absurd units
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _positions(path: Path, file: h5py.File, name: str, translation: h5py.Dataset) -> NDArray[np.float64]:
    """Probe positions on the object, angstrom (position, 2), from the sample's translation in metres."""
    moved = numeric(f"{path}: {name}", content_of(path, translation)).astype(np.float64)
    if moved.ndim != 2 or moved.shape[1] != 3:
        raise InputError(
            Problem(f"{path}: {name}", f"has shape {moved.shape}", "(position, 3), x, y, z in metres, is expected")
        )
    with np.errstate(over="ignore", invalid="ignore"):  # infinite positions are refused with the others
        return np.asarray(-1e10 * (moved @ _basis(path, file).T))


def _mask(path: Path, file: h5py.File) -> NDArray[np.bool_] | None:
    name = f"{_DETECTOR}/mask"
    stored = find(file, name)
    if stored is None:
        return None
    mask = numeric(f"{path}: {name}", content_of(path, stored), kinds="iub")
    return np.asarray((mask & ~np.array(_HAS_SIGNAL, mask.dtype)) != 0 if mask.itemsize > 1 else mask != 0)


def _geometry(path: Path, file: h5py.File) -> GeometrySettings:
    values: dict[str, Any] = {}
    names: dict[str, str] = {}

    def take(field: str, name: str, value: Any) -> None:
        values[field], names[field] = value, name

    def number(name: str) -> float | None:
        stored = find(file, name)
        return None if stored is None else scalar(f"{path}: {name}", content_of(path, stored))

    if (distance := number(f"{_DETECTOR}/distance")) is not None:
        take("detector_distance_mm", f"{_DETECTOR}/distance", distance * 1e3)
    y, x = number(f"{_DETECTOR}/y_pixel_size"), number(f"{_DETECTOR}/x_pixel_size")
    if y is not None and x is not None:
        take("detector_pixel_um", f"{_DETECTOR}/y_pixel_size, x_pixel_size", (y * 1e6, x * 1e6))
    if (wavelength := number(f"{_SOURCE}/wavelength")) is not None:
        take("wavelength_angstrom", f"{_SOURCE}/wavelength", wavelength * 1e10)
    elif (energy := number(f"{_SOURCE}/energy")) is not None:
        if not energy > 0:
            raise InputError(Problem(f"{path}: {_SOURCE}/energy", f"{energy} J is impossible", "joule are expected"))
        take("wavelength_angstrom", f"{_SOURCE}/energy", photon_wavelength_angstrom(energy / _JOULE_PER_KEV))
    return geometry_in_file(path, values, names)


READER = Reader(open_cxi, _recognise, suffixes=(".cxi",))
