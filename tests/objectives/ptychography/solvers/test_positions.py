from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from autotune.objective import Evaluation, Value
from objectives.ptychography.solvers.positions import curvature
from tests.objectives.ptychography.scenes import free, jittered, model_of, objective, random_modes, specimen

SETTINGS = {
    "lbfgs": {"iterations": 60, "position_step": 1.0, "position_start": 5},
    "lsqml": {"iterations": 60, "position_step": 0.5, "position_start": 5},
    "epie": {"iterations": 60, "object_step": 1.0, "position_step": 0.5, "position_start": 5},
    "rpie": {"iterations": 60, "position_step": 0.5, "position_start": 5},
    "adam": {"iterations": 60, "position_step": 0.2, "position_start": 5},
}
each = pytest.mark.parametrize("solver", SETTINGS)


@cache
def evaluated(solver: str, *, moving: bool) -> Evaluation:
    values = {"solver": solver, "batch_size": 7, "probe": "fixed", **SETTINGS[solver]}
    if not moving:
        values |= {"position_step": 0.0}
    return objective(jittered()[0]).evaluate(values, metric="consistency", seed=0)


def likeness(moves: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Correlation of displacements, up to a common shift."""
    return float(np.corrcoef((moves - moves.mean(0)).ravel(), (truth - truth.mean(0)).ravel())[0, 1])


@each
def test_wrong_positions_are_found_and_mended(solver: str) -> None:
    still, moving = (evaluated(solver, moving=moving) for moving in (False, True))
    assert "position_displacement" not in still.arrays
    moves, truth = moving.arrays["position_displacement"], jittered()[1]
    assert moves.shape == truth.shape and np.abs(moves).max() <= 2.0
    assert moving.metrics["consistency"] > still.metrics["consistency"] + 0.01
    assert likeness(moves, truth) > 0.8, likeness(moves, truth)
    # Not only the direction: what is left is less than what was wrong.
    left = (moves - moves.mean(0)) - (truth - truth.mean(0))
    assert left.std() < 0.6 * truth.std(), left.std() / truth.std()


@each
def test_positions_start_to_move_when_told(solver: str) -> None:
    def displaced(iterations: int) -> bool:
        values = {"solver": solver, "batch_size": 7, "position_step": 0.5, "position_start": 3}
        evaluation = objective(jittered()[0]).evaluate(
            {**values, "iterations": iterations}, metric="consistency", seed=0
        )
        return "position_displacement" in evaluation.arrays

    assert not displaced(3) and displaced(4)


def test_right_positions_stay_nearly_where_they_are() -> None:
    m, displacement = jittered()
    right = replace(m, positions=m.positions + displacement - displacement.mean(axis=0))
    values = {"solver": "lsqml", "batch_size": 7, "probe": "fixed", **SETTINGS["lsqml"]}
    moves = objective(right).evaluate(values, metric="consistency", seed=0).arrays["position_displacement"]
    assert (moves - moves.mean(0)).std() < 0.1 < displacement.std()


@pytest.mark.parametrize("solver", ["lbfgs", "lsqml", "adam", "rpie"])
def test_a_position_moves_as_far_as_its_range(solver: str) -> None:
    """With an absurd step the displacement stops at the limit, inside the object."""

    def farthest(reach: float) -> float:
        values: dict[str, Value] = {"solver": solver, "batch_size": 7, "position_step": 10.0, "iterations": 8}
        values |= {"position_range": reach}
        evaluation = objective(jittered()[0]).evaluate(values, metric="consistency", seed=0)
        return float(np.abs(evaluation.arrays["position_displacement"]).max())

    assert farthest(0.4) == pytest.approx(0.4, rel=1e-6)
    assert 0.4 < farthest(1.9) <= 1.9


def test_curvature_is_that_of_the_shifted_probe() -> None:
    model = model_of(free(), {})
    spectra = random_modes((24, 24), np.random.default_rng(2), 2)
    one = torch.tensor([0])
    there = [
        model.waves(torch.ones(1, *model.layout.object_shape) + 0j, spectra, model.batch(one, moved)).entering[0]
        for moved in _around_zero(1e-4)
    ]
    slopes = [(there[0] - there[1]) / 2e-4, (there[2] - there[3]) / 2e-4]
    expected = torch.stack([slope.abs().square().sum() for slope in slopes])
    torch.testing.assert_close(curvature(spectra), expected, rtol=1e-6, atol=0)


def _around_zero(h: float) -> list[torch.Tensor]:
    displacements = []
    for axis in (0, 1):
        for sign in (1, -1):
            moved = torch.zeros(25, 2, dtype=torch.float64)
            moved[:, axis] = sign * h
            displacements.append(moved)
    return displacements


def test_a_position_that_moves_by_pixels_is_one_that_was_stated_there() -> None:
    """The patch of the object moves along, so that nothing comes back at the other side of the probe's window."""
    m = free()
    random = np.random.default_rng(5)
    moves = random.uniform(-4, 4, m.positions.shape)
    moved, stated = model_of(m, {}, margin=6), model_of(replace(m, positions=m.positions + moves), {}, margin=6)
    spectra = random_modes((24, 24), random, 2)  # fills its window
    transmission = specimen((80, 80), random)
    first = (moved.layout.corners[0] - moved.scene.positions[0].round()).long()
    there = (stated.layout.corners[0] - stated.scene.positions[0].round()).long()
    shift = (there - first).tolist()
    everything = torch.arange(len(m.positions))
    expected = stated.intensity(transmission.roll(shift, dims=(1, 2)), spectra, stated.batch(everything))
    batch = moved.batch(everything, torch.as_tensor(moves))
    torch.testing.assert_close(moved.intensity(transmission, spectra, batch), expected, rtol=1e-9, atol=1e-9)
