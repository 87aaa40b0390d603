"""HDF5 files of py4DSTEM 0.14 and other writers of EMD 1.0 (emdfile): a datacube and its calibration.

Groups are found by their attributes ``emd_group_type`` (``root`` at the top, ``array`` for the datacube) and the
calibration under ``metadatabundle``. In py4DSTEM x is the row and y the column. ``QR_rotation`` is the
counterclockwise rotation of real space with respect to diffraction space
(``py4DSTEM.process.calibration.rotation.get_Qvector_from_Rvector``): the negative of our scan rotation. ``QR_flip``
means that the pattern's axes are swapped against the scan's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from autotune.objective import InputError, Problem
from objectives.diffraction.data import units
from objectives.diffraction.data.contents import Contents, geometry_in_file, numeric, scalar
from objectives.diffraction.data.format_reader import Certainty, Clues, Reader
from objectives.diffraction.data.hdf5_access import choose_dataset, find, open_hdf5_file, text
from objectives.diffraction.data.room import content_of
from objectives.diffraction.data.settings import DataSettings, GeometrySettings

_DATACUBE_AXES = 4


def _recognise(clues: Clues) -> Certainty:
    """Signed by a group at the file's top that is the root of an EMD tree."""
    root = clues.hdf5 is not None and any(_kind(item) == "root" for item in clues.hdf5.values())
    return Certainty.SIGNED if root else Certainty.NONE


@contextmanager
def open_py4dstem(path: Path, data: DataSettings) -> Iterator[Contents]:
    """Open an EMD 1.0 file; its patterns are read later.

    Raises:
        InputError: not HDF5, no datacube, or several and ``key`` does not say which.
    """
    with open_hdf5_file(path) as file:
        frames = choose_dataset(path, _datacubes(file), file, data.key)
        calibration = _calibration(file, frames)
        yield Contents(
            path=path,
            frames=frames,
            frames_name=str(frames.name),
            geometry=_Calibration(path, calibration, frames.parent).geometry(),
            transposed=_flag(path, calibration, "QR_flip"),
        )


def _kind(item: Any) -> str:
    return text(item.attrs["emd_group_type"]) if "emd_group_type" in getattr(item, "attrs", {}) else ""


def _datacubes(file: h5py.File) -> list[h5py.Dataset]:
    """The datasets of all arrays with four axes."""
    datacubes: list[h5py.Dataset] = []

    def visit(_: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Group) and _kind(item) == "array":
            array = find(item, "data")
            if array is not None and len(array.shape) == _DATACUBE_AXES:
                datacubes.append(array)

    file.visititems(visit)
    return datacubes


def _calibration(file: h5py.File, frames: h5py.Dataset) -> h5py.Group | None:
    """The calibration group of the tree that holds the datacube; None where it has none."""
    root = file.get(str(frames.name).split("/")[1])
    group = root.get("metadatabundle/calibration") if isinstance(root, h5py.Group) else None
    return group if isinstance(group, h5py.Group) else None


def _flag(path: Path, group: h5py.Group | None, name: str) -> bool:
    stored = None if group is None else find(group, name)
    return stored is not None and bool(np.any(numeric(f"{path}: {stored.name}", content_of(path, stored), kinds="biu")))


class _Calibration:
    """Reads geometry from a calibration group, or from the datacube's axes where the group has none."""

    def __init__(self, path: Path, group: h5py.Group | None, cube: h5py.Group) -> None:
        self.path = path
        self.group = group
        self.cube = cube
        self.values: dict[str, Any] = {}
        self.names: dict[str, str] = {}

    def geometry(self) -> GeometrySettings:
        self._scan()
        self._detector()
        if (degree := self._number("QR_rotation_degrees")) is not None:
            self._take("scan_rotation_degree", "QR_rotation_degrees", -degree)
        elif (radian := self._number("QR_rotation")) is not None:
            self._take("scan_rotation_degree", "QR_rotation", -math.degrees(radian))
        if (angle := self._number("convergence_semiangle_mrad")) is not None:
            self._take("semi_convergence_mrad", "convergence_semiangle_mrad", angle)
        for name in ("accelerating_voltage", "beam_energy"):  # in volt; the names are customary, not standard
            if (volt := self._number(name)) is not None and "energy_kev" not in self.values:
                self._take("energy_kev", name, volt * 1e-3)
                self._take("radiation", name, "electron")
        return geometry_in_file(self.path, self.values, self.names)

    def _scan(self) -> None:
        unit, size = self._pair("R_pixel_units", "R_pixel_size", "dim0", "dim1")
        if (factor := units.angstrom(unit)) is not None and size is not None:
            self._take("scan_step_angstrom", "R_pixel_size", (size[0] * factor, size[1] * factor))

    def _detector(self) -> None:
        unit, size = self._pair("Q_pixel_units", "Q_pixel_size", "dim2", "dim3")
        if size is None:
            return
        if (factor := units.mrad(unit)) is not None:
            self._take("angular_sampling_mrad", "Q_pixel_size", (size[0] * factor, size[1] * factor))
        elif (factor := units.per_angstrom(unit)) is not None:
            self._take("reciprocal_sampling_per_angstrom", "Q_pixel_size", (size[0] * factor, size[1] * factor))

    def _pair(self, unit_name: str, size_name: str, *axes: str) -> tuple[str, tuple[float, float] | None]:
        """The unit and the pixel's size along both axes, from the calibration or the axes' first two values."""
        unit = None if self.group is None else find(self.group, unit_name)
        if unit is not None:
            size = self._number(size_name)
            return text(content_of(self.path, unit)), None if size is None else (size, size)
        dims = [find(self.cube, axis) for axis in axes]
        if any(dim is None or "units" not in dim.attrs or dim.size < 2 for dim in dims):
            return "", None
        steps = [np.diff(numeric(f"{self.path}: {dim.name}", dim[:2]).astype(float))[0] for dim in dims if dim]
        return text(dims[0].attrs["units"]), (float(steps[0]), float(steps[1]))  # type: ignore[union-attr]

    def _number(self, name: str) -> float | None:
        stored = None if self.group is None else find(self.group, name)
        if stored is None or stored.shape not in ((), (1,)):  # a map over the scan, or None stored as text
            return None
        if stored.dtype.kind not in "iuf":
            if text(stored[()]) in ("_None", "None", ""):
                return None
            raise InputError(
                Problem(f"{self.path}: {stored.name}", f"holds {text(stored[()])!r}", "a number is expected")
            )
        return scalar(f"{self.path}: {stored.name}", content_of(self.path, stored))

    def _take(self, field: str, name: str, value: Any) -> None:
        self.values[field], self.names[field] = value, name


READER = Reader(open_py4dstem, _recognise)
