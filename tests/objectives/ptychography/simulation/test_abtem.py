"""The engine ``abtem``: signs, units and the detector, against independent arithmetic."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from autotune.objective import InputError
from objectives.ptychography.plugin import ptychography
from objectives.ptychography.settings import PtychographySettings
from objectives.ptychography.simulation.instrument import Experiment
from objectives.ptychography.simulation.settings import MISMATCH, SPECIMEN_MISMATCH, SimulationSettings
from objectives.ptychography.simulation.simulate import engine, read_truth, simulate_patterns
from tests.objectives.ptychography import multislice, reference

Floats = NDArray[np.float64]

N, SAMPLING, ENERGY, SEMI_CONVERGENCE = 32, 2.2, 80.0, 24.0
BASE: dict[str, Any] = {
    "engine": "abtem",
    "seed": 5,
    "energy_kev": ENERGY,
    "semi_convergence_mrad": SEMI_CONVERGENCE,
    "detector_pixels": N,
    "angular_sampling_mrad": SAMPLING,
    "scan_points": 4,
    "scan_step_angstrom": 1.8,
}
ATOMS = (("Si", 1.5, -2.0, 0), ("Si", -1.0, 1.2, 0), ("P", 0.2, 3.0, 0), ("Si", -2.6, -1.4, 0), ("O", 2.9, 2.1, 0))
"""Element, x, y, z in angstrom: no symmetry, so that every axis and sign shows."""
COLUMNS = [(symbol, x, y, 8.0 * level) for level in range(4) for symbol, x, y, _ in ATOMS[:3]]
VALUES = dict.fromkeys(MISMATCH, 0.0) | {"convergence_angle": SEMI_CONVERGENCE}


@pytest.fixture
def _abtem() -> None:
    pytest.importorskip("abtem", reason="abTEM is not installed: pip install '.[sim]'")


def xyz(path: Path, atoms: list[tuple[str, float, float, float]] | tuple[Any, ...]) -> Path:
    """Write a molecule whose middle stays at the scan's middle: two far weak atoms fix its bounds."""
    frame = [("H", -14.0, -14.0, 0.0), ("H", 14.0, 14.0, 0.0)]
    lines = [f"{symbol} {x} {y} {z}" for symbol, x, y, z in [*frame, *atoms]]
    path.write_text(f'{len(lines)}\npbc="F F F"\n' + "\n".join(lines) + "\n")
    return path


def simulated(file: Path | None = None, specimen: dict[str, Any] | None = None, **settings: Any) -> Experiment:
    what = {"file": file} if file is not None else {"builtin": "graphene"}
    complete = SimulationSettings.model_validate({**BASE, "specimen": what | (specimen or {}), **settings})
    return engine("abtem")(complete, np.random.default_rng(complete.seed))


def modelled(stated: Floats, **values: float) -> Floats:
    """Patterns of ATOMS, one slice: abTEM's potential on a wide coarse grid, everything else by the test's own code."""
    import abtem
    from ase import Atoms

    values = VALUES | values
    wavelength = abtem.core.energy.energy2wavelength(1e3 * ENERGY)
    pixel = wavelength / (N * SAMPLING * 1e-3)
    period, middle = 2 * N, N * pixel
    atoms = Atoms(
        [atom[0] for atom in ATOMS],
        positions=[(middle + x, middle + y, 1.0) for _, x, y, _ in ATOMS],
        cell=[period * pixel, period * pixel, 2.0],
        pbc=True,
    )
    potential = abtem.Potential(atoms, gpts=4 * period, slice_thickness=2.0).build(lazy=False).array[0, ::4, ::4].T
    slices = np.exp(1j * abtem.core.energy.energy2sigma(1e3 * ENERGY) * potential)[None]
    probe = reference.shifted(reference.lens_spectrum(N, SAMPLING, wavelength, values), np.zeros(2))
    positions = reference.scan_positions(stated, values) + middle
    return multislice.scan(probe, slices, positions, pixel, wavelength, 1.0, (0.0, 0.0))


def consistency(patterns: Floats, expected: Floats) -> float:
    return float(1 - np.linalg.norm(patterns - expected) / np.linalg.norm(expected))


