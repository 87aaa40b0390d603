"""A close look at a reconstruction: what is reported, where it comes from, and what is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from autotune.execution.evaluate import evaluate
from autotune.execution.executor import Task
from autotune.objective import Diverged, Examines, InputError, Status, Value, never_stop
from objectives.diffraction.data.measurement import Measurement
from objectives.metrics import RingCorrelation, fraction_of_ceiling, poisson_deviance
from objectives.ptychography.evaluation.examination import halves, last_agreement
from objectives.ptychography.evaluation.reconstruction import Reconstruction
from objectives.ptychography.objective import PtychographyObjective
from objectives.ptychography.plugin import ptychography
from objectives.ptychography.simulation.direct import expected_patterns, specimen_of
from objectives.ptychography.simulation.instrument import actual_positions, position_errors
from objectives.ptychography.simulation.settings import SimulationSettings
from objectives.ptychography.simulation.simulate import simulate_patterns, write_simulation
from objectives.ptychography.solvers.state import State
from tests.objectives.ptychography.scenes import CPU, TRUTH, free, model_of, near, objective, thick

TRUTH_METRICS = {"truth_correlation", "truth_phase_psnr", "truth_phase_ssim"}
SETTINGS = SimulationSettings(
    seed=3, detector_pixels=24, angular_sampling_mrad=2.6, scan_points=14, scan_step_angstrom=1.2,
    electrons_per_pattern=1e6,
    mismatch={"defocus": [60, 100], "scan_rotation": [3, 8], "camera_length": 1.0, "elliptical_distortion": 0.01},
)  # fmt: skip


@pytest.fixture(scope="module")
def measured() -> tuple[Measurement, dict[str, float]]:
    return simulate_patterns(SETTINGS)


@pytest.fixture(scope="module")
def drawn(measured: tuple[Measurement, dict[str, float]]) -> dict[str, float]:
    return measured[1]


@pytest.fixture(scope="module")
def simulated(measured: tuple[Measurement, dict[str, float]]) -> PtychographyObjective:
    return PtychographyObjective(measured[0], CPU, specimen=specimen_of(SETTINGS))


def test_the_specimen_without_its_patterns() -> None:
    illuminated = expected_patterns(SETTINGS, np.random.default_rng(SETTINGS.seed)).specimen
    again = specimen_of(SETTINGS)
    assert np.array_equal(again.sites, illuminated.sites) and np.array_equal(again.phases, illuminated.phases)


def test_everything_of_a_simulated_measurement(simulated: PtychographyObjective, drawn: dict[str, Value]) -> None:
    assert isinstance(simulated, Examines)
    examined = simulated.examine({**drawn, "iterations": 20}, seed=0)
    announced = {metric.name: metric for metric in simulated.examinations()}
    assert set(examined) <= set(announced) and all(np.isfinite(value) for value in examined.values())
    assert set(announced) - set(examined) <= {
        "half_data_resolution",
        "half_data_limit",
    }  # where the halves agree to the end
    assert all(metric.description for metric in announced.values())
    assert announced["half_data_limit"].unit == "angstrom" and announced["truth_phase_psnr"].unit == "dB"
    assert (
        examined["truth_correlation"] > 0.95
        and examined["truth_phase_psnr"] > 25
        and examined["truth_phase_ssim"] > 0.97
    )
    assert 0.05 < examined["phase_contrast"] < 1.0
    assert examined == simulated.examine({**drawn, "iterations": 20}, seed=0)


@pytest.mark.parametrize("wrong", [{"scan_rotation": 2.0}, {"camera_length": 3.0}, {"elliptical_distortion": 0.06}])
def test_the_truth_lies_where_the_parameters_say(
    wrong: dict[str, float], simulated: PtychographyObjective, drawn: dict[str, float]
) -> None:
    """Also in the sheared and rotated frame: what is wrong counts against it."""
    at, off = (
        simulated.examine({**drawn, "iterations": 10, **{n: drawn[n] + d for n, d in change.items()}}, seed=0)
        for change in ({}, wrong)
    )
    for name, least in (("truth_correlation", 0.03), ("truth_phase_psnr", 2.0), ("truth_phase_ssim", 0.005)):
        assert off[name] < at[name] - least, name


def test_a_strongly_distorted_frame() -> None:
    """The object's grid is the detector's affine one; along the stated axes the truth would lie elsewhere."""
    distorted = {"camera_length": -10.0, "elliptical_distortion": 0.12, "elliptical_angle": 30.0}
    settings = SETTINGS.model_copy(update={"mismatch": {"defocus": 80.0, **distorted}})
    measurement, truth = simulate_patterns(settings)
    problem = PtychographyObjective(measurement, CPU, specimen=specimen_of(settings))
    values = {name: truth[name] for name in settings.mismatch}
    assert problem.examine({**values, "iterations": 10}, seed=0)["truth_correlation"] > 0.95


def test_metrics_are_those_of_evaluations(simulated: PtychographyObjective, drawn: dict[str, Value]) -> None:
    values = {**drawn, "iterations": 6}
    examined = simulated.examine(values, seed=0)
    for name in ("consistency", "amplitude_consistency"):
        assert examined[name] == simulated.evaluate(values, metric="consistency", seed=0).metrics[name]
    withheld = simulated.evaluate(values, metric="held_out_consistency", seed=0).metrics["held_out_consistency"]
    assert examined["held_out_consistency"] == withheld
    ceilings = {metric.name: metric.noise_ceiling for metric in simulated.metrics()}
    for name, metric in (
        ("fraction_of_ceiling", "consistency"),
        ("held_out_fraction_of_ceiling", "held_out_consistency"),
    ):
        ceiling = ceilings[metric]
        assert ceiling is not None and examined[name] == pytest.approx(fraction_of_ceiling(examined[metric], ceiling))


def test_deviance_is_that_of_all_valid_pixels() -> None:
    """Against the metric's own function on whole arrays; one pixel of the scene is masked."""
    values: dict[str, Value] = {"scan_rotation": 3.0, "iterations": 5}
    measurement = free()
    evaluation = objective(measurement).evaluate(values, metric="consistency", seed=0)
    model = model_of(measurement, values)
    spectra = torch.fft.fftshift(
        torch.fft.fft2(torch.fft.ifftshift(torch.as_tensor(evaluation.arrays["probe"]), dim=(-2, -1)), norm="ortho"),
        dim=(-2, -1),
    ).to(torch.complex128)
    batch = model.batch(torch.arange(len(measurement.patterns)))
    expected = model.intensity(torch.as_tensor(evaluation.arrays["object"]).to(torch.complex128), spectra, batch)
    whole = poisson_deviance(measurement.patterns, expected.numpy(), measurement.valid)
    examined = objective(measurement).examine(values, seed=0)
    assert examined["poisson_deviance"] == pytest.approx(whole, rel=1e-4)
    assert not measurement.valid.all()


