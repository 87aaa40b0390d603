"""Specimens made of atoms, for multislice engines: built in, or from a CIF or XYZ file (read by ASE)."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotune.objective import InputError, Problem
from objectives.ptychography.simulation.settings import LAYERS, SpecimenSettings

Floats = NDArray[np.float64]

EXTRA = "pip install '.[sim]' (in the checkout)"
_FORMATS = {".cif": "cif", ".xyz": "extxyz"}
_VACUUM_ANGSTROM = 1.0
"""Free space above and below a specimen that is not periodic along the beam."""
_LAYERS_ANGSTROM = {"MoS2": (3.18, 3.19), "MoSe2": (3.32, 3.34), "WS2": (3.18, 3.14), "WSe2": (3.32, 3.34)}
"""Lattice constant and distance of the outer planes. MoS2 as in ase.build.mx2; the others from Schutte, De Boer and
Jellinek, J. Solid State Chem. 70 (1987) 207 and Bronsema, De Boer and Jellinek, Z. anorg. allg. Chem. 540 (1986) 15."""
_GRAPHENE_ANGSTROM = 2.46
_SRTIO3_ANGSTROM = 3.905
"""Meyer and Nelmes, Ferroelectrics 21 (1978) 461."""


@dataclass(frozen=True)
class Block:
    """Atoms in a box, the beam along +z.

    Attributes:
        numbers: (atom,) atomic numbers.
        positions: (atom, 3) as (x, y, z) in angstrom, inside [0, width) x [0, width) x [0, height).
        width: side of the box across the beam, angstrom.
        height: thickness of the box along the beam, angstrom.
    """

    numbers: NDArray[np.int64]
    positions: Floats
    width: float
    height: float

    def without(self, fraction: float, random: np.random.Generator) -> Block:
        """This block with ``fraction`` of its atoms missing at random."""
        keep = random.random(len(self.numbers)) >= fraction
        return Block(self.numbers[keep], self.positions[keep], self.width, self.height)

    def vibrating(self, displacement: float, random: np.random.Generator) -> Block:
        """This block with every atom displaced by a normal deviate of ``displacement`` angstrom along each axis.

        An atom that would leave through the entrance or exit surface is held there.
        """
        moved = self.positions + random.normal(scale=displacement, size=self.positions.shape)
        moved[:, :2] %= self.width
        moved[:, 2] = np.clip(moved[:, 2], 0, np.nextafter(self.height, 0))
        return Block(self.numbers, moved, self.width, self.height)


def library(name: str) -> Any:
    """Import the module ``name`` of the extra ``sim``; InputError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(
            Problem(
                "objective.simulate.engine",
                f"'abtem' needs the package '{error.name}', which is not installed",
                f"install the extra with `{EXTRA}`, or state engine: direct",
            )
        ) from error


def specimen_name(specimen: SpecimenSettings) -> str:
    """Name of the specimen, for people."""
    return specimen.builtin if specimen.builtin is not None else str(specimen.file and specimen.file.name)


def cut_block(specimen: SpecimenSettings, thickness: float | None, width: float) -> Block:
    """Cut a block out of the specimen, repeated along its periodic directions, with its origin in the block's middle.

    Args:
        specimen: the specimen.
        thickness: angstrom, for a crystal; None takes one unit cell, or all there is of a specimen that is not
            periodic along the beam.
        width: side of the block across the beam, angstrom.
    """
    atoms = _read(specimen.file) if specimen.file is not None else _built_in(str(specimen.builtin))
    if atoms.pbc[2]:
        _cut_between_planes(atoms)
        height = float(thickness if thickness is not None else atoms.cell[2, 2])
    else:
        if thickness is not None:
            raise InputError(
                Problem(
                    "objective.simulate.specimen",
                    f"{specimen_name(specimen)} is not periodic along the beam, so its thickness cannot be "
                    f"{thickness:g} angstrom",
                    "leave the thickness out, or give a crystal",
                )
            )
        atoms.positions[:, 2] += _VACUUM_ANGSTROM - atoms.positions[:, 2].min()
        height = float(atoms.positions[:, 2].max()) + _VACUUM_ANGSTROM
    if not atoms.pbc[:2].any():
        atoms.positions[:, :2] -= (atoms.positions[:, :2].max(axis=0) + atoms.positions[:, :2].min(axis=0)) / 2
    numbers, positions = _repeated(atoms, width, height)
    positions[:, :2] += width / 2
    inside = ((positions >= 0) & (positions < [width, width, height])).all(axis=1)
    return Block(numbers[inside], positions[inside], width, height)


