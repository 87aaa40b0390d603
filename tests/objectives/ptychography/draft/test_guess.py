"""Rotation and defocus before a reconstruction: on known fields, on simulated measurements, and on noise."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autotune.objective import Draft
from objectives.diffraction.data.formats.autotune_hdf5 import write_measurement
from objectives.diffraction.data.measurement import FarField, Measurement
from objectives.ptychography.draft import guessed as guess_in_draft
from objectives.ptychography.draft import sideband_guess
from objectives.ptychography.draft.guessed import _axes, _from_sidebands, _lines_of_bands
from objectives.ptychography.draft.rotation_guess import guess_rotation
from objectives.ptychography.draft.sideband_guess import Guess
from objectives.ptychography.plugin import ptychography
from objectives.ptychography.simulation.settings import SimulationSettings
from objectives.ptychography.simulation.simulate import simulate_patterns

N = 20


def gradient_field(rotation: float, noise: float = 0.0) -> NDArray[np.float64]:
    """(n, n, 2) the gradient (y, x) of peaks, at scan points that are turned by ``rotation``."""
    random = np.random.default_rng(1)
    turn = np.deg2rad(rotation)
    s = np.stack(np.meshgrid(*(2 * (np.arange(N) - N / 2),), np.arange(N) * 2.0 - N, indexing="ij"), axis=-1)
    y, x = np.cos(turn) * s[..., 0] - np.sin(turn) * s[..., 1], np.sin(turn) * s[..., 0] + np.cos(turn) * s[..., 1]
    field = np.zeros((N, N, 2))
    for py, px in random.uniform(-25, 25, (40, 2)):
        bump = np.exp(-((y - py) ** 2 + (x - px) ** 2) / 30)
        field += bump[..., None] * np.stack([py - y, px - x], axis=-1) / 15
    return field + noise * random.normal(size=field.shape)


def patterns_of(field: NDArray[np.float64]) -> NDArray[np.float32]:
    """Patterns of 9 x 9 pixels with these centres of mass."""
    found = np.zeros((N * N, 9, 9), np.float32)
    y, x = 0.2 * field.reshape(-1, 2).T
    found[:, 4, 4] = 1 - abs(y) - abs(x)
    for along, (plus, minus) in ((y, ((5, 4), (3, 4))), (x, ((4, 5), (4, 3)))):
        found[:, plus[0], plus[1]] += np.maximum(along, 0)
        found[:, minus[0], minus[1]] += np.maximum(-along, 0)
    return found


@settings(max_examples=25, deadline=None)
@given(st.floats(-179, 179))
def test_any_rotation_of_peaks(rotation: float) -> None:
    found = guess_rotation(patterns_of(gradient_field(rotation)), np.ones((9, 9), np.bool_), (N, N), (2.0, 2.0))
    assert found is not None and not found.half_turn
    assert abs((found.value - rotation + 180) % 360 - 180) < 3 and found.deviation < 2 and found.curl < 0.05


def test_noise_is_told_from_a_field() -> None:
    noise = np.random.default_rng(0).normal(size=(N, N, 2))
    found = guess_rotation(patterns_of(0.1 * noise), np.ones((9, 9), np.bool_), (N, N), (2.0, 2.0))
    assert found is not None and (found.curl > 0.8 or found.deviation > 15) and found.half_turn
    assert guess_rotation(patterns_of(noise)[:49], np.ones((9, 9), np.bool_), (7, 7), (2.0, 2.0)) is None


LENS = {"seed": 2, "scan_points": 14, "detector_pixels": 32, "angular_sampling_mrad": 2.0}


def simulated(mismatch: dict[str, float], **changes: Any) -> Measurement:
    """By a simulator that does not know side bands."""
    measurement, _ = simulate_patterns(SimulationSettings(**{**LENS, **changes}, mismatch=mismatch))
    return measurement


def from_sidebands(measurement: Measurement, near: float = 0.0) -> Guess:
    geometry, axes = measurement.geometry, _axes(measurement)
    assert isinstance(geometry, FarField) and axes is not None
    found, why_not = _from_sidebands(measurement, geometry, axes, near)
    assert found is not None, why_not
    return found


@settings(max_examples=6, deadline=None)
@given(st.floats(40, 180), st.sampled_from([-1, 1]), st.floats(-85, 85), st.floats(-3, 3), st.floats(0, 15))
def test_any_defocus_and_rotation(
    defocus: float, sign: int, rotation: float, camera_length: float, astigmatism: float
) -> None:
    truth = {"defocus": sign * defocus, "scan_rotation": rotation, "camera_length": camera_length,
             "astigmatism": astigmatism, "center_offset_y": 1.2, "convergence_angle": 24.2}  # fmt: skip
    found = from_sidebands(simulated(truth))
    assert abs(found.rotation - rotation) < 4 and abs(found.defocus - sign * defocus) < 10 + 0.1 * defocus
    assert found.defocus_deviation < 12 and found.rotation_deviation < 5


def test_the_twin_is_half_a_turn_away() -> None:
    """The same in either half of the turn; which one is meant is said."""
    measurement = simulated({"defocus": 80.0, "scan_rotation": 14.0})
    here, there = from_sidebands(measurement), from_sidebands(measurement, near=180.0)
    assert there.defocus == pytest.approx(-here.defocus, abs=0.5)
    assert there.rotation == pytest.approx(here.rotation - 180, abs=0.5)


def test_more_pixels_than_are_needed_are_binned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sideband_guess, "_PIXELS", 200)
    found = from_sidebands(simulated({"defocus": 60.0, "scan_rotation": -30.0}))
    assert abs(found.defocus - 60) < 10 and abs(found.rotation + 30) < 4


@pytest.mark.parametrize("what", ["noise", "wide steps", "wider steps", "constant", "small scan", "no aperture"])
def test_what_side_bands_do_not_tell(what: str) -> None:
    step = {"wide steps": 3.5, "wider steps": 40.0}.get(what, 1.0)
    measurement = simulated({"defocus": 60.0}, scan_step_angstrom=step)
    geometry, axes = measurement.geometry, _axes(measurement)
    assert isinstance(geometry, FarField) and axes is not None
    if what == "noise":
        mean = measurement.patterns.mean(axis=0)
        drawn = np.random.default_rng(0).poisson(mean, measurement.patterns.shape).astype(np.float32)
        measurement = replace(measurement, patterns=drawn)
    if what == "constant":
        measurement = replace(measurement, patterns=np.ones_like(measurement.patterns))
    if what == "small scan":
        measurement = replace(measurement, patterns=measurement.patterns[:49], positions=measurement.positions[:49],
                              scan_shape=(7, 7))  # fmt: skip
    if what == "no aperture":
        geometry = replace(geometry, semi_convergence_mrad=None)
    found, why_not = _from_sidebands(measurement, geometry, axes, 0.0)
    assert found is None
    small = "the scan or the aperture is too small, or the steps are too wide"
    told = {"small scan": small, "wider steps": small, "constant": small, "no aperture": "no lens of a known aperture"}
    assert told.get(what, "several values explain") in why_not


def drafted(tmp_path: Path, measurement: Measurement) -> tuple[Draft, Draft]:
    write_measurement(tmp_path / "scan.h5", measurement)
    draft = ptychography.draft(tmp_path / "scan.h5", folder=tmp_path)
    assert draft is not None
    return draft, ptychography.guess(draft, folder=tmp_path)


def test_in_a_draft(tmp_path: Path) -> None:
    draft, found = drafted(tmp_path, simulated({"defocus": 80.0, "scan_rotation": 14.0}))
    lines = {line.key: line for line in found.lines}
    for name, true, widest in (("defocus", 80.0, 70), ("scan_rotation", 14.0, 40)):
        line = lines[f"parameters.{name}"]
        assert line.value["low"] < true < line.value["high"] and line.value["high"] - line.value["low"] < widest
        assert "side bands" in line.comment
        assert found.facts[name.removeprefix("scan_")] in line.comment
    assert "or -" in lines["parameters.defocus"].comment
    assert [each.key for each in found.lines] == [each.key for each in draft.lines]


def test_centres_of_mass_where_side_bands_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guess_in_draft, "_CONTRAST", 1e9)
    measurement = simulated({"defocus": 80.0, "scan_rotation": 14.0}, electrons_per_pattern=1e6, scan_points=16)
    draft, found = drafted(tmp_path, measurement)
    [line] = [line for line in found.lines if line.key == "parameters.scan_rotation"]
    assert line.value["low"] < 14 < line.value["high"] and line.value["high"] - line.value["low"] < 60
    assert "centres of mass" in line.comment and found.facts["rotation"] in line.comment
    assert found.facts["defocus"].startswith("not guessed: several values")
    assert [each.key for each in found.lines] == [each.key for each in draft.lines]


@pytest.mark.parametrize("rows", [13, 14])
def test_positions_that_are_no_raster_row_by_row(rows: int, tmp_path: Path) -> None:
    """A snake's, in the order in which they were taken: a guess from them would be of another scan."""
    whole = simulated({"defocus": 80.0, "scan_rotation": 14.0})
    grid, patterns = whole.positions.reshape(14, 14, 2).copy(), whole.patterns.reshape(14, 14, 32, 32).copy()
    grid[1::2], patterns[1::2] = grid[1::2, ::-1].copy(), patterns[1::2, ::-1].copy()
    snake = replace(whole, positions=grid[:rows].reshape(-1, 2), scan_shape=(rows, 14),
                    patterns=patterns[:rows].reshape(-1, 32, 32))  # fmt: skip
    draft, found = drafted(tmp_path, snake)
    assert found.lines == draft.lines
    for name in ("rotation", "defocus"):
        assert found.facts[name] == "not guessed: it is no raster of far-field patterns, row by row in one direction"


