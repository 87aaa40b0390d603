"""Microscopy formats that RosettaSciIO reads: EMPAD, Medipix (.mib), .blo, .dm3/.dm4, .emd, .hspy, TVIPS and others.

RosettaSciIO parses the file; here its signal (array, axes with scales and units, metadata tree as in HyperSpy) becomes
:class:`~objectives.diffraction.data.contents.Contents`. Arrays stay lazy where the format allows it. The scan's axes
are those that the signal marks (``navigate``); failing that, those whose units are not the detector's (reciprocal
lengths and angles); failing that, the first ones. Energies are in keV, convergence semi-angles in mrad, camera lengths
in mm.
"""

from __future__ import annotations

import importlib
import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from rsciio import IO_PLUGINS

from autotune.objective import InputError, Problem
from objectives.diffraction.data import units
from objectives.diffraction.data.contents import Contents, geometry_in_file
from objectives.diffraction.data.format_reader import Certainty, Clues, Reader
from objectives.diffraction.data.frames import DaskFrames, Frames
from objectives.diffraction.data.hdf5_access import text
from objectives.diffraction.data.settings import DataSettings, GeometrySettings

_UNSAFE = ("netCDF", "MSA")  # their readers evaluate text of the file as Python
_PREFERRED = ("EMPAD", "Arina")  # chosen where several readers have the same suffix
_OWN = ("numpy", "NeXus", "USID", "Tofwerk", "Delmic")  # read by this project itself, or never patterns
_INSTRUMENTS = ("TEM", "SEM")
_ZARR_METADATA = (".zarray", ".zmetadata", "zarr.json")
_SHAPE_KEYWORD = {"TVIPS": "scan_shape"}  # readers that select the scan's frames from a longer file
_ZIPPED = (".zspy", ".prz")  # formats that are ZIP archives
_ZIP_MAGIC = b"PK\x03\x04"
_HDF5_SUFFIXES = (".emd", ".hspy")
_ALL_FRAMES = (2**62,)  # QuantumDetector: more frames than a file has, so that it neither drops frames nor guesses rows


def _reader_names() -> Mapping[str, str]:
    """Suffix -> name of the RosettaSciIO reader that is used for it."""
    names: dict[str, str] = {}
    for plugin in sorted(IO_PLUGINS, key=lambda plugin: plugin["name"] not in _PREFERRED):
        if plugin["name"] not in (*_UNSAFE, *_OWN):
            for extension in plugin["file_extensions"]:
                names.setdefault(f".{extension.lower()}", plugin["name"])
    return names


_READER_NAMES = _reader_names()


def _recognise(clues: Clues) -> Certainty:
    """Likely for HDF5 and ZIP files with a suffix, or HyperSpy's attribute, that other formats do not have."""
    if clues.hdf5 is not None:
        hyperspy = text(clues.hdf5.attrs.get("file_format", "")) == "HyperSpy"
        return Certainty.LIKELY if hyperspy or clues.suffix in _HDF5_SUFFIXES else Certainty.NONE
    zipped = clues.start.startswith(_ZIP_MAGIC) and clues.suffix in _ZIPPED
    return Certainty.LIKELY if zipped else Certainty.NONE


@contextmanager
def open_rosettasciio(path: Path, data: DataSettings) -> Iterator[Contents]:
    """Open a file with the RosettaSciIO reader of its suffix; patterns are read later where the format allows it.

    Raises:
        InputError: no reader has this suffix, it cannot read the file, or no signal (or several, without ``key``) is
            a list or a raster of patterns.
    """
    reader = _reader_name(path)
    signals = _read(path, reader, data)
    try:
        signal = _choose(path, [candidate for candidate in signals if _is_scan(candidate)], signals, data.key)
        array, scan, detector = _ordered(signal)
        if array.ndim == 4 and reader in _SHAPE_KEYWORD and data.shape is not None:
            array = array.reshape((-1, *array.shape[2:]))  # with_shape applies the study's shape, as for other formats
            scan = []
        try:
            yield Contents(
                path=path,
                frames=_frames(array),
                frames_name=_title(signal) or "signal",
                geometry=_geometry(path, reader, signal, scan, detector),
            )
        except (OSError, ValueError, EOFError, RuntimeError) as error:
            raise _unreadable(path, reader, error) from error
    finally:
        _close(signals)


