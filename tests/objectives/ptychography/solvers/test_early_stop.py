from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from autotune.objective import Evaluation, Value
from objectives.diffraction.data.measurement import Measurement
from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.solvers.early_stop import EarlyStop
from objectives.ptychography.solvers.options import SolverOptions
from objectives.ptychography.solvers.state import State
from tests.objectives.ptychography.evaluation.test_held_out import HELD_OUT
from tests.objectives.ptychography.evaluation.test_held_out import objective as withholding
from tests.objectives.ptychography.scenes import all_values, free, jittered, misfit_of, model_of, objective

SOLVERS = ("lbfgs", "lsqml", "epie", "rpie", "adam")
each_solver = pytest.mark.parametrize("solver", SOLVERS)


def dim() -> Measurement:
    """The patterns at a dose at which 40 iterations fit noise."""
    m = free()
    counts = np.random.default_rng(5).poisson(m.patterns * (20.0 / m.patterns.mean()) / 20.0)
    return replace(m, patterns=counts.astype(np.float32))


def evaluate(m: Measurement, solver: str, **settings: Value) -> Evaluation:
    values = {"solver": solver, "batch_size": 5, "iterations": 40, "object_step": 1.0, **settings}
    return objective(m).evaluate(values, metric="consistency", seed=1)


def whole() -> Misfit:
    m = free()
    return misfit_of(model_of(m, {}), torch.from_numpy(m.patterns), torch.from_numpy(m.valid))


def guard(values: Mapping[str, Value]) -> EarlyStop:
    options = SolverOptions.from_values(all_values(free(), values))
    return EarlyStop(whole(), options)


def test_withheld_counts_are_a_quarter_of_a_tenth() -> None:
    data, stop = whole().data, guard({"patience": 2})
    assert stop.watching and stop._withheld is not None
    left, withheld = (part.valid[part.mask_of] for part in (stop.misfit.data, stop._withheld.data))
    watched = (left < data.valid[data.mask_of]).any(2).any(1)
    assert int(watched.sum()) == 3  # of 25 patterns
    assert torch.equal(watched.nonzero()[:, 0], stop._watched)
    assert torch.equal((left + withheld)[watched], data.valid[data.mask_of][watched])
    share = float(1 - left[watched].sum() / data.valid.sum() / 3)
    assert share == pytest.approx(0.25, abs=0.06)
    assert stop.scale == pytest.approx(data.norm / stop.misfit.data.norm) and stop.scale > 1


def test_patience_of_zero_withholds_nothing() -> None:
    stop = guard({"patience": 0})
    assert not stop.watching and stop.scale == 1
    state = State(torch.ones(1, 2, 2), torch.ones(1, 2, 2), torch.zeros(2, 2))
    assert stop(state) and stop.best(state) is state


def test_the_best_state_is_returned_after_so_many_worse_ones() -> None:
    stop, losses = guard({"patience": 2}), iter([5.0, 3.0, 4.0, 2.0, 6.0, 2.0, 0.0])
    stop._loss = lambda withheld, state: next(losses)  # type: ignore[method-assign]
    state, going_on = State(torch.zeros(1), torch.zeros(1), torch.zeros(1)), []
    for iteration in range(6):
        state.transmission.fill_(iteration)
        state.squared_residuals.append(float(iteration))
        going_on.append(stop(state))
        if stop.ended:
            break
    # 4 is worse than 3, then 2 is better; 6 and 2 are not better than 2.
    assert going_on == [True, True, True, True, True, False]
    best = stop.best(state)
    assert float(best.transmission) == 3 and best.squared_residuals == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize(
    "settings", [{"probe": "refined", "probe_start": 3}, {"position_step": 0.5, "position_start": 3}]
)
def test_nothing_is_judged_before_everything_is_refined(settings: dict[str, Value]) -> None:
    stop = guard({"patience": 1, **settings})
    losses = iter([1.0, 2.0])
    stop._loss = lambda withheld, state: next(losses)  # type: ignore[method-assign]
    state = State(torch.zeros(1), torch.zeros(1), torch.zeros(1))
    assert [stop(state) for _ in range(5)] == [True, True, True, True, False]


def test_dim_patterns_are_fitted_less_and_explained_better() -> None:
    """Counts that no part of the solver saw are explained better by the state that it stopped at."""
    values: dict[str, Value] = {"solver": "lbfgs", "iterations": 40}
    long, short = (
        withholding(dim(), "pixels", fraction=0.2).evaluate({**values, "patience": patience}, metric=HELD_OUT, seed=0)
        for patience in (0, 2)
    )
    assert len(long.curve["consistency"]) == 40 and len(short.curve["consistency"]) < 30
    assert short.metrics["consistency"] < long.metrics["consistency"]
    assert short.metrics[HELD_OUT] > long.metrics[HELD_OUT] + 0.005


@each_solver
def test_positions_are_refined_all_the_same(solver: str) -> None:
    values = {"probe": "fixed", "position_step": 0.5, "position_start": 2, "patience": 5, "iterations": 20}
    moves = evaluate(jittered()[0], solver, **values).arrays["position_displacement"]
    assert (np.abs(moves).max(axis=1) > 0).all()


@each_solver
def test_equal_seeds_stop_alike(solver: str) -> None:
    one, other = (evaluate(dim(), solver, patience=1, iterations=15) for _ in range(2))
    assert dict(one.metrics) == dict(other.metrics) and list(one.curve["consistency"]) == list(
        other.curve["consistency"]
    )
