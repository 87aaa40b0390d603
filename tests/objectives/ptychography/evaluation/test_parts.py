"""The gradient divided among regions of the detector, and the test of the residual."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from autotune.objective import Evaluation, Value
from objectives.ptychography.evaluation.parts import REGIONS
from objectives.ptychography.objective import PtychographyObjective
from objectives.ptychography.simulation.settings import SimulationSettings
from objectives.ptychography.simulation.simulate import simulate_patterns
from tests.objectives.ptychography.scenes import TRUTH, free, lens, near, objective

BLURRED = {**TRUTH, "detector_blur": 0.3, "iterations": 12}


def divide(problem: PtychographyObjective, values: Mapping[str, Value], metric: str = "consistency") -> Evaluation:
    """With respect to all parameters that can be differentiated."""
    names = [parameter.name for parameter in problem.parameters()]
    return problem.evaluate_in_parts(values, metric=metric, seed=0, names=names)


@pytest.mark.parametrize("metric", ["consistency", "amplitude_consistency", "held_out_consistency"])
def test_the_parts_add_up_to_the_gradient(metric: str) -> None:
    problem = objective(lens())
    whole = problem.evaluate(BLURRED, metric=metric, seed=0)
    divided = divide(problem, BLURRED, metric)
    assert divided.gradient == whole.gradient and divided.metrics[metric] == whole.metrics[metric]
    assert divided.gradient_parts.keys() == whole.gradient.keys()
    for name, parts in divided.gradient_parts.items():
        assert len(parts) == REGIONS**2
        size = float(np.abs(parts).sum())
        assert abs(sum(parts) - whole.gradient[name]) < 2e-3 * size, name


@pytest.mark.parametrize("measurement", [free(), near()], ids=["free", "near"])
def test_they_do_so_where_the_probe_is_reconstructed(measurement) -> None:  # type: ignore[no-untyped-def]
    values = {"iterations": 6, "scan_rotation": 2.0, "detector_blur": 0.3}
    divided = divide(objective(measurement), values)
    for name, parts in divided.gradient_parts.items():
        assert abs(sum(parts) - divided.gradient[name]) < 2e-3 * float(np.abs(parts).sum()) + 1e-12, name


def test_noise_and_changes_of_the_background_are_in_closed_form() -> None:
    """Beside a probe that is reconstructed its derivative is 1 in every pixel. With S = sum (I - y)^2, n = sum y^2 and
    p pixels in a region of N patterns the noise is 4 S / (4 S n) = 1 / n, and the change N p / sqrt(S n).
    """
    measurement = free()
    divided = divide(objective(measurement), {"iterations": 6, "detector_blur": 0.3})
    valid = np.broadcast_to(measurement.valid, measurement.patterns.shape)
    squares = float(np.square(measurement.patterns * valid, dtype=np.float64).sum())
    assert divided.gradient_noise["background"]["background"] == pytest.approx(1 / squares, rel=1e-5, abs=0)
    labels = [np.arange(n) * REGIONS // n for n in measurement.valid.shape]
    regions = (labels[0][:, None] * REGIONS + labels[1][None]).ravel()
    pixels = np.bincount(regions, valid.sum(0).ravel())
    residual = (1 - divided.metrics["consistency"]) * squares
    changes = divided.gradient_changes["background"]["background"]
    np.testing.assert_allclose(changes, -pixels / residual, rtol=1e-4)


@pytest.mark.parametrize("metric", ["consistency", "amplitude_consistency"])
def test_noise_and_changes_are_those_of_a_sum_of_squares(metric: str) -> None:
    divided = divide(objective(lens()), BLURRED, metric)
    names = list(divided.gradient_parts)
    assert divided.gradient_noise.keys() == divided.gradient_changes.keys() == set(names)
    changes = np.array([[divided.gradient_changes[a][b] for b in names] for a in names])
    noise = np.array([list(row.values()) for row in divided.gradient_noise.values()])
    for matrix in (noise, *-np.moveaxis(changes, 2, 0)):
        np.testing.assert_allclose(matrix, matrix.T)
        scale = np.sqrt(matrix.diagonal().clip(1e-300))
        assert np.linalg.eigvalsh(matrix / np.outer(scale, scale)).min() > -1e-9


def test_only_what_is_asked_for_is_divided() -> None:
    asked = objective(lens()).evaluate_in_parts(
        BLURRED, metric="consistency", seed=0, names=["defocus", "pixel_fill", "iterations"]
    )
    assert asked.gradient_parts.keys() == asked.gradient_changes.keys() == asked.gradient_noise.keys() == {"defocus"}


def test_a_region_without_light_pulls_nothing() -> None:
    dark = lens()
    n = dark.valid.shape[0] // REGIONS
    valid = dark.valid.copy()
    valid[:n, :n] = False
    parts = divide(objective(replace(dark, valid=valid)), BLURRED)
    assert all(of_name[0] == 0.0 for of_name in parts.gradient_parts.values())


def test_misfit_tells_a_model_that_explains_the_counts_from_one_that_does_not() -> None:
    """The measurement is made by the forward model with a blur of 0.4 pixel."""
    settings = SimulationSettings(
        engine="model", seed=2, detector_pixels=24, angular_sampling_mrad=2.6, scan_points=8,
        electrons_per_pattern=3e5, mismatch={"defocus": 80.0, "detector_blur": 0.4},
    )  # fmt: skip
    problem = objective(simulate_patterns(settings)[0])
    right = {"defocus": 80.0, "detector_blur": 0.4, "iterations": 40}
    explains = divide(problem, right)
    fails = divide(problem, {**right, "detector_blur": 0.0})
    assert explains.metrics["misfit"] < 3 and fails.metrics["misfit"] > 20
    # Where the model is right, the regions scatter as noise lets them.
    names = ("camera_length", "center_offset_y", "center_offset_x", "defocus", "scan_rotation")
    of_right, of_wrong = (np.array([_over_noise(of, name) for name in names]) for of in (explains, fails))
    assert 0.5 < np.median(of_right) < 1.4 and np.median(of_wrong) > 1.5 * np.median(of_right)


def _over_noise(divided: Evaluation, name: str) -> float:
    """Scatter of the regions' gradients over what noise makes of it."""
    parts = np.array(divided.gradient_parts[name])
    return float(np.sqrt(len(parts) * parts.var(ddof=1) / divided.gradient_noise[name][name]))


def test_intensities_that_are_no_counts_have_no_misfit() -> None:
    uncounted = replace(lens(), counted=False)
    assert "misfit" not in divide(objective(uncounted), BLURRED).metrics


def test_a_reconstruction_that_diverges_has_no_parts() -> None:
    broken = lens()
    patterns = broken.patterns.copy()
    patterns[0, 0, 0] = np.inf
    with torch.no_grad():
        ended = divide(objective(replace(broken, patterns=patterns)), BLURRED)
    assert ended.status == "diverged" and not ended.gradient_parts