def _reader_name(path: Path) -> str:
    name = _READER_NAMES.get(path.suffix.lower())
    if name is None:
        raise InputError(
            Problem(str(path), f"RosettaSciIO has no reader for '{path.suffix}'", "correct objective.data.format")
        )
    return name


def _unreadable(path: Path, reader: str, error: Exception) -> InputError:
    return InputError(
        Problem(
            str(path),
            f"cannot be read by RosettaSciIO's reader {reader}: {type(error).__name__}: {error}",
            "a file cut short by a broken copy looks so; copy it again, with the files that belong to it",
        )
    )


def _read(path: Path, reader: str, data: DataSettings) -> list[dict[str, Any]]:
    """Read all signals of the file."""
    _refuse_pickles(path)
    api = next(plugin["api"] for plugin in IO_PLUGINS if plugin["name"] == reader)
    options: dict[str, Any] = {}
    if data.shape is not None and reader == "QuantumDetector":
        options["navigation_shape"] = _ALL_FRAMES
    elif data.shape is not None and reader in _SHAPE_KEYWORD:
        options[_SHAPE_KEYWORD[reader]] = data.shape
    elif data.shape is not None and reader == "Arina":
        options["navigation_shape"] = data.shape[::-1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            module = importlib.import_module(api)
            try:
                return list(module.file_reader(str(path), lazy=True, **options))
            except NotImplementedError:
                return list(module.file_reader(str(path), lazy=False, **options))
    except ImportError as error:
        raise InputError(
            Problem(str(path), f"RosettaSciIO's reader {reader} needs another package: {error}", "install it")
        ) from error
    # A parser may fail in any way on a damaged file; in every case the file is at fault.
    except Exception as error:
        raise _unreadable(path, reader, error) from error


def _refuse_pickles(path: Path) -> None:
    """Raise InputError for a Zarr store that names the codec ``pickle``, which would run code from the file."""
    for name, content in _zarr_metadata(path):
        with suppress(ValueError):
            if '"pickle"' in json.dumps(json.loads(content)):
                raise InputError(
                    Problem(f"{path}: {name}", "holds Python objects (codec 'pickle'), which are never loaded")
                )


def _zarr_metadata(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every metadata file of a Zarr store (a folder or a ZIP archive); nothing for other files."""
    if path.is_dir():
        for name in _ZARR_METADATA:
            yield from ((str(file.relative_to(path)), file.read_bytes()) for file in path.rglob(name))
    elif path.suffix.lower() == ".zspy" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if Path(name).name in _ZARR_METADATA]
            yield from ((name, archive.read(name)) for name in members)


def _is_scan(signal: Mapping[str, Any]) -> bool:
    data = signal.get("data")
    return data is not None and getattr(data, "ndim", 0) in (3, 4) and data.dtype.kind in "iuf"


def _title(signal: Mapping[str, Any]) -> str:
    return str(signal.get("metadata", {}).get("General", {}).get("title", ""))


def _choose(
    path: Path, candidates: list[dict[str, Any]], signals: list[dict[str, Any]], key: str | None
) -> dict[str, Any]:
    """Choose the signal whose title is ``key``, or the only candidate."""
    listed = ", ".join(f"{_title(signal) or 'unnamed'} {tuple(signal['data'].shape)}" for signal in candidates)
    if key is not None:
        matching = [signal for signal in candidates if _title(signal) == key]
        if len(matching) == 1:
            return matching[0]
        raise InputError(
            Problem("objective.data.key", f"{len(matching)} signals of {path} are called '{key}': {listed}")
        )
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        fault = f"is needed: {path} holds several signals that could be patterns: {listed}"
        raise InputError(Problem("objective.data.key", fault, f"state a title, e.g. key: {_title(candidates[0])}"))
    arrays = [signal["data"] for signal in signals if hasattr(signal.get("data"), "shape")]
    there = ", ".join(str(tuple(array.shape)) for array in arrays) or "none"
    raise InputError(
        Problem(
            str(path), f"holds no list or raster of patterns (shapes of its signals: {there})", "4D-STEM is expected"
        )
    )


def _ordered(signal: Mapping[str, Any]) -> tuple[Any, list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The array with the scan's axes first, the axes of the scan, and the axes of the detector."""
    array = signal["data"]
    axes = sorted(signal["axes"], key=lambda axis: axis.get("index_in_array", signal["axes"].index(axis)))
    number = array.ndim - 2
    scan = [i for i, axis in enumerate(axes) if axis.get("navigate")]
    if len(scan) != number:
        detector = [i for i, axis in enumerate(axes) if _is_reciprocal(axis)]
        scan = [i for i in range(array.ndim) if i not in detector] if len(detector) == 2 else list(range(number))
    rest = [i for i in range(array.ndim) if i not in scan]
    return array.transpose(*scan, *rest), [axes[i] for i in scan], [axes[i] for i in rest]


def _is_reciprocal(axis: Mapping[str, Any]) -> bool:
    unit = _unit(axis)
    return units.mrad(unit) is not None or units.per_angstrom(unit) is not None


def _unit(axis: Mapping[str, Any]) -> str:
    return str(axis.get("units") or "")


def _frames(array: Any) -> Frames:
    return DaskFrames(array) if hasattr(array, "dask") else np.asarray(array)


def _geometry(
    path: Path,
    reader: str,
    signal: Mapping[str, Any],
    scan: Sequence[Mapping[str, Any]],
    detector: Sequence[Mapping[str, Any]],
) -> GeometrySettings:
    values: dict[str, Any] = {}
    names: dict[str, str] = {}

    def take(field: str, name: str, value: Any) -> None:
        values[field], names[field] = value, name

    steps = [_scaled(axis, units.angstrom) for axis in scan]
    if len(steps) == 2 and steps[0] is not None and steps[1] is not None:
        take("scan_step_angstrom", "scales of the scan's axes", (steps[0], steps[1]))
    for field, convert in (
        ("angular_sampling_mrad", units.mrad),
        ("reciprocal_sampling_per_angstrom", units.per_angstrom),
    ):
        y, x = (_scaled(axis, convert) for axis in detector)
        if y is not None and x is not None:
            take(field, "scales of the detector's axes", (y, x))
    if (energy := _metadata(signal, "beam_energy")) is not None:
        take("energy_kev", "metadata beam_energy", energy)
        take("radiation", "metadata beam_energy", "electron")
    if (angle := _metadata(signal, "convergence_angle")) is not None:
        take("semi_convergence_mrad", "metadata convergence_angle", angle)
    # A Blockfile's camera length is not in mm.
    if reader != "Blockfile" and (length := _metadata(signal, "camera_length")) is not None:
        take("detector_distance_mm", "metadata camera_length", length)
    return geometry_in_file(path, values, names)


def _scaled(axis: Mapping[str, Any], convert: Any) -> float | None:
    """Magnitude of the axis' step in the project's unit; None where its unit is of another kind."""
    factor, scale = convert(_unit(axis)), axis.get("scale")
    return None if factor is None or not scale else abs(float(scale)) * float(factor)


def _metadata(signal: Mapping[str, Any], name: str) -> float | None:
    """A number of the microscope, from the metadata tree or what the reader maps into it; None where it is not set."""
    for instrument in _INSTRUMENTS:
        place = f"Acquisition_instrument.{instrument}.{name}"
        value = _at(signal.get("metadata", {}), place)
        for source, (target, convert) in signal.get("mapping", {}).items():
            original = _at(signal.get("original_metadata", {}), source) if target == place else None
            if value is None and original is not None:
                with suppress(TypeError, ValueError):
                    value = convert(original) if convert is not None else original
        with suppress(TypeError, ValueError):
            if value is not None and float(value) > 0:  # zero stands for unknown
                return float(value)
    return None


def _at(tree: Any, place: str) -> Any:
    for name in place.split("."):
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def _close(signals: Sequence[Mapping[str, Any]]) -> None:
    """Close the files that lazy arrays keep open."""
    from rsciio.utils.file import get_file_handle

    for signal in signals:
        if hasattr(signal.get("data"), "dask"):
            handle = get_file_handle(signal["data"], warn=False)
            if handle is not None:
                handle.close()


READER = Reader(open_rosettasciio, _recognise, suffixes=tuple(_READER_NAMES), folders=(".zspy",))
