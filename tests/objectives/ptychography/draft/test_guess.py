"""The scan's rotation from centres of mass: on known fields, on simulated measurements, and on noise."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from objectives.diffraction.data.formats.autotune_hdf5 import write_measurement
from objectives.ptychography.draft.rotation_guess import guess_rotation
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


def test_in_a_draft(tmp_path: Path) -> None:
    truth = {"defocus": 80.0, "scan_rotation": 14.0}
    simulated = SimulationSettings(seed=2, scan_points=16, detector_pixels=32, angular_sampling_mrad=2.0,
                                   electrons_per_pattern=1e6, mismatch=truth)  # fmt: skip
    measurement, _ = simulate_patterns(simulated)
    write_measurement(tmp_path / "scan.h5", measurement)
    draft = ptychography.draft(tmp_path / "scan.h5", folder=tmp_path)
    assert draft is not None
    found = ptychography.guess(draft, folder=tmp_path)
    [line] = [line for line in found.lines if line.key == "parameters.scan_rotation"]
    assert line.value["low"] < 14 < line.value["high"] and line.value["high"] - line.value["low"] < 60
    assert "centres of mass" in line.comment and found.facts["rotation"] in line.comment
    assert [each.key for each in found.lines] == [each.key for each in draft.lines]


def test_without_a_raster_nothing_is_guessed(tmp_path: Path) -> None:
    measurement, _ = simulate_patterns(SimulationSettings(scan_points=5, detector_pixels=24, angular_sampling_mrad=2.6))
    write_measurement(tmp_path / "scan.h5", measurement)
    draft = ptychography.draft(tmp_path / "scan.h5", folder=tmp_path)
    assert draft is not None
    found = ptychography.guess(draft, folder=tmp_path)
    assert found.lines == draft.lines and found.facts["rotation"].startswith("not guessed: ")


def test_on_data_of_another_simulator() -> None:
    folder = os.environ.get("AUTOTUNE_DATA")
    path = Path(folder or "") / "mos2_60kV" / "mos2_60kV.npz"
    if folder is None or not path.is_file():
        pytest.skip("AUTOTUNE_DATA names no folder with mos2_60kV.npz")
    with np.load(path) as stored:
        data = stored["data"]
    shape = (data.shape[0], data.shape[1])
    found = guess_rotation(data.reshape(-1, *data.shape[2:]), np.ones(data.shape[2:], np.bool_), shape, (1.0, 1.0))
    assert found is not None and abs(found.value - 12.0) < 2 * found.deviation and found.deviation < 4
