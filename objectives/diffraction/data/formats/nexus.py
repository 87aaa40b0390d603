"""NeXus files of X-ray ptychography (NXcxi_ptycho and similar files of beamlines): groups found by ``NX_class``.

- Patterns: dataset ``data`` of an NXdetector, or the signal of an NXdata; (position, y, x) or a raster of them.
- Positions: one (x, y[, z]) per pattern in ``geometry/translation`` of an NXsample; or datasets whose names start or
  end with ``x`` and ``y`` among NXtransformations, NXpositioner, NXsample and NXdata, with one value per pattern, or
  one per column and row of a raster. They move the sample in the NeXus frame (x horizontal, y up, seen from the
  source). So, with a detector read from its top left corner as seen along the beam, the probe moves by (+y, +x) along
  the detector's rows and columns.
- Geometry: NXdetector ``distance``, ``x_pixel_size``, ``y_pixel_size``, ``pixel_mask``; ``energy`` or ``wavelength``
  (also ``incident_...``) of NXbeam, NXmonochromator or NXsource. The attribute ``units`` gives the unit. Where it is
  absent, lengths are in metre (wavelengths in angstrom), and energies in eV (joule if below 1e-10).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from autotune.objective import InputError, Problem
from objectives.diffraction.data import units
from objectives.diffraction.data.contents import Contents, geometry_in_file, numeric, scalar
from objectives.diffraction.data.format_reader import Certainty, Clues, Reader
from objectives.diffraction.data.hdf5_access import choose_dataset, find, name_and_shape, open_hdf5_file, text
from objectives.diffraction.data.radiation import wavelength_angstrom
from objectives.diffraction.data.room import content_of
from objectives.diffraction.data.settings import DataSettings, GeometrySettings

_ENERGY_IN_JOULE_BELOW = 1e-10
_MOVED = ("NXtransformations", "NXpositioner", "NXsample", "NXdata", "NXcollection")
_BEAMS = ("NXbeam", "NXmonochromator", "NXsource")


def _recognise(clues: Clues) -> Certainty:
    """Stated by an NXentry at the file's top."""
    entry = clues.hdf5 is not None and any(_class(item) == "NXentry" for item in clues.hdf5.values())
    return Certainty.STATED if entry else Certainty.NONE


@contextmanager
def open_nexus(path: Path, data: DataSettings) -> Iterator[Contents]:
    """Open a NeXus file; its patterns are read later.

    Raises:
        InputError: not HDF5, no patterns, or a value of the wrong type, unit or shape.
    """
    with open_hdf5_file(path) as file:
        groups = _groups(file)
        frames = choose_dataset(path, _candidates(groups), file, data.key)
        reading = _Nexus(path, groups, frames)
        positions = reading.positions()
        yield Contents(
            path=path,
            frames=frames,
            frames_name=str(frames.name),
            geometry=reading.geometry(),
            positions=None if positions is None else positions[1],
            positions_name="" if positions is None else positions[0],
            bad=reading.mask(),
        )


def _class(item: Any) -> str:
    return text(item.attrs["NX_class"]) if "NX_class" in getattr(item, "attrs", {}) else ""


def _groups(file: h5py.File) -> list[h5py.Group]:
    """All groups that have a class, sorted by name."""
    groups: list[h5py.Group] = []

    def visit(_: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Group) and _class(item):
            groups.append(item)

    file.visititems(visit)
    return sorted(groups, key=lambda group: str(group.name))


def _candidates(groups: Sequence[h5py.Group]) -> list[h5py.Dataset]:
    """Datasets that may hold patterns: those of detectors; where there are none, the signals of data groups."""
    detectors = [find(group, "data") for group in groups if _class(group) == "NXdetector"]
    signals = [find(group, text(group.attrs.get("signal", "data"))) for group in groups if _class(group) == "NXdata"]
    for choice in (detectors, signals):
        distinct = {item.id: item for item in choice if item is not None and len(item.shape) in (3, 4)}
        if distinct:
            return list(distinct.values())
    return []