def test_examples_for_what_is_missing_are_said() -> None:
    line = _lines_of_bands(Guess(50.0, 1.0, 2.0, 1.0, 9.0), 0.0, "energy_kev")["parameters.defocus"]
    assert "if the examples are right for what is missing (energy_kev)" in line.comment


def test_of_a_thick_specimen_the_entrance_is_in_the_range() -> None:
    guess = Guess(50.0, 1.0, 2.0, 1.0, 9.0)
    line = _lines_of_bands(guess, 80.0)["parameters.defocus"]
    assert line.value == {"low": 30.0, "high": 110.0} and "middle of the specimen" in line.comment


def test_without_a_raster_nothing_is_guessed(tmp_path: Path) -> None:
    measurement, _ = simulate_patterns(SimulationSettings(scan_points=5, detector_pixels=24, angular_sampling_mrad=2.6))
    write_measurement(tmp_path / "scan.h5", measurement)
    draft = ptychography.draft(tmp_path / "scan.h5", folder=tmp_path)
    assert draft is not None
    found = ptychography.guess(draft, folder=tmp_path)
    assert found.lines == draft.lines and found.facts["rotation"].startswith("not guessed: ")


@pytest.mark.parametrize(
    ("name", "defocus", "rotation"),
    [
        ("mos2_60kV/mos2_60kV", 86.4, 12.0),
        ("blind_4dstem/blind_10", 98.0, -10.9),
        ("blind_4dstem/blind_11", 54.1, 12.8),
    ],
)
def test_on_data_of_another_simulator(name: str, defocus: float, rotation: float, tmp_path: Path) -> None:
    folder = os.environ.get("AUTOTUNE_DATA")
    path = Path(folder or "") / f"{name}.npz"
    if folder is None or not path.is_file():
        pytest.skip(f"AUTOTUNE_DATA names no folder with {name}.npz")
    with np.load(path) as stored:
        data = stored["data"]
    shape = (data.shape[0], data.shape[1])
    by_centres = guess_rotation(data.reshape(-1, *data.shape[2:]), np.ones(data.shape[2:], np.bool_), shape, (1.0, 1.0))
    assert by_centres is not None and abs(by_centres.value - rotation) < 2 * by_centres.deviation
    draft = ptychography.draft(path, folder=tmp_path)
    assert draft is not None
    ranges = {line.key: line.value for line in ptychography.guess(draft, folder=tmp_path).lines}
    for key, true, widest in (("defocus", defocus, 50), ("scan_rotation", rotation, 15)):
        found = ranges[f"parameters.{key}"]
        assert found["low"] < true < found["high"] < found["low"] + widest
