"""Every kind of batch: what it must not see, what it must still refine, and how fast it converges."""

from __future__ import annotations

from functools import cache
from typing import get_args

import numpy as np
import pytest

from autotune.objective import Evaluation, Value
from objectives.diffraction.data.measurement import Measurement
from objectives.ptychography.simulation.settings import SimulationSettings
from objectives.ptychography.simulation.simulate import simulate_patterns
from objectives.ptychography.solvers.batches import Batches
from tests.objectives.ptychography.evaluation.test_held_out import HELD_OUT, spoiled
from tests.objectives.ptychography.evaluation.test_held_out import objective as withholding
from tests.objectives.ptychography.scenes import jittered, objective

KINDS = get_args(Batches)
each_kind = pytest.mark.parametrize("kind", KINDS)
stepwise = pytest.mark.parametrize("solver", ["lsqml", "epie", "rpie", "adam"])


@each_kind
@stepwise
def test_no_withheld_pattern_is_in_a_batch(kind: str, solver: str) -> None:
    m = jittered()[0]
    before = withholding(m, "patterns", fraction=0.2)
    after = withholding(spoiled(m, before._levels.whole), "patterns", fraction=0.2)
    values = {"solver": solver, "iterations": 3, "batch_size": 4, "batches": kind, "position_step": 0.5, "patience": 1}
    one, other = (problem.evaluate(values, metric=HELD_OUT, seed=1) for problem in (before, after))
    assert one.metrics[HELD_OUT] != other.metrics[HELD_OUT]
    for name in ("object", "probe", "position_displacement"):
        assert np.array_equal(one.arrays[name], other.arrays[name])
    held = before._levels.whole._split.mask_of == 1
    assert not one.arrays["position_displacement"][held].any()


@each_kind
def test_positions_are_found_with_every_kind(kind: str) -> None:
    m, truth = jittered()
    values = {"solver": "lsqml", "batch_size": 7, "batches": kind, "probe": "fixed", "iterations": 60}
    values |= {"position_step": 0.5, "position_start": 5}
    moves = objective(m).evaluate(values, metric="consistency", seed=0).arrays["position_displacement"]
    assert np.corrcoef((moves - moves.mean(0)).ravel(), (truth - truth.mean(0)).ravel())[0, 1] > 0.8


@cache
def wide() -> Measurement:
    """A scan of so many positions that compact batches are local."""
    settings = SimulationSettings(
        seed=1,
        detector_pixels=24,
        angular_sampling_mrad=2.6,
        scan_points=16,
        scan_step_angstrom=1.5,
        electrons_per_pattern=1e5,
        mismatch={"defocus": 80.0},
    )
    return simulate_patterns(settings)[0]


@cache
def evaluate(kind: str, solver: str, iterations: int, seed: int = 0) -> Evaluation:
    values: dict[str, Value] = {"solver": solver, "iterations": iterations, "batch_size": 16, "batches": kind}
    return objective(wide()).evaluate({**values, "probe": "refined", "defocus": 80.0}, metric="consistency", seed=seed)


@pytest.mark.parametrize("kind", ["interleaved", "random"])
@stepwise
def test_spread_batches_are_ahead_after_two_iterations(kind: str, solver: str) -> None:
    spread, compact = (evaluate(of, solver, 2).metrics["consistency"] for of in (kind, "compact"))
    assert spread > compact + 0.005, (spread, compact)


@pytest.mark.parametrize("kind", ["random", "compact"])
@stepwise
def test_every_kind_ends_at_the_same_object(kind: str, solver: str) -> None:
    """The order of updates changes how soon, not where."""
    reached, usual = (evaluate(of, solver, 30).metrics["consistency"] for of in (kind, "interleaved"))
    assert reached == pytest.approx(usual, abs=0.02)


@each_kind
def test_seeds_fix_the_batches(kind: str) -> None:
    one, same, other = (evaluate.__wrapped__(kind, "rpie", 2, seed) for seed in (4, 4, 5))
    assert np.array_equal(one.arrays["object"], same.arrays["object"])
    assert not np.array_equal(one.arrays["object"], other.arrays["object"])
