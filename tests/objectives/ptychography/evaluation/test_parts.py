"""The gradient divided among regions of the detector, and the test of the residual."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from objectives.ptychography.evaluation.parts import REGIONS
from objectives.ptychography.simulation.settings import SimulationSettings
from objectives.ptychography.simulation.simulate import simulate_patterns
from tests.objectives.ptychography.scenes import TRUTH, free, lens, near, objective

BLURRED = {**TRUTH, "detector_blur": 0.3, "iterations": 12}


@pytest.mark.parametrize("metric", ["consistency", "amplitude_consistency", "held_out_consistency"])
def test_the_parts_add_up_to_the_gradient(metric: str) -> None:
    problem = objective(lens())
    whole = problem.evaluate(BLURRED, metric=metric, seed=0)
    divided = problem.evaluate_in_parts(BLURRED, metric=metric, seed=0)
    assert divided.gradient == whole.gradient and divided.metrics[metric] == whole.metrics[metric]
    assert divided.gradient_parts.keys() == whole.gradient.keys()
    for name, parts in divided.gradient_parts.items():
        assert len(parts) == REGIONS**2
        size = float(np.abs(parts).sum())
        assert abs(sum(parts) - whole.gradient[name]) < 2e-3 * size, name


@pytest.mark.parametrize("measurement", [free(), near()], ids=["free", "near"])
def test_they_do_so_where_the_probe_is_reconstructed(measurement) -> None:  # type: ignore[no-untyped-def]
    values = {"iterations": 6, "scan_rotation": 2.0, "detector_blur": 0.3}
    divided = objective(measurement).evaluate_in_parts(values, metric="consistency", seed=0)
    for name, parts in divided.gradient_parts.items():
        assert abs(sum(parts) - divided.gradient[name]) < 2e-3 * float(np.abs(parts).sum()) + 1e-12, name


def test_a_region_without_light_pulls_nothing() -> None:
    dark = lens()
    n = dark.valid.shape[0] // REGIONS
    valid = dark.valid.copy()
    valid[:n, :n] = False
    parts = objective(replace(dark, valid=valid)).evaluate_in_parts(BLURRED, metric="consistency", seed=0)
    assert all(of_name[0] == 0.0 for of_name in parts.gradient_parts.values())


def test_misfit_tells_a_model_that_explains_the_counts_from_one_that_does_not() -> None:
    """The measurement is made by the forward model with a blur of 0.4 pixel."""
    settings = SimulationSettings(
        engine="model", seed=2, detector_pixels=24, angular_sampling_mrad=2.6, scan_points=8,
        electrons_per_pattern=3e5, mismatch={"defocus": 80.0, "detector_blur": 0.4},
    )  # fmt: skip
    problem = objective(simulate_patterns(settings)[0])
    right = {"defocus": 80.0, "detector_blur": 0.4, "iterations": 40}
    assert problem.evaluate_in_parts(right, metric="consistency", seed=0).metrics["misfit"] < 3
    wrong = {**right, "detector_blur": 0.0}
    assert problem.evaluate_in_parts(wrong, metric="consistency", seed=0).metrics["misfit"] > 20


def test_intensities_that_are_no_counts_have_no_misfit() -> None:
    uncounted = replace(lens(), counted=False)
    assert "misfit" not in objective(uncounted).evaluate_in_parts(BLURRED, metric="consistency", seed=0).metrics


def test_a_reconstruction_that_diverges_has_no_parts() -> None:
    broken = lens()
    patterns = broken.patterns.copy()
    patterns[0, 0, 0] = np.inf
    with torch.no_grad():
        ended = objective(replace(broken, patterns=patterns)).evaluate_in_parts(BLURRED, metric="consistency", seed=0)
    assert ended.status == "diverged" and not ended.gradient_parts
