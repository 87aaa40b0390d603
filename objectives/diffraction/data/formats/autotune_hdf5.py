"""The project's own measurement file (.h5): ``autotune simulate`` writes it, and any HDF5 program can read it.

/                   attributes: format = "autotune measurement", format_version = 1, source, counted (bool),
                    position_unit ("angstrom" or "object pixel"), scan_shape (2 integers; rasters only)
/patterns           (position, det_y, det_x), beam at (N//2, N//2); unsigned integers where counts allow it
/positions          (position, 2) float64, (y, x), in position_unit
/valid              (det_y, det_x) bool, False on dead pixels
/probe              (det_y, det_x) complex64, or (mode, det_y, det_x), optional
/geometry           attributes: regime and the fields of FarField or NearField, units in the names
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from autotune.objective import InputError, Problem
from objectives.diffraction.data.contents import Contents, geometry_in_file, numeric
from objectives.diffraction.data.format_reader import Certainty, Clues, Reader
from objectives.diffraction.data.hdf5_access import dataset, find, open_hdf5_file
from objectives.diffraction.data.measurement import FarField, Measurement
from objectives.diffraction.data.room import content_of
from objectives.diffraction.data.settings import DataSettings, GeometrySettings

FORMAT = "autotune measurement"
FORMAT_VERSION = 1
_CHUNK_PIXELS = 2**18
_UNSIGNED: tuple[type[np.unsignedinteger[Any]], ...] = (np.uint8, np.uint16, np.uint32)


def write_measurement(path: Path, measurement: Measurement) -> None:
    """Write a measurement, compressed without loss; the file appears complete or not at all.

    Values on masked pixels are written as they are; they are read as zero.

    Args:
        path: the file to write, replaced if it exists; its folder must exist.
        measurement: the measurement to write.

    Raises:
        InputError: the folder does not exist or cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with h5py.File(temporary, "x") as file:
            _write(file, measurement)
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            Problem(str(path), f"cannot be written: {error}", "check the folder and its free space")
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _write(file: h5py.File, measurement: Measurement) -> None:
    patterns = measurement.patterns
    count, y, x = patterns.shape
    rows = min(count, max(1, _CHUNK_PIXELS // (y * x)))
    file.attrs.update(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        source=measurement.source,
        counted=measurement.counted,
        position_unit=measurement.position_unit,
    )
    if measurement.scan_shape is not None:
        file.attrs["scan_shape"] = measurement.scan_shape
    stored = file.create_dataset(
        "patterns",
        shape=patterns.shape,
        dtype=_compact(patterns, rows),
        chunks=(rows, y, x),
        compression="gzip",
        compression_opts=4,
        shuffle=True,
    )
    for start in range(0, count, rows):
        stored[start : start + rows] = patterns[start : start + rows].astype(stored.dtype)
    file["positions"] = measurement.positions
    file["valid"] = measurement.valid
    if measurement.probe is not None:
        file["probe"] = measurement.probe
    geometry = file.create_group("geometry").attrs
    geometry["regime"] = "far field" if isinstance(measurement.geometry, FarField) else "near field"
    for name, value in dataclasses.asdict(measurement.geometry).items():
        if value is not None:
            geometry[name] = value


def _compact(patterns: NDArray[np.float32], rows: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds all values if they are whole numbers, else float32.

    Args:
        patterns: (position, det_y, det_x).
        rows: number of patterns checked at a time; a copy of these is in memory.
    """
    needed = 0
    for start in range(0, len(patterns), rows):
        part = patterns[start : start + rows]
        largest = float(part.max(initial=0))
        fitting = [i for i, dtype in enumerate(_UNSIGNED) if largest <= np.iinfo(dtype).max]
        if not fitting:
            return patterns.dtype
        with np.errstate(invalid="ignore"):  # negative or NaN on masked pixels: the comparison refuses them
            if not np.array_equal(part.astype(_UNSIGNED[fitting[0]]), part):
                return patterns.dtype
        needed = max(needed, fitting[0])
    return np.dtype(_UNSIGNED[needed])


@contextmanager
def open_autotune_hdf5(path: Path, data: DataSettings) -> Iterator[Contents]:
    """Open a file written by :func:`write_measurement`; its patterns are read later.

    No setting of ``data`` concerns this format.

    Raises:
        InputError: not HDF5, not this format, a newer version, or a part missing or of the wrong type.
    """
    with open_hdf5_file(path) as file:
        _check_format(path, file)
        _, frames = dataset(path, file, ["patterns"])
        if len(frames.shape) != 3:
            raise InputError(
                Problem(f"{path}: patterns", f"has shape {frames.shape}", "(position, det_y, det_x) is expected")
            )
        _, positions = dataset(path, file, ["positions"])
        valid, probe = find(file, "valid"), find(file, "probe")
        yield Contents(
            path=path,
            frames=frames,
            frames_name="patterns",
            geometry=_geometry(path, file),
            positions=numeric(f"{path}: positions", content_of(path, positions)).astype(np.float64),
            position_unit=_position_unit(path, file),
            scan_shape=_scan_shape(path, file, frames.shape[0]),
            bad=None if valid is None else numeric(f"{path}: valid", content_of(path, valid), kinds="bui") == 0,
            probe=None
            if probe is None
            else numeric(f"{path}: probe", content_of(path, probe), kinds="c").astype(np.complex64),
            counted=bool(file.attrs["counted"]) if "counted" in file.attrs else None,
            source=str(file.attrs.get("source", "")),
        )


def _recognise(clues: Clues) -> Certainty:
    """Signed by the attribute ``format``."""
    return Certainty.SIGNED if clues.hdf5 is not None and clues.hdf5.attrs.get("format") == FORMAT else Certainty.NONE


def _check_format(path: Path, file: h5py.File) -> None:
    name, version = file.attrs.get("format"), file.attrs.get("format_version")
    if name != FORMAT:
        raise InputError(
            Problem(
                str(path),
                f"is HDF5 but not an autotune measurement (attribute 'format' is {name!r}, not '{FORMAT}')",
                "a CXI file needs objective.data.format: cxi",
            )
        )
    if version != FORMAT_VERSION:
        raise InputError(
            Problem(str(path), f"has format_version {version}", f"this version of autotune reads {FORMAT_VERSION}")
        )


def _position_unit(path: Path, file: h5py.File) -> Literal["angstrom", "object pixel"]:
    unit = file.attrs.get("position_unit")
    if unit == "angstrom":
        return "angstrom"
    if unit == "object pixel":
        return "object pixel"
    raise InputError(
        Problem(f"{path}: attribute position_unit", f"is {unit!r}", "'angstrom' or 'object pixel' is expected")
    )


def _scan_shape(path: Path, file: h5py.File, count: int) -> tuple[int, int] | None:
    if "scan_shape" not in file.attrs:
        return None
    shape = numeric(f"{path}: attribute scan_shape", file.attrs["scan_shape"], kinds="iu").reshape(-1).tolist()
    if len(shape) != 2 or shape[0] * shape[1] != count:
        raise InputError(
            Problem(
                f"{path}: attribute scan_shape",
                f"is {shape}",
                f"two numbers whose product is {count} are expected",
            )
        )
    return int(shape[0]), int(shape[1])


def _geometry(path: Path, file: h5py.File) -> GeometrySettings:
    group = file.get("geometry")
    if not isinstance(group, h5py.Group):
        raise InputError(Problem(str(path), "has no group 'geometry'", "write it with write_measurement"))
    fields = GeometrySettings.model_fields
    values = {
        name: value.tolist() if isinstance(value, np.generic | np.ndarray) else value
        for name, value in group.attrs.items()
        if name in fields
    }
    return geometry_in_file(path, values, {name: f"geometry attribute {name}" for name in values})


READER = Reader(open_autotune_hdf5, _recognise, suffixes=(".h5", ".hdf5"))
