from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from autotune.objective import Evaluation, Status, Value
from objectives.diffraction.data.measurement import Measurement
from objectives.ptychography.objective import PtychographyObjective
from tests.objectives.ptychography.scenes import (
    SINGLE,
    THICK_TRUTH,
    TRUTH,
    free,
    lens,
    near,
    objective,
    thick,
)

SOLVERS = ("lbfgs", "lsqml", "epie", "rpie", "adam")
STEPWISE = SOLVERS[1:]
KINDS: dict[str, tuple[Callable[[], Measurement], Mapping[str, Value]]] = {
    "lens": (lens, TRUTH),
    "free": (free, {"scan_rotation": 3.0}),
    "near": (near, {"focus_to_sample": 4.0}),
}
each_solver = pytest.mark.parametrize("solver", SOLVERS)
stepwise = pytest.mark.parametrize("solver", STEPWISE)

RATES = {"object_step": 1.0, "probe_step": 1.0}
SHARE = {
    "lens": {"lbfgs": 0.965, "lsqml": 0.945, "epie": 0.94, "rpie": 0.945, "adam": 0.95},
    "free": {"lbfgs": 0.985, "lsqml": 0.97, "epie": 0.92, "rpie": 0.97, "adam": 0.985},
    "near": {"lbfgs": 0.985, "lsqml": 0.94, "epie": 0.97, "rpie": 0.92, "adam": 0.96},
}
"""Of the noise ceiling, reached in 40 iterations."""


def evaluate(m: Measurement, values: Mapping[str, Value], solver: str, seed: int = 0, **settings: Value) -> Evaluation:
    stated = {"solver": solver, "batch_size": 5, "iterations": 40, **RATES, **values, **settings}
    return objective(m).evaluate(stated, metric="consistency", seed=seed)


@each_solver
@pytest.mark.parametrize("kind", KINDS)
def test_truth_comes_near_the_noise_ceiling(kind: str, solver: str) -> None:
    measured, truth = KINDS[kind]
    evaluation = evaluate(measured(), truth, solver)
    ceiling = measured().shot_noise_ceiling
    assert ceiling is not None and evaluation.status is Status.COMPLETE
    assert evaluation.metrics["consistency"] > SHARE[kind][solver] * ceiling, (
        evaluation.metrics["consistency"] / ceiling
    )
    curve = list(evaluation.curve["consistency"])
    assert len(curve) == 40 and curve[-1] > curve[0]


@each_solver
@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_bits(kind: str, solver: str) -> None:
    measured, truth = KINDS[kind]
    one, other = (evaluate(measured(), truth, solver, 3, iterations=4, probe="refined") for _ in range(2))
    assert dict(one.metrics) == dict(other.metrics) and dict(one.gradient) == dict(other.gradient)
    assert list(one.curve["consistency"]) == list(other.curve["consistency"])
    assert all(np.array_equal(array, other.arrays[name]) for name, array in one.arrays.items())


@stepwise
def test_another_seed_is_another_order(solver: str) -> None:
    one, other = (evaluate(free(), {}, solver, seed, iterations=4) for seed in (0, 1))
    assert one.metrics["consistency"] != other.metrics["consistency"]
    assert one.metrics["consistency"] == pytest.approx(other.metrics["consistency"], abs=0.05)