def vacuum(**values: float) -> Floats:
    """The aperture's disk where the detector puts it, sampled at 15 x 15 points of every pixel."""
    parts = 15
    at = (np.arange(N * parts) + 0.5) / parts - 0.5 - N // 2
    offset = np.array([values["center_offset_y"], values["center_offset_x"]])
    matrix = reference.detector_matrix(VALUES | values)
    points = np.stack(np.meshgrid(at - offset[0], at - offset[1], indexing="ij"))
    q = np.einsum("ij,jyx->iyx", np.linalg.inv(matrix), points)
    inside = np.hypot(q[0], q[1]) * SAMPLING < SEMI_CONVERGENCE
    disk = inside.reshape(N, parts, N, parts).mean(axis=(1, 3))
    return disk / (np.pi * (SEMI_CONVERGENCE / SAMPLING) ** 2 * np.linalg.det(matrix))


LENS_AND_SCAN = {
    "defocus": 120.0,
    "astigmatism": 40.0,
    "astigmatism_angle": 35.0,
    "spherical_aberration": 20.0,
    "scan_rotation": 20.0,
    "scan_scale": 10.0,
    "scan_shear": 6.0,
}


@pytest.mark.usefixtures("_abtem")
def test_signs_and_units_of_lens_and_scan(tmp_path: Path) -> None:
    """The engine samples wave and pattern finer than the model does: hence the 5 %."""
    experiment = simulated(xyz(tmp_path / "m.xyz", ATOMS), mismatch=LENS_AND_SCAN)
    assert experiment.truth.items() >= LENS_AND_SCAN.items()
    at_truth = consistency(modelled(experiment.stated, **LENS_AND_SCAN), experiment.expected)
    assert at_truth > 0.95
    for name, value in LENS_AND_SCAN.items():
        turned = {**LENS_AND_SCAN, name: -value}
        assert consistency(modelled(experiment.stated, **turned), experiment.expected) < at_truth - 0.005, name


@pytest.mark.usefixtures("_abtem")
def test_the_detector_sees_the_disk_where_it_should(tmp_path: Path) -> None:
    wrong = {
        "camera_length": 4.0,
        "center_offset_y": 1.3,
        "center_offset_x": -0.7,
        "elliptical_distortion": 0.04,
        "elliptical_angle": 30.0,
    }
    mean = simulated(xyz(tmp_path / "m.xyz", []), mismatch=wrong).expected.mean(axis=0)
    assert consistency(mean, vacuum(**wrong)) > 0.97
    assert mean.sum() == pytest.approx(1.0, abs=2e-3)
    # A parabola through three camera lengths has its vertex within 0.1 % of the truth.
    below, at, above = (consistency(mean, vacuum(**{**wrong, "camera_length": 4.0 + off})) for off in (-0.4, 0.0, 0.4))
    assert abs(0.4 * (below - above) / (2 * (below - 2 * at + above))) < 0.1
    for name, value in wrong.items():
        off = value + {"camera_length": 1.0, "elliptical_angle": 30.0, "elliptical_distortion": 0.02}.get(name, 0.3)
        assert consistency(mean, vacuum(**{**wrong, name: off})) < consistency(mean, vacuum(**wrong)) - 0.003, name


@pytest.mark.usefixtures("_abtem")
def test_tilt_leans_the_columns_towards_plus_down_the_beam(tmp_path: Path) -> None:
    tilt = {"tilt_y": 25.0, "tilt_x": -15.0}
    slices = {"slice_thickness_angstrom": 2.0}
    tilted = simulated(xyz(tmp_path / "c.xyz", COLUMNS), slices, mismatch=tilt).expected

    def leaning(sign_y: float, sign_x: float) -> Floats:
        lean_y, lean_x = sign_y * np.tan(25e-3), -sign_x * np.tan(15e-3)
        atoms = [(symbol, x + lean_x * z, y + lean_y * z, z) for symbol, x, y, z in COLUMNS]
        return simulated(xyz(tmp_path / "l.xyz", atoms), slices).expected

    right = consistency(leaning(1, 1), tilted)
    assert right > 0.98
    for signs in ((-1, 1), (1, -1)):
        assert consistency(leaning(*signs), tilted) < right - 0.02
    as_specimen = simulated(xyz(tmp_path / "c.xyz", COLUMNS), slices | tilt).expected
    np.testing.assert_array_equal(as_specimen, tilted)


