"""Blocks of atoms: right density, right thickness, right orientation."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from autotune.objective import InputError
from objectives.ptychography.simulation.crystals import Block, cut_block, specimen_name
from objectives.ptychography.simulation.settings import SpecimenSettings

pytest.importorskip("ase", reason="ASE is not installed: pip install '.[sim]'")

A = 3.905
DATA = Path(os.environ.get("AUTOTUNE_DATA") or Path(__file__).resolve().parents[4].parent / "shared" / "data")
SLANTED = """data_slanted
_cell_length_a 4.0
_cell_length_b 4.0
_cell_length_c 5.0
_cell_angle_alpha 80
_cell_angle_beta 75
_cell_angle_gamma 120
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
C1 C 0.1 0.2 0.3
N1 N 0.6 0.5 0.9
"""
MOLECULE = """3
Lattice="1 0 0 0 1 0 0 0 1" pbc="F F F"
C 10.0 20.0 -5.0
O 12.0 20.0 -5.0
N 10.0 24.0 -1.0
"""


def block(**specimen: object) -> Block:
    thickness, width = specimen.pop("thickness", None), specimen.pop("width", 20 * A)
    return cut_block(SpecimenSettings.model_validate(specimen), thickness, width)  # type: ignore[arg-type]


def test_crystal_has_its_density_and_thickness() -> None:
    cut = block(builtin="SrTiO3", thickness=10 * A)
    assert cut.height == pytest.approx(10 * A)
    assert len(cut.numbers) == pytest.approx(20 * 20 * 10 * 5, rel=0.06)
    assert (cut.positions >= 0).all() and (cut.positions < [20 * A, 20 * A, 10 * A]).all()
    counts = {z: int((cut.numbers == z).sum()) for z in (38, 22, 8)}
    assert counts[8] == pytest.approx(3 * counts[22], rel=0.1) and counts[38] == pytest.approx(counts[22], rel=0.11)


def test_no_plane_of_atoms_lies_on_a_slice_boundary_of_half_cells() -> None:
    z = block(builtin="SrTiO3", thickness=4 * A).positions[:, 2]
    np.testing.assert_allclose(np.unique(np.round(z / A, 6)), np.arange(8) / 2 + 0.25)


def test_thickness_defaults_to_one_cell() -> None:
    assert block(builtin="SrTiO3").height == pytest.approx(A)


@pytest.mark.parametrize(("name", "lattice", "atoms"), [("MoS2", 3.18, 3), ("WSe2", 3.32, 3), ("graphene", 2.46, 2)])
def test_layers_fill_the_width(name: str, lattice: float, atoms: int) -> None:
    cut = block(builtin=name, width=60.0)
    cell = lattice**2 * np.sqrt(3) / 2
    assert len(cut.numbers) == pytest.approx(atoms * 60.0**2 / cell, rel=0.03)
    for axis in (0, 1):
        assert cut.positions[:, axis].min() < lattice and cut.positions[:, axis].max() > 60 - lattice
    assert cut.positions[:, 2].min() == pytest.approx(1.0)
    assert cut.height == pytest.approx(cut.positions[:, 2].max() + 1.0)


def test_slanted_cell_is_repeated_without_gaps(tmp_path: Path) -> None:
    (tmp_path / "s.cif").write_text(SLANTED)
    cut = block(file=tmp_path / "s.cif", thickness=30.0, width=40.0)
    angles = np.cos(np.deg2rad([80, 75, 120]))
    volume = 4 * 4 * 5 * np.sqrt(1 - (angles**2).sum() + 2 * angles.prod())
    assert len(cut.numbers) == pytest.approx(2 * 40 * 40 * 30 / volume, rel=0.03)
    octants, _ = np.histogramdd(cut.positions, bins=2)
    assert octants.min() > 0.85 * octants.max()
    # Every carbon has its neighbour along a, except at the block's edge.
    carbon = cut.positions[cut.numbers == 6]
    inner = carbon[carbon[:, 0] < 35]
    gaps = np.linalg.norm(inner[:, None] + [4.0, 0, 0] - carbon[None], axis=2).min(axis=1)
    assert gaps.max() < 1e-6


def test_molecule_is_centred_and_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "m.xyz").write_text(MOLECULE)
    cut = block(file=tmp_path / "m.xyz", width=30.0)
    np.testing.assert_array_equal(cut.numbers, [6, 8, 7])
    np.testing.assert_allclose(cut.positions, [[14, 13, 1], [16, 13, 1], [14, 17, 5]])
    assert cut.height == pytest.approx(6.0)


def test_vacancies_and_vibrations() -> None:
    whole = block(builtin="SrTiO3", thickness=10 * A)
    random = np.random.default_rng(1)
    missing = 1 - len(whole.without(0.2, random).numbers) / len(whole.numbers)
    assert missing == pytest.approx(0.2, abs=0.02)
    assert len(whole.without(0.0, random).numbers) == len(whole.numbers)
    moved = whole.vibrating(0.1, random).positions - whole.positions
    moved[:, :2] -= whole.width * np.round(moved[:, :2] / whole.width)
    assert moved.std(axis=0) == pytest.approx([0.1] * 3, rel=0.05)
    shaken = whole.vibrating(3.0, random).positions
    assert (shaken >= 0).all() and (shaken < [whole.width, whole.width, whole.height]).all()


@pytest.mark.parametrize(
    ("name", "text", "quoted"),
    [
        ("gone.cif", None, ["gone.cif", "no such file", "relative to the study"]),
        ("atoms.traj", "x", ["atoms.traj", "'.traj'", ".cif or .xyz"]),
        ("half.cif", "data_x\nloop_\n_atom_site_label\n", ["half.cif", "cannot be read"]),
        ("words.xyz", "these are no atoms\n", ["words.xyz", "cannot be read"]),
        ("none.xyz", '0\nLattice="3 0 0 0 3 0 0 0 3"\n', ["none.xyz", "no atoms"]),
        ("flat.xyz", '1\nLattice="3 0 0 0 3 0 0 0 0" pbc="T T T"\nC 0 0 0\n', ["flat.xyz", "no length"]),
        ("turned.xyz", '1\nLattice="3 0 2 0 3 0 0 0 3" pbc="T T T"\nC 0 0 0\n', ["turned.xyz", "across the beam"]),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, text: str | None, quoted: list[str]) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        block(file=tmp_path / name)
    for part in quoted:
        assert part in str(caught.value)


def test_a_molecule_takes_no_thickness(tmp_path: Path) -> None:
    (tmp_path / "m.xyz").write_text(MOLECULE)
    with pytest.raises(InputError, match=r"m\.xyz is not periodic along the beam.*30 angstrom"):
        block(file=tmp_path / "m.xyz", thickness=30.0)


@pytest.mark.parametrize(
    "name", ["SrTiO3_100_abtem.cif", "graphite.cif", "GaAs_wurtzite_mp-8883.cif", "graphene_orthogonal_abtem.cif"]
)
def test_published_cells(name: str) -> None:
    path = DATA / "cif" / name
    if not path.is_file():
        pytest.skip(f"{name} is not in the folder cif of what AUTOTUNE_DATA names")
    cut = block(file=path, thickness=20.0)
    assert len(cut.numbers) > 100 and cut.height == 20.0
    assert specimen_name(SpecimenSettings(file=path)) == name
