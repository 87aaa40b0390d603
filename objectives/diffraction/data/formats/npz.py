"""NumPy archives (.npz).

Keys, all arrays of numbers (nothing pickled is ever loaded):

    data                  (scan_y, scan_x, det_y, det_x), or (position, det_y, det_x) together with positions, or a
                          raster as a list with ``objective.data.shape``
    positions or scan     (position, 2) or (scan_y, scan_x, 2): (y, x) of the probe on the object, +y along
                          increasing detector row; in the unit that ``objective.data.positions`` names
    mask                  (det_y, det_x), nonzero = ignore the pixel; stored like data (corner or centre)
    probe                 (..., det_y, det_x) complex, centred; several are incoherent modes
    energy_eV             kinetic energy of electrons
    wavelength_angstrom   the wavelength, instead of energy_eV
    angular_sampling_mrad one number or (y, x): scattering angle per detector pixel
    semiangle_mrad        semi-convergence angle
    nominal_step_A        step of the raster, in angstrom, where no positions are listed
    nominal_defocus_A     nominal defocus in angstrom, positive = underfocus
    nominal_rotation_deg  nominal scan rotation in degrees
    detector_distance_mm, detector_pixel_um, focus_to_sample_mm   as in ``objective.geometry``

``data`` is required; other keys of the archive are ignored.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from autotune.objective import InputError, Problem, near_miss
from objectives.diffraction.data.contents import Contents, as_modes, geometry_in_file, numeric, scalar
from objectives.diffraction.data.format_reader import Certainty, Clues, Reader
from objectives.diffraction.data.formats.npy import read_npy_header
from objectives.diffraction.data.frames import Frames, StreamedFrames
from objectives.diffraction.data.settings import DataSettings, GeometrySettings

# key -> (field of GeometrySettings, factor to its unit)
_SCALARS = {
    "energy_eV": ("energy_kev", 1e-3),
    "wavelength_angstrom": ("wavelength_angstrom", 1.0),
    "semiangle_mrad": ("semi_convergence_mrad", 1.0),
    "nominal_step_A": ("scan_step_angstrom", 1.0),
    "nominal_defocus_A": ("defocus_angstrom", 1.0),
    "nominal_rotation_deg": ("scan_rotation_degree", 1.0),
    "detector_distance_mm": ("detector_distance_mm", 1.0),
    "focus_to_sample_mm": ("focus_to_sample_mm", 1.0),
}
_ZIP_MAGIC = b"PK\x03\x04"
_PAIRS = ("angular_sampling_mrad", "detector_pixel_um")
# RuntimeError: an encrypted archive; MemoryError: a damaged header that claims an enormous array.
_UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)


def _recognise(clues: Clues) -> Certainty:
    """Possible for every ZIP archive."""
    return Certainty.POSSIBLE if clues.start.startswith(_ZIP_MAGIC) else Certainty.NONE


@contextmanager
def open_npz(path: Path, data: DataSettings) -> Iterator[Contents]:
    """Open an archive with the keys that this module's docstring lists.

    Raises:
        InputError: not a complete archive, ``data`` missing, or an array unreadable or not numeric.
    """
    if not zipfile.is_zipfile(path):
        raise InputError(
            Problem(
                str(path),
                "is not a complete .npz archive (no ZIP directory at its end)",
                "a file cut short by a broken copy or download looks so; copy it again, or name its format",
            )
        )
    with path.open("rb") as stream:  # opened here because np.load does not close a damaged archive
        try:
            archive = np.load(stream, allow_pickle=False)
        except _UNREADABLE as error:
            raise InputError(Problem(str(path), f"cannot be read as .npz: {error}", "copy it again")) from error
        with archive:
            contents = _contents(path, archive, data)
            try:
                yield contents
            except _UNREADABLE as error:
                raise _unreadable(path, "data", error) from error
            finally:
                if isinstance(contents.frames, StreamedFrames):
                    contents.frames.close()


def _contents(path: Path, archive: Any, data: DataSettings) -> Contents:
    keys = set(archive.files)
    if "data" not in keys:
        fault = f"has no array 'data' (arrays: {', '.join(sorted(keys)) or 'none'})"
        raise InputError(Problem(str(path), fault, near_miss("data", keys) + " Name the patterns 'data'"))
    frames = _frames(path, archive)
    name = "positions" if "positions" in keys else "scan"
    positions = _positions(path, archive, name, frames.shape) if name in keys else None
    if positions is None and "positions" in data.model_fields_set:
        raise InputError(
            Problem("objective.data.positions", f"has no effect: {path} holds no array 'positions'", "remove it")
        )
    return Contents(
        path=path,
        frames=frames,
        frames_name="data",
        geometry=_geometry(path, archive, keys),
        positions=positions,
        positions_name=name,
        position_unit=data.positions if positions is not None else "angstrom",
        bad=numeric(f"{path}: mask", _array(path, archive, "mask"), kinds="iufb") != 0 if "mask" in keys else None,
        probe=_probe(path, archive) if "probe" in keys else None,
        corner=data.zero_frequency == "corner",
    )


def _frames(path: Path, archive: Any) -> Frames:
    """The patterns, to be read from the archive block by block; loaded at once where they are not stored row by row."""
    info = archive.zip.getinfo(next(name for name in ("data.npy", "data") if name in archive.zip.namelist()))
    try:
        with archive.zip.open(info) as stream:
            header = read_npy_header(stream)
            start = stream.tell()
    except _UNREADABLE as error:
        raise _unreadable(path, "data", error) from error
    if header is None or header.fortran or header.dtype.hasobject or len(header.shape) not in (3, 4):
        return _array(path, archive, "data")
    stored = math.prod(header.shape) * header.dtype.itemsize
    if info.file_size - start != stored:
        raise InputError(
            Problem(
                f"{path}: data",
                f"holds {info.file_size - start} bytes, but shape {header.shape} of {header.dtype} needs {stored}",
                "the file is damaged; copy it again",
            )
        )

    def open_stream() -> IO[bytes]:
        opened: IO[bytes] = archive.zip.open(info)
        opened.read(start)
        return opened

    return StreamedFrames(open_stream, header.shape, header.dtype)


def _unreadable(path: Path, key: str, error: Exception) -> InputError:
    if "allow_pickle" in str(error):
        return InputError(
            Problem(f"{path}: {key}", "holds Python objects, which are never loaded", "store plain numbers")
        )
    return InputError(Problem(f"{path}: {key}", f"cannot be read: {error}", "the file is damaged; copy it again"))


def _array(path: Path, archive: Any, key: str) -> NDArray[Any]:
    try:
        return np.asarray(archive[key])
    except _UNREADABLE as error:
        raise _unreadable(path, key, error) from error


def _positions(path: Path, archive: Any, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    positions = numeric(f"{path}: {name}", _array(path, archive, name)).astype(np.float64)
    return positions.reshape(-1, 2) if positions.shape == (*shape[:-2], 2) else positions


def _probe(path: Path, archive: Any) -> NDArray[np.complex64]:
    probe = numeric(f"{path}: probe", _array(path, archive, "probe"), kinds="iufc")
    if probe.ndim < 2 or 0 in probe.shape:
        raise InputError(Problem(f"{path}: probe", f"has shape {probe.shape}", "(..., det_y, det_x) is expected"))
    return as_modes(probe)


def _geometry(path: Path, archive: Any, keys: set[str]) -> GeometrySettings:
    values: dict[str, Any] = {}
    names: dict[str, str] = {}
    for key, (field, factor) in _SCALARS.items():
        if key in keys:
            values[field] = scalar(f"{path}: {key}", _array(path, archive, key)) * factor
            names[field] = key
    for key in keys & set(_PAIRS):
        numbers = numeric(f"{path}: {key}", _array(path, archive, key)).reshape(-1).tolist()
        values[key] = numbers[0] if len(numbers) == 1 else tuple(numbers)
        names[key] = key
    if "energy_kev" in values:
        values["radiation"] = "electron"
    return geometry_in_file(path, values, names)


READER = Reader(open_npz, _recognise, suffixes=(".npz",))