@pytest.mark.usefixtures("_abtem")
def test_slices_and_thickness_matter_as_they_should() -> None:
    crystal = {"builtin": "SrTiO3", "thickness_angstrom": None}
    thick = {thickness: simulated(specimen=crystal, mismatch={"thickness": thickness}) for thickness in (20.0, 40.0)}
    assert [experiment.truth["thickness"] for experiment in thick.values()] == [20.0, 40.0]
    assert consistency(thick[20.0].expected, thick[40.0].expected) < 0.8
    # Slices of 4 angstrom hold two planes of atoms; slices of 1 one or none, as those of 2 do, or nearly.
    coarse, fine = (
        simulated(specimen=crystal | {"thickness_angstrom": 20.0, "slice_thickness_angstrom": dz}).expected
        for dz in (4.0, 1.0)
    )
    assert consistency(coarse, thick[20.0].expected) < 0.995 < 0.999 < consistency(fine, thick[20.0].expected)


@pytest.mark.usefixtures("_abtem")
def test_frozen_phonons_average() -> None:
    crystal = {"builtin": "SrTiO3", "thickness_angstrom": 8.0, "slice_thickness_angstrom": 4.0}

    def shaken(configurations: int) -> Floats:
        return simulated(specimen=crystal | {"frozen_phonons": configurations}).expected

    one, many = shaken(1), shaken(6)
    assert one.sum(axis=(1, 2)) == pytest.approx(many.sum(axis=(1, 2)), abs=0.02)
    at_rest = simulated(specimen=crystal).expected
    assert 0.5 < consistency(one, at_rest) < consistency(many, at_rest) < 0.999


def expected_with(**specimen: Any) -> Floats:
    return simulated(specimen={"builtin": "WS2", **specimen}).expected


@pytest.mark.usefixtures("_abtem")
def test_one_seed_one_measurement() -> None:
    settings = SimulationSettings.model_validate(
        {**BASE, "specimen": {"builtin": "WS2", "vacancies": 0.1}, "mismatch": {"tilt_x": [-5, 5], "defocus": [50, 90]}}
    )
    (first, truth), (second, again) = simulate_patterns(settings), simulate_patterns(settings)
    assert first.content_hash == second.content_hash and truth == again
    assert -5 <= truth["tilt_x"] <= 5 and set(truth) == {*MISMATCH, *SPECIMEN_MISMATCH}
    other, _ = simulate_patterns(settings.model_copy(update={"seed": 6}))
    assert other.content_hash != first.content_hash
    assert consistency(expected_with(vacancies=0.5), expected_with(vacancies=0.0)) < 0.97
    assert first.patterns.sum(axis=(1, 2)).mean() == pytest.approx(settings.electrons_per_pattern, rel=0.05)
    assert "WS2" in first.source and "abTEM" in first.source


@pytest.mark.usefixtures("_abtem")
def test_simulate_finds_the_specimen_beside_the_study(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    xyz(tmp_path / "study" / "m.xyz", ATOMS)
    block = {"data": {"file": "m.h5"}, "simulate": {**BASE, "specimen": {"file": "m.xyz"}, "mismatch": {"tilt_y": 2.0}}}
    settings = PtychographySettings.model_validate(block)
    facts = ptychography.simulate(settings, folder=tmp_path / "study", output=None)
    assert facts["patterns"] == f"16 of {N} x {N} pixels"
    document = read_truth(tmp_path / "study" / "m.h5")
    assert document is not None and document["truth"] == {"tilt_y": 2.0}
    assert document["settings"]["specimen"]["file"] == "m.xyz"


def test_without_abtem_one_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "abtem", None)
    settings = PtychographySettings.model_validate(
        {"data": {"file": "m.h5"}, "simulate": {**BASE, "specimen": {"builtin": "MoS2"}}}
    )
    with pytest.raises(InputError) as caught:
        ptychography.simulate(settings, folder=tmp_path, output=None)
    message = str(caught.value)
    assert "'abtem'" in message and "pip install '.[sim]'" in message and "engine: direct" in message
    assert list(tmp_path.iterdir()) == []
