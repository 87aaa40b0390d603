"""The gradient divided among regions of the detector, and the test of the residual."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from autotune.objective import Evaluation, Value, complete_values
from objectives.diffraction.data.measurement import Measurement
from objectives.ptychography.evaluation.parts import REGIONS, Other, gradient_in_parts
from objectives.ptychography.model.forward import ForwardModel
from objectives.ptychography.objective import PtychographyObjective
from objectives.ptychography.simulation.settings import SimulationSettings
from objectives.ptychography.simulation.simulate import simulate_patterns
from objectives.ptychography.solvers.state import to_the_end
from tests.objectives.ptychography.scenes import THICK_TRUTH, TRUTH, free, lens, near, objective, thick

BLURRED = {**TRUTH, "detector_blur": 0.3, "iterations": 12}


STEPS = {
    "camera_length": 0.05, "center_offset_y": 0.02, "center_offset_x": 0.02, "defocus": 1.0, "scan_rotation": 0.1,
    "detector_blur": 0.02, "background": 1e-3,
}  # fmt: skip


def divide(problem: PtychographyObjective, values: Mapping[str, Value], metric: str = "consistency") -> Evaluation:
    """With respect to the parameters of ``STEPS``."""
    start = complete_values(problem.parameters(), values)
    moved = {name: float(start[name]) + step for name, step in STEPS.items() if name in start}
    return problem.evaluate_in_parts(values, metric=metric, seed=0, moved=moved)


@pytest.mark.parametrize("metric", ["consistency", "amplitude_consistency", "held_out_consistency"])
def test_the_parts_add_up_to_the_derivative_of_whole_reconstructions(metric: str) -> None:
    """With S = n (1 - C)^2, a factor f = -1 / (2 n (1 - C)) and counts that change by d over a step h, the parts are
    f sum 2 r d / h and the changes f sum 2 d^2 / h^2; so S changes by (parts h + changes h^2 / 2) / f.
    """
    problem = objective(lens())
    whole = problem.evaluate(BLURRED, metric=metric, seed=0)
    divided = divide(problem, BLURRED, metric)
    assert divided.gradient == whole.gradient and divided.metrics[metric] == whole.metrics[metric]
    assert divided.gradient_parts.keys() == divided.gradient_shifts.keys() == STEPS.keys()
    seen = "consistency" if metric == "held_out_consistency" else metric
    rest = 1 - whole.metrics[seen]
    for name, parts in divided.gradient_parts.items():
        assert len(parts) == REGIONS**2
        here = BLURRED.get(name, 0.0)
        there = here + STEPS[name]
        moved = problem.evaluate({**BLURRED, name: there}, metric=metric, seed=0)
        step = there**2 - here**2 if name == "detector_blur" else STEPS[name]
        change = sum(parts) * step + sum(divided.gradient_changes[name][name]) * step**2 / 2
        expected = 1 - (rest**2 - 2 * rest * change) ** 0.5
        # Positions may be rounded to other pixels; amplitudes curve otherwise than is expected of exact Poisson counts.
        difference = abs(moved.metrics[seen] - whole.metrics[seen])
        allowed = 5e-6 + (0.02 if seen == "consistency" else 0.1) * difference
        assert moved.metrics[seen] == pytest.approx(expected, abs=allowed), name
        assert divided.gradient_shifts[name].keys() == whole.gradient.keys()


@pytest.mark.parametrize("measurement", [free(), near()], ids=["free", "near"])
def test_they_do_so_where_the_probe_is_reconstructed(measurement: Measurement) -> None:
    problem = objective(measurement)
    values = {"iterations": 6, "scan_rotation": 2.0, "detector_blur": 0.3}
    here, there = (
        problem.evaluate({**values, "scan_rotation": v}, metric="consistency", seed=0).metrics["consistency"]
        for v in (2.0, 2.1)
    )
    divided = problem.evaluate_in_parts(values, metric="consistency", seed=0, moved={"scan_rotation": 2.1})
    change = 0.1 * sum(divided.gradient_parts["scan_rotation"])
    change += 0.005 * sum(divided.gradient_changes["scan_rotation"]["scan_rotation"])
    assert there == pytest.approx(1 - ((1 - here) ** 2 - 2 * (1 - here) * change) ** 0.5, abs=1e-6)


def test_a_solver_whose_derivatives_are_not_known_is_divided_all_the_same() -> None:
    values = {**THICK_TRUTH, "slices": 3, "solver": "lsqml", "iterations": 4}
    divided = objective(thick()).evaluate_in_parts(
        values, metric="consistency", seed=0, moved={"thickness": THICK_TRUTH["thickness"] + 2.0, "slices": 3}
    )
    assert not divided.gradient and divided.gradient_parts.keys() == {"thickness", "slices"}
    assert not any(divided.gradient_shifts.values()) and "misfit" in divided.metrics


def test_noise_and_changes_of_a_background_are_in_closed_form() -> None:
    """Added to a fixed state, its derivative is 1 in every pixel. With S = sum (I - y)^2, n = sum y^2 and p
    pixels in a region of N patterns, the noise is 4 S / (4 S n) = 1 / n, and the change -N p / sqrt(S n).
    """
    reconstruction, _ = objective(free())._reconstruction({"iterations": 3, "detector_blur": 0.3}, "consistency")
    state, misfit = reconstruction.run(to_the_end, 0), reconstruction.misfit
    scene = misfit.model.scene
    brighter = replace(scene, background=scene.background + 0.5).detached()
    there = ForwardModel(brighter, misfit.model.layout, misfit.model.kernels)
    parts = gradient_in_parts(misfit, state, "consistency", {"background": Other(there, state, 0.5)})
    valid = np.broadcast_to(free().valid, free().patterns.shape)
    squares = float(np.square(free().patterns * valid, dtype=np.float64).sum())
    assert parts.noise["background"]["background"] == pytest.approx(1 / squares, rel=1e-5, abs=0)
    rows, columns = (np.arange(n) * REGIONS // n for n in free().valid.shape)
    pixels = np.bincount((rows[:, None] * REGIONS + columns).ravel(), valid.sum(0).ravel())
    consistency = reconstruction.evaluation(state, "consistency").metrics["consistency"]
    expected = -pixels / ((1 - consistency) * squares)
    np.testing.assert_allclose(parts.changes["background"]["background"], expected, rtol=1e-5)


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


def test_the_gradient_is_taken_again_on_other_grids() -> None:
    """On which positions are rounded otherwise: much the same at 1e6 electrons a pattern, but not equal."""
    divided = divide(objective(lens()), BLURRED)
    assert len(divided.gradient_again) == 3
    for name in ("camera_length", "defocus", "scan_rotation"):
        slopes = [divided.gradient[name], *(again[name] for again in divided.gradient_again)]
        assert len(set(slopes)) == 4
        change = abs(divided.gradient_shifts[name][name])
        assert max(slopes) - min(slopes) < 0.5 * change, name


def test_a_parameter_at_which_the_reconstruction_fails_is_left_out() -> None:
    divided = objective(lens()).evaluate_in_parts(
        BLURRED, metric="consistency", seed=0, moved={"defocus": 81.0, "background": 1e9}
    )
    assert divided.status == "complete"
    assert (
        divided.gradient_parts.keys() == divided.gradient_changes.keys() == divided.gradient_noise.keys() == {"defocus"}
    )
    assert divided.gradient_shifts.keys() == {"defocus"}


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
