"""Two independent implementations of the same experiment: agreement is a test of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from objectives.ptychography.model.forward import Layout
from objectives.ptychography.simulation.direct import DirectExperiment as Experiment
from objectives.ptychography.simulation.direct import Specimen, expected_patterns
from objectives.ptychography.simulation.instrument import draw_truth
from objectives.ptychography.simulation.settings import MISMATCH, SimulationSettings
from objectives.ptychography.simulation.simulate import read_truth, simulate_patterns, truth_path, write_simulation
from tests.objectives.diffraction.data.files import read
from tests.objectives.ptychography import reference
from tests.objectives.ptychography.scenes import all_values, model_of

N, COLUMN_WIDTH = 32, 0.45
WRONG = {
    "camera_length": 2.0,
    "center_offset_y": 0.8,
    "center_offset_x": -0.6,
    "elliptical_distortion": 0.02,
    "elliptical_angle": 30.0,
    "defocus": 60.0,
    "astigmatism": 20.0,
    "astigmatism_angle": 40.0,
    "spherical_aberration": 3.0,
    "scan_rotation": 7.0,
    "scan_scale": 2.0,
    "scan_shear": 1.0,
}
SETTINGS = SimulationSettings(seed=3, detector_pixels=N, angular_sampling_mrad=2.2, scan_points=4, mismatch=WRONG)


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return expected_patterns(SETTINGS, np.random.default_rng(SETTINGS.seed))


def sampled(specimen: Specimen, layout: Layout, first: NDArray[np.int64], pixel: float, matrix: NDArray[np.float64]):  # type: ignore[no-untyped-def]
    """The true specimen on the affine object grid, r = p A^T u, as one slice."""
    rows, columns = layout.object_shape
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1).reshape(-1, 2)
    places = (grid - 2 - N // 2 + first) @ matrix * pixel
    phase = np.zeros(len(places))
    inside = np.abs(specimen.sites).max(axis=1) < np.abs(places).max() + 3
    for site, peak in zip(specimen.sites[inside], specimen.phases[inside], strict=True):
        phase += peak * np.exp(-((places - site) ** 2).sum(axis=1) / (2 * COLUMN_WIDTH**2))
    return torch.as_tensor(np.exp(1j * phase).reshape(1, rows, columns))


def consistency(experiment: Experiment, values: dict[str, float]) -> float:
    """Of the forward model, given the true specimen, with the expected patterns without noise."""
    measurement = simulate_patterns(SETTINGS)[0]
    model = model_of(measurement, values)
    scene, layout = model.scene, model.layout
    first = scene.positions.round().to(torch.int64).amin(0).numpy()
    matrix = reference.detector_matrix(values)
    transmission = sampled(experiment.specimen, layout, first, float(scene.pixel[0]), matrix)
    assert scene.spectrum is not None
    modelled = model.intensity(transmission, scene.spectrum[None], model.batch(torch.arange(16))).numpy()
    residual = modelled - experiment.expected
    return float(1 - np.linalg.norm(residual) / np.linalg.norm(experiment.expected))


def test_forward_model_and_simulation_agree(experiment: Experiment) -> None:
    """To 4 %: the simulation integrates over a detector pixel's area, the model takes the value at its middle."""
    assert consistency(experiment, WRONG) > 0.955


@pytest.mark.parametrize(
    ("name", "tolerance"), [("camera_length", 0.2), ("center_offset_y", 0.1), ("center_offset_x", 0.1)]
)
def test_truth_maximises_consistency(experiment: Experiment, name: str, tolerance: float) -> None:
    """The vertex of the parabola through three points lies within ``tolerance`` (%, pixel) of the truth."""
    h = 2 * tolerance
    below, at, above = (consistency(experiment, {**WRONG, name: WRONG[name] + step}) for step in (-h, 0.0, h))
    assert at > max(below, above)
    vertex = h * (below - above) / (2 * (below - 2 * at + above))
    assert abs(vertex) < tolerance


@pytest.mark.parametrize(("name", "step"), [("defocus", 15.0), ("scan_rotation", 3.0), ("elliptical_distortion", 0.01)])
def test_truth_beats_its_neighbours(experiment: Experiment, name: str, step: float) -> None:
    at = consistency(experiment, WRONG)
    for side in (-step, step):
        assert consistency(experiment, {**WRONG, name: WRONG[name] + side}) < at