def test_a_right_model_has_a_deviance_of_one() -> None:
    settings = SETTINGS.model_copy(update={"engine": "model", "electrons_per_pattern": 1e7})
    measurement, truth = simulate_patterns(settings)
    values = {name: value for name, value in truth.items() if name in SETTINGS.mismatch}
    examined = objective(measurement).examine({**values, "iterations": 60}, seed=0)
    assert examined["poisson_deviance"] == pytest.approx(1.0, abs=0.25)
    assert examined["fraction_of_ceiling"] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("scene", "values"),
    [
        (free, {"scan_rotation": 3.0}),
        (near, {"focus_to_sample": 4.0}),
        (thick, {"thickness": 90.0, "slices": 3, "defocus": 120.0}),
        (free, {"scan_rotation": 3.0, "solver": "lsqml", "probe_modes": 2, "position_step": 0.2}),
    ],
)
def test_every_kind_of_measurement(scene: Callable[[], Measurement], values: dict[str, Value]) -> None:
    problem = objective(scene())
    examined = problem.examine({**values, "iterations": 8}, seed=1)
    assert set(examined) <= {metric.name for metric in problem.examinations()}
    assert {"consistency", "held_out_consistency", "phase_contrast", "poisson_deviance"} <= set(examined)
    assert not set(examined) & TRUTH_METRICS


def test_what_was_not_counted_has_no_ceiling() -> None:
    problem = objective(replace(free(), counted=False))
    counted = {"poisson_deviance", "fraction_of_ceiling", "held_out_fraction_of_ceiling"}
    assert not counted & {metric.name for metric in problem.examinations()}
    examined = problem.examine({"scan_rotation": 3.0, "iterations": 4}, seed=0)
    assert "held_out_consistency" in examined and not counted & set(examined)


def test_the_resolution_follows_the_dose() -> None:
    limits = []
    for electrons in (100.0, 3000.0):
        settings = SETTINGS.model_copy(update={"electrons_per_pattern": electrons})
        measurement, truth = simulate_patterns(settings)
        examined = objective(measurement).examine(
            {**{n: truth[n] for n in SETTINGS.mismatch}, "iterations": 15}, seed=0
        )
        limits.append(examined["half_data_limit"])
    assert limits[1] < 0.8 * limits[0]  # angstrom


def test_halves_are_a_chessboard_of_a_raster() -> None:
    measurement = replace(free(), scan_shape=(5, 5))
    half_of = halves(measurement)
    board = half_of.reshape(5, 5)
    assert (board[1:] != board[:-1]).all() and (board[:, 1:] != board[:, :-1]).all()
    for other in (replace(measurement, scan_shape=None), replace(measurement, scan_shape=(5, 4))):
        assert halves(other).tolist() == [0, 1] * 12 + [0]