class _Nexus:
    """Reads geometry, mask and positions of one dataset of patterns."""

    def __init__(self, path: Path, groups: Sequence[h5py.Group], frames: h5py.Dataset) -> None:
        self.path = path
        self.groups = groups
        self.frames = frames
        detectors = self._of(("NXdetector",))
        own = [group for group in detectors if str(frames.name).startswith(str(group.name) + "/")]
        self.detectors = own or detectors

    def _of(self, classes: Sequence[str]) -> list[h5py.Group]:
        return [group for name in classes for group in self.groups if _class(group) == name]

    def geometry(self) -> GeometrySettings:
        values: dict[str, Any] = {}
        names: dict[str, str] = {}
        distance = self._length(self.detectors, ("distance",))
        if distance is not None:
            values["detector_distance_mm"], names["detector_distance_mm"] = distance[1] * 1e-7, distance[0]
        y, x = (self._length(self.detectors, (f"{axis}_pixel_size",)) for axis in "yx")
        if y is not None and x is not None:
            values["detector_pixel_um"] = (y[1] * 1e-4, x[1] * 1e-4)
            names["detector_pixel_um"] = f"{y[0]}, {x[0]}"
        beams = self._of(_BEAMS)
        wavelength = self._length(beams, ("wavelength", "incident_wavelength"), default=1.0)
        energy = self._first(beams, ("energy", "incident_energy"))
        if wavelength is not None:
            values["wavelength_angstrom"], names["wavelength_angstrom"] = wavelength[1], wavelength[0]
        elif energy is not None:
            values["wavelength_angstrom"] = self._wavelength(energy)
            names["wavelength_angstrom"] = str(energy.name)
        return geometry_in_file(self.path, values, names)

    def mask(self) -> NDArray[np.bool_] | None:
        stored = self._first(self.detectors, ("pixel_mask", "mask"))
        if stored is None or len(stored.shape) != 2:
            return None
        return np.asarray(numeric(f"{self.path}: {stored.name}", content_of(self.path, stored), kinds="iub") != 0)

    def _first(self, groups: Sequence[h5py.Group], names: Sequence[str]) -> h5py.Dataset | None:
        items = (find(group, name) for group in groups for name in names)
        return next((item for item in items if item is not None), None)

    def _length(
        self, groups: Sequence[h5py.Group], names: Sequence[str], default: float = 1e10
    ) -> tuple[str, float] | None:
        """Name of the first dataset with one of these names, and its value in angstrom.

        ``default`` is the unit, in angstrom, of a dataset that states none.
        """
        item = self._first(groups, names)
        if item is None:
            return None
        return str(item.name), scalar(f"{self.path}: {item.name}", content_of(self.path, item)) * self._unit(
            item, default
        )

    def _unit(self, item: h5py.Dataset, default: float) -> float:
        if "units" not in item.attrs:
            return default
        factor = units.angstrom(text(item.attrs["units"]))
        if factor is None:
            raise InputError(
                Problem(
                    f"{self.path}: {item.name}", f"has the unit '{text(item.attrs['units'])}'", "a length is needed"
                )
            )
        return factor

    def _wavelength(self, item: h5py.Dataset) -> float:
        value = scalar(f"{self.path}: {item.name}", content_of(self.path, item))
        unit = text(item.attrs["units"]) if "units" in item.attrs else "J" if value < _ENERGY_IN_JOULE_BELOW else "eV"
        factor = units.kev(unit)
        if factor is None or not value > 0 or not np.isfinite(value):
            raise InputError(
                Problem(f"{self.path}: {item.name}", f"{value} {unit} is impossible", "an energy is needed")
            )
        probes = [find(group, "probe") for group in self._of(("NXsource",))]
        electrons = any(
            probe is not None and text(content_of(self.path, probe)).strip() == "electron" for probe in probes
        )
        return wavelength_angstrom("electron" if electrons else "x-ray", value * factor)

    def positions(self) -> tuple[str, NDArray[np.float64]] | None:
        """Name of the positions, and (y, x) of the probe in angstrom (position, 2); None where the file lists none."""
        for group in self._of(("NXsample", "NXdata", "NXdetector")):
            for name in ("geometry/translation", "geometry_1/translation", "translation"):
                item = find(group, name)
                if item is not None:
                    return str(item.name), self._translation(item)
        scan = tuple(int(n) for n in self.frames.shape[:-2])
        for group in self._of(_MOVED):
            y, x = self._axis(group, "y"), self._axis(group, "x")
            if y is None or x is None:
                continue
            placed = _spread(self._values(y), self._values(x), scan)
            if placed is None:
                fault = f"{name_and_shape(y)} and {name_and_shape(x)} do not fit the scan of shape {scan}"
                raise InputError(Problem(f"{self.path}: {group.name}", fault, "one position per pattern is expected"))
            return f"{y.name}, {x.name}", placed
        return None

    def _axis(self, group: h5py.Group, axis: str) -> h5py.Dataset | None:
        """Find the numeric dataset, with more than one value, whose name starts or ends with the axis."""
        for name in sorted(group, key=len):
            plain = name.lower().removesuffix("_set").removesuffix("_value").removesuffix("_positions")
            parts = plain.split("_")
            item = find(group, name)
            if item is None or item.dtype.kind not in "iuf" or item.size < 2 or item.id == self.frames.id:
                continue
            if axis in (parts[0], parts[-1]) and not name.endswith("pixel_size") and len(item.shape) <= 2:
                return item
        return None

    def _values(self, item: h5py.Dataset) -> NDArray[np.float64]:
        return numeric(f"{self.path}: {item.name}", content_of(self.path, item)).astype(np.float64) * self._unit(
            item, 1e10
        )

    def _translation(self, item: h5py.Dataset) -> NDArray[np.float64]:
        moved = self._values(item)
        if moved.ndim != 2 or moved.shape[1] not in (2, 3):
            raise InputError(
                Problem(f"{self.path}: {item.name}", f"has shape {moved.shape}", "(position, 3), x, y, z, is expected")
            )
        return moved[:, [1, 0]]


def _spread(y: NDArray[np.float64], x: NDArray[np.float64], scan: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Positions (position, 2) from values per pattern, or per row and column of a raster; None where neither fits."""
    count = int(np.prod(scan))
    if y.size == count and x.size == count:
        return np.stack([y.ravel(), x.ravel()], axis=1)
    if len(scan) == 2 and (y.size, x.size) == scan:
        return np.stack([axis.ravel() for axis in np.meshgrid(y, x, indexing="ij")], axis=1)
    return None


READER = Reader(open_nexus, _recognise, suffixes=(".nxs",))
