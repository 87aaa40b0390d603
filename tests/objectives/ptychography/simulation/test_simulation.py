"""Two independent implementations of the same experiment: agreement is a test of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from objectives.diffraction.data.measurement import Measurement
from objectives.ptychography.model.forward import Layout
from objectives.ptychography.objective import PtychographyObjective
from objectives.ptychography.simulation.direct import DirectExperiment as Experiment
from objectives.ptychography.simulation.direct import Specimen, expected_patterns
from objectives.ptychography.simulation.instrument import actual_positions, draw_truth, true_positions
from objectives.ptychography.simulation.settings import MISMATCH, SimulationSettings
from objectives.ptychography.simulation.simulate import read_truth, simulate_patterns, truth_path, write_simulation
from tests.objectives.diffraction.data.files import read
from tests.objectives.ptychography import reference
from tests.objectives.ptychography.scenes import CPU, all_values, model_of, objective

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


@cache
def _measurement() -> Measurement:
    return simulate_patterns(SETTINGS)[0]


def sampled(specimen: Specimen, layout: Layout, first: NDArray[np.int64], pixel: float, matrix: NDArray[np.float64]):  # type: ignore[no-untyped-def]
    """The true specimen on the affine object grid, r = p A^T u, as one slice."""
    rows, columns = layout.object_shape
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1).reshape(-1, 2)
    places = (grid - 2 - np.array(layout.window) // 2 + first) @ matrix * pixel
    phase = np.zeros(len(places))
    inside = np.abs(specimen.sites).max(axis=1) < np.abs(places).max() + 3
    for site, peak in zip(specimen.sites[inside], specimen.phases[inside], strict=True):
        phase += peak * np.exp(-((places - site) ** 2).sum(axis=1) / (2 * COLUMN_WIDTH**2))
    return torch.as_tensor(np.exp(1j * phase).reshape(1, rows, columns))


def peak(experiment: Experiment, values: dict[str, float], name: str, h: float) -> float:
    """Where the parabola through the consistency at ``values`` and ``h`` to either side is highest."""
    below, at, above = (consistency(experiment, {**values, name: values[name] + step}) for step in (-h, 0.0, h))
    assert at > max(below, above)
    return values[name] + h * (below - above) / (2 * (below - 2 * at + above))


def consistency(experiment: Experiment, values: dict[str, float]) -> float:
    """Of the forward model, given the true specimen, with the expected patterns without noise."""
    model = model_of(_measurement(), values)
    scene, layout = model.scene, model.layout
    first = scene.positions.round().to(torch.int64).amin(0).numpy()
    matrix = reference.detector_matrix(values)
    transmission = sampled(experiment.specimen, layout, first, float(scene.pixel[0]), matrix)
    assert scene.spectrum is not None
    modelled = model.intensity(transmission, scene.spectrum[None], model.batch(torch.arange(16))).numpy()
    residual = modelled - experiment.expected
    return float(1 - np.linalg.norm(residual) / np.linalg.norm(experiment.expected))


def test_forward_model_and_simulation_agree(experiment: Experiment) -> None:
    """To 2.5 %. In a window without padding, scattering that comes back takes another 0.7 %."""
    assert consistency(experiment, WRONG) > 0.975
    assert consistency(experiment, {**WRONG, "window_padding": 1.0}) < consistency(experiment, WRONG) - 0.005


@pytest.mark.parametrize(
    ("name", "tolerance"), [("camera_length", 0.06), ("center_offset_y", 0.03), ("center_offset_x", 0.03)]
)
def test_truth_maximises_consistency(experiment: Experiment, name: str, tolerance: float) -> None:
    """The vertex of the parabola through three points lies within ``tolerance`` (%, pixel) of the truth."""
    assert peak(experiment, WRONG, name, 2 * tolerance) == pytest.approx(WRONG[name], abs=tolerance)


def test_blur_and_aperture_are_found_where_the_instrument_has_others_than_stated() -> None:
    """And the camera length, which a wrong edge of the disk would pull away."""
    truth = {**WRONG, "detector_blur": 0.4, "convergence_angle": 23.3}
    blurred = expected_patterns(SETTINGS.model_copy(update={"mismatch": truth}), np.random.default_rng(SETTINGS.seed))
    assert consistency(blurred, truth) > consistency(blurred, {**truth, "detector_blur": 0.0}) + 0.02
    assert peak(blurred, truth, "detector_blur", 0.15) == pytest.approx(0.4, abs=0.12)
    # Here the edge falls otherwise between the pixels than at 24 mrad: 0.1 % of this radius is 0.01 pixels.
    assert peak(blurred, truth, "camera_length", 0.2) == pytest.approx(WRONG["camera_length"], abs=0.1)
    assert peak(blurred, truth, "convergence_angle", 0.2) == pytest.approx(23.3, abs=0.1)


def test_a_reconstruction_finds_the_blur_from_counts() -> None:
    """End to end: no specimen is given, every evaluation reconstructs one from Poisson counts."""
    truth = {
        "camera_length": 1.0,
        "defocus": 80.0,
        "scan_rotation": 4.0,
        "detector_blur": 0.4,
        "convergence_angle": 23.3,
    }
    settings = SimulationSettings(
        seed=3, detector_pixels=24, angular_sampling_mrad=2.6, scan_points=10, electrons_per_pattern=1e6, mismatch=truth
    )
    problem, h = objective(simulate_patterns(settings)[0]), 0.15
    low, at, high = (
        problem.evaluate({**truth, "detector_blur": blur, "iterations": 40}, metric="consistency", seed=0)
        for blur in (0.4 - h, 0.4, 0.4 + h)
    )
    below, middle, above = (evaluation.metrics["consistency"] for evaluation in (low, at, high))
    assert h * (below - above) / (2 * (below - 2 * middle + above)) == pytest.approx(0, abs=0.12)
    assert low.gradient["detector_blur"] > 0 > high.gradient["detector_blur"]


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> Callable[..., NDArray[np.float64]]:
    """The pattern without a specimen, of a centred instrument with the mismatch given."""
    monkeypatch.setattr(Specimen, "monolayer", lambda *_: Specimen(np.zeros((0, 2)), np.zeros(0)))

    def pattern(**mismatch: float) -> NDArray[np.float64]:
        settings = SETTINGS.model_copy(update={"mismatch": mismatch})
        return expected_patterns(settings, np.random.default_rng(0)).expected[0]

    return pattern


def variance(pattern: NDArray[np.float64]) -> float:
    """Of the place where an electron is counted along y and x, their mean, in squared pixels."""
    y, x = np.indices(pattern.shape) - N // 2
    return float((pattern * (y**2 + x**2)).sum() / pattern.sum() / 2)


@pytest.mark.parametrize("angle", [18.0, 23.1, 24.0, 26.7])
def test_the_disk_ends_at_the_true_convergence_angle(empty: Callable[..., NDArray[np.float64]], angle: float) -> None:
    """A disk of radius R has the variance R^2 / 4 along an axis, its pixels add 1/12; its height is 1 / (pi R^2)."""
    disk, radius = empty(convergence_angle=angle), angle / SETTINGS.angular_sampling_mrad
    assert disk.sum() == pytest.approx(1, abs=1e-3)
    assert 2 * np.sqrt(variance(disk) - 1 / 12) == pytest.approx(radius, rel=3e-3)
    inside = np.hypot(*(np.indices(disk.shape) - N // 2)) < radius - 2
    assert np.sqrt(1 / (np.pi * disk[inside].mean())) == pytest.approx(radius, rel=3e-3)


def test_the_nominal_convergence_angle_is_the_truth_unless_stated(empty: Callable[..., NDArray[np.float64]]) -> None:
    np.testing.assert_array_equal(empty(), empty(convergence_angle=SETTINGS.semi_convergence_mrad))


@pytest.mark.parametrize("blur", [0.3, 0.5, 0.8])
def test_blur_adds_its_variance_and_keeps_the_counts(empty: Callable[..., NDArray[np.float64]], blur: float) -> None:
    """To that of the disk and the pixel, whatever the camera length makes of the disk; see the test before."""
    for longer in (0.0, 5.0):
        pattern = empty(convergence_angle=18.0, camera_length=longer, detector_blur=blur)
        radius = (1 + longer / 100) * 18.0 / SETTINGS.angular_sampling_mrad
        assert pattern.sum() == pytest.approx(1, abs=1e-3)
        assert variance(pattern) == pytest.approx(radius**2 / 4 + 1 / 12 + blur**2, abs=0.02)


def test_nothing_is_lost_but_the_highest_angles(experiment: Experiment) -> None:
    totals = experiment.expected.sum(axis=(1, 2))
    # What the specimen scatters beyond the detector, 0.2 to 0.6 %, does not come back at its other side.
    assert (totals < 0.9999).all() and (totals > 0.99).all()
    assert experiment.expected.min() >= 0


def test_dose_and_noise() -> None:
    measurement, truth = simulate_patterns(SETTINGS)
    nominal = {"convergence_angle": SETTINGS.semi_convergence_mrad}
    assert truth == {name: WRONG.get(name, nominal.get(name, 0.0)) for name in MISMATCH}
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


def test_position_errors_are_kept_beside_the_measurement(tmp_path: Path) -> None:
    coarse = SETTINGS.model_copy(update={"scan_points": 16, "detector_pixels": 16, "angular_sampling_mrad": 4.4})
    settings = coarse.model_copy(update={"position_error_angstrom": 0.4})
    measurement = write_simulation(settings, tmp_path / "demo.h5")
    document = read_truth(tmp_path / "demo.h5")
    assert document is not None
    exact = true_positions(measurement.positions, draw_truth(settings, np.random.default_rng(0)))
    off = np.array(document["positions_angstrom"]) - exact
    assert np.sqrt(np.square(off).sum(axis=1).mean()) == pytest.approx(0.4, rel=0.1)
    assert np.abs(np.corrcoef(off.T)[0, 1]) < 0.2
    right, _ = simulate_patterns(coarse)
    assert np.array_equal(right.positions, measurement.positions)
    assert not np.array_equal(right.patterns, measurement.patterns)


@pytest.mark.parametrize("engine", ["direct", "model"])
def test_patterns_are_those_of_the_positions_in_the_truth(engine: Literal["direct", "model"]) -> None:
    """The patterns at wrong positions are those of a reconstruction that is told the right ones."""
    settings = SimulationSettings(
        engine=engine, seed=3, detector_pixels=N, angular_sampling_mrad=2.2, scan_points=8, electrons_per_pattern=1e7,
        mismatch={"defocus": 60.0}, position_error_angstrom=0.4,
    )  # fmt: skip
    measurement, truth = simulate_patterns(settings)
    true = actual_positions(settings, truth)

    def consistency(positions: NDArray[np.float64]) -> float:
        problem = PtychographyObjective(replace(measurement, positions=positions), CPU)
        values = {"defocus": 60.0, "iterations": 40}
        return problem.evaluate(values, metric="consistency", seed=0).metrics["consistency"]

    assert 1 - consistency(true) < 0.3 * (1 - consistency(measurement.positions))


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
    """Every mismatch the simulation knows is a parameter of what it simulates."""
    names = set(all_values(simulate_patterns(SETTINGS)[0], {}))
    assert set(MISMATCH) < names