def _built_in(name: str) -> Any:
    build, ase = library("ase.build"), library("ase")
    if name == "graphene":
        return build.graphene(a=_GRAPHENE_ANGSTROM)
    if name in LAYERS:
        lattice, planes = _LAYERS_ANGSTROM[name]
        return build.mx2(name, a=lattice, thickness=planes)
    sites = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    return ase.Atoms("SrTiO3", scaled_positions=sites, cell=[_SRTIO3_ANGSTROM] * 3, pbc=True)


def _read(path: Path) -> Any:
    """Read a CIF or XYZ file. Others are refused, since ASE reads formats that can hold pickled objects."""
    where = str(path)
    if path.suffix.lower() not in _FORMATS:
        raise InputError(Problem(where, f"is not a specimen's file: '{path.suffix}'", "give a .cif or .xyz file"))
    if not path.is_file():
        raise InputError(Problem(where, "no such file", "objective.simulate.specimen.file is relative to the study"))
    io = library("ase.io")
    try:
        with warnings.catch_warnings():
            # ASE's warnings about a file (about a space group's setting, say) do not matter for a simulation.
            warnings.simplefilter("ignore")
            atoms = io.read(path, format=_FORMATS[path.suffix.lower()], index=0)
    except Exception as error:  # ASE's parsers raise whatever their parsing meets: KeyError, IndexError, AssertionError
        raise InputError(Problem(where, f"cannot be read: {error or type(error).__name__}")) from error
    if not len(atoms):
        raise InputError(Problem(where, "holds no atoms"))
    if any(not np.linalg.norm(atoms.cell[axis]) > 0 for axis in np.flatnonzero(atoms.pbc)):
        raise InputError(Problem(where, "is periodic along an axis of the cell that has no length", "state the cell"))
    if atoms.pbc[2] and not (abs(atoms.cell[0, 2]) < 1e-6 and abs(atoms.cell[1, 2]) < 1e-6 and atoms.cell[2, 2] > 0):
        raise InputError(Problem(where, "its a and b axes are not across the beam (z)", "turn the cell"))
    return atoms


def _cut_between_planes(atoms: Any) -> None:
    """Move a crystal along its c axis so that the cell begins in the widest gap between planes of atoms.

    Then no plane lies on the boundary of two slices, where rounding would decide in which of them it is.
    """
    fractions = np.sort(atoms.get_scaled_positions()[:, 2] % 1)
    gaps = np.diff(fractions, append=fractions[0] + 1)
    widest = int(np.argmax(gaps))
    middle = fractions[widest] + gaps[widest] / 2
    scaled = atoms.get_scaled_positions(wrap=False)
    scaled[:, 2] = (scaled[:, 2] - middle) % 1
    atoms.set_scaled_positions(scaled)


def _repeated(atoms: Any, width: float, height: float) -> tuple[NDArray[np.int64], Floats]:
    """Numbers and positions of all periodic images that may lie in the block, the origin at its entrance's middle."""
    cell, periodic = np.asarray(atoms.cell), np.asarray(atoms.pbc)
    # The cells of the block's corners say how often to repeat; axes that are not periodic only need a direction.
    complete = np.asarray(atoms.cell.complete()) if not periodic.all() else cell
    signs = np.array([(y, x, z) for y in (-1, 1) for x in (-1, 1) for z in (0, 1)])
    corners = signs * [width / 2, width / 2, height] @ np.linalg.inv(complete)
    low = np.where(periodic, np.floor(corners.min(axis=0)) - 1, 0).astype(int)
    high = np.where(periodic, np.ceil(corners.max(axis=0)) + 1, 0).astype(int)
    shifts = np.stack(
        np.meshgrid(*[np.arange(a, b + 1) for a, b in zip(low, high, strict=True)], indexing="ij"), axis=-1
    ).reshape(-1, 3)
    positions = (atoms.positions[None] + (shifts @ cell)[:, None]).reshape(-1, 3)
    return np.tile(np.asarray(atoms.numbers, dtype=np.int64), len(shifts)), positions