def test_nothing_is_lost_but_the_highest_angles(experiment: Experiment) -> None:
    totals = experiment.expected.sum(axis=(1, 2))
    assert totals == pytest.approx(np.ones(16), abs=5e-3)
    assert experiment.expected.min() >= 0


def test_dose_and_noise() -> None:
    measurement, truth = simulate_patterns(SETTINGS)
    assert truth == {name: WRONG.get(name, 0.0) for name in MISMATCH}
    counts = measurement.patterns.sum(axis=(1, 2))
    assert counts.mean() == pytest.approx(SETTINGS.electrons_per_pattern, rel=5e-3)
    expected = expected_patterns(SETTINGS, np.random.default_rng(SETTINGS.seed)).expected * 1e5
    bright = expected > 20
    deviation = (measurement.patterns[bright] - expected[bright]) / np.sqrt(expected[bright])
    assert deviation.std() == pytest.approx(1.0, abs=0.05)
    assert measurement.counted and measurement.scan_shape == (4, 4)


def test_one_seed_one_measurement() -> None:
    drawn = SETTINGS.model_copy(update={"mismatch": {"defocus": (50.0, 90.0)}})
    first, second = simulate_patterns(drawn), simulate_patterns(drawn)
    assert first[0].content_hash == second[0].content_hash and first[1] == second[1]
    other = simulate_patterns(drawn.model_copy(update={"seed": 4}))
    assert other[0].content_hash != first[0].content_hash and other[1]["defocus"] != first[1]["defocus"]


def test_truth_is_drawn_from_the_stated_ranges() -> None:
    settings = SimulationSettings(mismatch={"defocus": (50.0, 90.0), "scan_rotation": 3.0})
    drawn = [draw_truth(settings, np.random.default_rng(seed)) for seed in range(50)]
    defocus = [truth["defocus"] for truth in drawn]
    assert 50 <= min(defocus) < 60 and 80 < max(defocus) <= 90
    assert {truth["scan_rotation"] for truth in drawn} == {3.0}
    assert {truth["camera_length"] for truth in drawn} == {0.0}


def test_specimen_is_a_thin_phase_object_with_its_columns() -> None:
    specimen = Specimen(np.array([[1.0, -2.0]]), np.array([0.7]))
    y, x = np.array([1.0, 1.0 + COLUMN_WIDTH, 6.0]), np.array([-2.0, 3.0])
    transmission = specimen.transmission(y, x)
    np.testing.assert_allclose(np.abs(transmission), 1.0)
    np.testing.assert_allclose(np.angle(transmission[:2, 0]), [0.7, 0.7 * np.exp(-0.5)], rtol=1e-6)
    np.testing.assert_allclose(np.angle(transmission[2]), 0.0, atol=1e-9)


def test_written_measurement_and_truth_are_read_again(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"mismatch": {"defocus": (50.0, 90.0), "scan_rotation": 3.0}})
    path = tmp_path / "new folder" / "demo.h5"
    measurement = write_simulation(settings, path)
    assert read(path).content_hash == measurement.content_hash
    document = read_truth(path)
    assert document is not None and document["content_hash"] == measurement.content_hash
    assert set(document["truth"]) == {"defocus", "scan_rotation"}
    assert truth_path(path).name == "demo.truth.json"
    assert sorted(p.name for p in path.parent.iterdir()) == ["demo.h5", "demo.truth.json"]


@pytest.mark.parametrize("text", [None, "{half", "[1, 2]"])
def test_a_truth_that_cannot_be_read_is_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        truth_path(tmp_path / "demo.h5").write_text(text, encoding="utf-8")
    assert read_truth(tmp_path / "demo.h5") is None


@pytest.mark.parametrize(
    ("settings", "quoted"),
    [
        ({"mismatch": {"focus": 3.0}}, ["focus", "defocus"]),
        ({"mismatch": {"defocus": [90.0, 50.0]}}, ["90", "50"]),
        ({"semi_convergence_mrad": 40.0}, ["40", "33.6", "26.88"]),
        ({"detector_pixels": 33}, ["33", "multiple of 2"]),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object], quoted: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        SimulationSettings.model_validate(settings)
    for part in quoted:
        assert part in str(caught.value)


def test_defaults_are_complete() -> None:
    """Every mismatch the simulation knows is a parameter of what it simulates, but for the aperture."""
    names = set(all_values(simulate_patterns(SETTINGS)[0], {}))
    assert set(MISMATCH) < names