@each_solver
def test_a_stop_is_honoured(solver: str) -> None:
    seen: list[float] = []

    def stop_at_three(iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        seen.append(metrics["consistency"])
        return iteration < 3

    values = {"solver": solver, "batch_size": 5, "iterations": 9, "probe_modes": 2}
    evaluation = objective(free()).evaluate(values, metric="consistency", seed=0, progress=stop_at_three)
    assert evaluation.status is Status.STOPPED and "3 of 9" in evaluation.reason
    assert list(evaluation.curve["consistency"]) == seen and len(seen) == 3
    assert evaluation.metrics["consistency"] > 0


@each_solver
@pytest.mark.parametrize("modes", [1, 2])
def test_probe_changes_from_the_iteration_stated(solver: str, modes: int) -> None:
    def probe_after(iterations: int, **settings: Value) -> np.ndarray:
        stated = {"probe_modes": modes, "iterations": iterations, **settings}
        return evaluate(free(), {}, solver, **stated).arrays["probe"]

    held = probe_after(1, probe_start=1)
    assert np.array_equal(probe_after(4, probe_start=4), held) or solver == "lbfgs"
    # L-BFGS ends with its modes made orthogonal, which they are already: equal to rounding.
    np.testing.assert_allclose(np.abs(probe_after(4, probe_start=4)), np.abs(held), atol=1e-5 * np.abs(held).max())
    assert np.abs(probe_after(5, probe_start=4) - held).max() > 1e-3 * np.abs(held).max()
    if modes == 1:
        assert np.array_equal(probe_after(4, probe="fixed"), held)


@each_solver
def test_thick_specimen_needs_its_slices(solver: str) -> None:
    one = evaluate(thick(), {**THICK_TRUTH, "slices": 1}, solver, iterations=60)
    three = evaluate(thick(), {**THICK_TRUTH, "slices": 3}, solver, iterations=60)
    assert three.arrays["object"].shape[0] == 3
    assert three.metrics["consistency"] > one.metrics["consistency"] + 0.02


@each_solver
def test_single_and_double_precision_agree(solver: str) -> None:
    values = {"solver": solver, "batch_size": 5, "iterations": 6, "probe_modes": 2, "scan_rotation": 3.0}
    values |= {"position_step": 0.3, "smoothness": 1e-3}
    single, double = (
        problem.evaluate(values, metric="consistency", seed=0)
        for problem in (PtychographyObjective(free(), SINGLE), objective(free()))
    )
    assert single.metrics["consistency"] == pytest.approx(double.metrics["consistency"], abs=2e-4)
    for name, slope in double.gradient.items():
        assert single.gradient[name] == pytest.approx(slope, rel=2e-2, abs=1e-4), name


@each_solver
@pytest.mark.parametrize("size", [1, 3, 25, 1000])
def test_batches_of_any_size(solver: str, size: int) -> None:
    evaluation = evaluate(free(), {}, solver, batch_size=size, iterations=10)
    assert evaluation.status is Status.COMPLETE and evaluation.metrics["consistency"] > 0.5


@each_solver
@pytest.mark.parametrize("loss", ["intensity", "amplitude", "poisson"])
def test_losses_each_bring_their_own_solution(solver: str, loss: str) -> None:
    if solver not in ("lbfgs", "adam"):
        assert evaluate(free(), {}, solver, iterations=3, loss="poisson").metrics == (
            evaluate(free(), {}, solver, iterations=3).metrics
        )
        return
    evaluation = evaluate(free(), {}, solver, loss=loss)
    ceiling = free().shot_noise_ceiling
    assert ceiling is not None and evaluation.metrics["consistency"] > 0.9 * ceiling


@each_solver
def test_masked_pixels_have_no_influence(solver: str) -> None:
    m = free()
    valid = m.valid.copy()
    valid[10:13, 11] = False
    spoiled = m.patterns.copy()
    spoiled[:, ~valid] = 1e6
    one, other = (
        evaluate(replace(m, patterns=patterns, valid=valid), {}, solver, iterations=4, probe_modes=2)
        for patterns in (np.where(valid, m.patterns, 0), spoiled)
    )
    assert dict(one.metrics) == dict(other.metrics) and np.array_equal(one.arrays["object"], other.arrays["object"])


@each_solver
def test_a_diverged_reconstruction_says_so(solver: str) -> None:
    assert free().probe is not None
    broken = np.where(np.arange(24) == 3, np.complex64(np.nan), free().probe)
    evaluation = evaluate(replace(free(), probe=broken), {}, solver, iterations=2)
    assert evaluation.status is Status.DIVERGED and evaluation.reason and not evaluation.metrics


@each_solver
def test_background_is_not_taken_for_scattering(solver: str) -> None:
    """Counts that do not come from the specimen: the stated background explains what the object must not."""
    m = free()
    random = np.random.default_rng(0)
    level = 0.2 * float(m.patterns.mean())
    m = replace(m, patterns=m.patterns + random.poisson(level, m.patterns.shape).astype(np.float32) * m.valid)
    at, without = (
        evaluate(m, {"scan_rotation": 3.0}, solver, background=background).metrics["consistency"]
        for background in (level, 0.0)
    )
    assert at > without + 0.005


def test_state_that_is_started_from_is_left_alone() -> None:
    """Solvers return a new state: the same problem can be solved twice."""
    problem = objective(free())
    values = {"solver": "lsqml", "iterations": 2, "position_step": 0.3}
    first = problem.evaluate(values, metric="consistency", seed=0)
    second = problem.evaluate(values, metric="consistency", seed=0)
    assert np.array_equal(first.arrays["object"], second.arrays["object"])
    assert torch.equal(problem._levels.whole.data.patterns, torch.from_numpy(free().patterns))


@each_solver
def test_batches_give_no_derivatives_of_a_thick_object(solver: str) -> None:
    values = {**THICK_TRUTH, "slices": 3, "solver": solver, "iterations": 3}
    several = objective(thick()).evaluate(values, metric="consistency", seed=0)
    assert bool(several.gradient) == (solver == "lbfgs")
    one = objective(thick()).evaluate({**values, "slices": 1}, metric="consistency", seed=0)
    assert one.gradient