def test_last_agreement_between_rings() -> None:
    frequency, threshold = np.array([0.1, 0.2, 0.3, 0.4]), np.full(4, 0.5)

    def limit(*correlation: float) -> float | None:
        return last_agreement(RingCorrelation(frequency, np.array(correlation), threshold, 0.0, True))

    assert limit(0.9, 0.4, 0.7, 0.3) == pytest.approx(1 / 0.35)  # crosses in the middle of the last two
    assert limit(0.9, 0.1, 0.1, 0.1) == pytest.approx(1 / 0.15)
    assert limit(0.9, 0.4, 0.7, 0.6) is None and limit(0.4, 0.4, 0.4, 0.4) is None


def test_a_part_of_the_data_is_looked_at_as_it_is_evaluated(
    simulated: PtychographyObjective, drawn: dict[str, Value]
) -> None:
    values = {**drawn, "iterations": 8, "scan_fraction": 0.6}
    examined = simulated.examine(values, seed=0)
    evaluation = simulated.evaluate(values, metric="consistency", seed=0)
    assert examined["consistency"] == evaluation.metrics["consistency"]
    assert examined["truth_correlation"] > 0.9


def test_what_cannot_be_examined(simulated: PtychographyObjective, drawn: dict[str, Value]) -> None:
    with pytest.raises(InputError, match="defocuss"):
        simulated.examine({**drawn, "defocuss": 1.0}, seed=0)
    diverging = {**drawn, "solver": "adam", "object_learning_rate": 10.0, "iterations": 3}
    assert simulated.evaluate(diverging, metric="consistency", seed=0).status == "diverged"
    with pytest.raises(Diverged, match=r"residual is|not finite"):
        simulated.examine(diverging, seed=0)
    ended = evaluate(simulated, Task(0, diverging, 0, None, examine=True), "consistency", never_stop)
    assert ended.status is Status.DIVERGED and ("residual" in ended.reason or "not finite" in ended.reason)


def test_halves_that_diverge_have_no_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they are finite, which their rings could be compared at."""
    run = Reconstruction.run

    def spoiled(self: Reconstruction, report: Callable[[int, float], bool], seed: int) -> State:
        state = run(self, report, seed)
        return replace(state, transmission=1e3 * state.transmission) if self._data.pixels < 0.7 * pixels else state

    measurement, truth = simulate_patterns(SETTINGS.model_copy(update={"electrons_per_pattern": 200.0}))
    problem = objective(measurement)
    pixels = problem._levels.whole.data.pixels
    values: dict[str, Value] = {**{name: truth[name] for name in SETTINGS.mismatch}, "iterations": 5}
    assert {"half_data_resolution", "half_data_limit"} & set(problem.examine(values, seed=0))
    monkeypatch.setattr(Reconstruction, "run", spoiled)
    assert not {"half_data_resolution", "half_data_limit"} & set(problem.examine(values, seed=0))


@pytest.mark.parametrize(
    ("data", "engine", "known"), [({}, "direct", True), ({}, "model", False), ({"crop": 20}, "direct", False)]
)
def test_the_truth_is_that_of_the_file(data: dict[str, object], engine: str, known: bool, tmp_path: Path) -> None:
    """Of a part of what was simulated, it is not known where the specimen lies."""
    stated = SETTINGS.model_copy(update={"engine": engine})
    write_simulation(stated, tmp_path / "scan.h5")
    block = {"data": {"file": "scan.h5", **data}, "simulate": stated.model_dump(mode="json"), "device": "cpu"}
    problem = ptychography.open(ptychography.settings.model_validate(block), folder=tmp_path)
    assert isinstance(problem, PtychographyObjective) and set(TRUTH) & set(problem.truth())
    assert (set(TRUTH_METRICS) <= {metric.name for metric in problem.examinations()}) is known


def test_position_error_is_the_distance_from_the_simulated_positions() -> None:
    shaken = SETTINGS.model_copy(update={"position_error_angstrom": 0.5, "scan_points": 10})
    measurement, truth = simulate_patterns(shaken)
    true = actual_positions(shaken, truth)
    problem = PtychographyObjective(measurement, CPU, true_positions=true)
    values = {**truth, "iterations": 4}
    (announced,) = (metric for metric in problem.examinations() if metric.name == "position_error")
    assert announced.unit == "object pixel"
    pixel = float(model_of(measurement, truth).scene.pixel[0])
    off = position_errors(shaken)
    off = off - off.mean(axis=0)
    expected = np.sqrt(np.square(off).sum(axis=1).mean()) / pixel
    # The object's grid follows the detector's affine map, here within 2 %.
    assert problem.examine(values, seed=0)["position_error"] == pytest.approx(expected, rel=0.03)
    right = PtychographyObjective(replace(measurement, positions=measurement.positions), CPU, true_positions=true - off)
    assert right.examine(values, seed=0)["position_error"] < 1e-3
    part = problem.examine({**values, "scan_fraction": 0.5}, seed=0)["position_error"]
    assert part == pytest.approx(expected, rel=0.25) and part != pytest.approx(expected, rel=1e-6)
