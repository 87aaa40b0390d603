"""The surrogate on a space with conditions: points that can be evaluated, and no slope where nothing changes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from botorch.optim.optimize import optimize_acqf
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.problem.space import Dimension, Floats, Space
from autotune.search.trial_history import read_history
from autotune.surrogate.model.coordinates import Coordinates
from autotune.surrogate.model.history import History
from autotune.surrogate.model.inactive import HoldingInactive, hold_inactive
from autotune.surrogate.model.value_model import fit
from autotune.surrogate.propose.acquisition_optimisation import climb, maximise
from autotune.surrogate.propose.acquisitions.protocol import Situation
from autotune.surrogate.propose.first_points import sobol, startup_point, startup_value
from tests.autotune.conditional import SPACE, gradient, value
from tests.autotune.surrogate.suitable import acquisition_function

STEP, SHIFT, DECAY, SLICES = 0, 1, 5, 6  # columns; those of the solver are 2 to 4
DISCRETE = Space((SPACE.dimensions[2], SPACE.dimensions[4]))
NESTED = Space(
    (
        Dimension("a", type="int", low=1, high=40, log=True),
        Dimension("b", type="categorical", choices=("p", "q"), when=(("a", (3, 40)),)),
        Dimension("c", when=(("b", ("p",)),)),
    )
)


def points(space: Space, count: int, seed: int = 0) -> Floats:
    return Coordinates(space).from_uniform(sobol(count, len(space.dimensions), seed=seed))


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=5, max_size=5))
def test_uniform_numbers_give_points_that_can_be_evaluated(uniform: list[float]) -> None:
    point = Coordinates(SPACE).from_uniform(np.array([uniform]))[0]
    values = SPACE.from_unit(point)
    assert set(values) == SPACE.active(values)
    np.testing.assert_allclose(SPACE.to_unit(values), point, atol=1e-12)
    for name, column in (("step", STEP), ("decay", DECAY), ("slices", SLICES)):
        assert name in values or point[column] == 0.5


def test_neighbours_change_one_choice_and_what_hangs_on_it() -> None:
    coordinates = Coordinates(SPACE)
    here = SPACE.to_unit({"solver": "sgd", "step": 0.01, "shift": 1.0})
    around = [SPACE.from_unit(point) for point in coordinates.neighbours(here)]
    assert [values["solver"] for values in around] == ["exact", "momentum"]
    assert set(around[0]) == {"solver", "shift", "slices"} and around[0]["slices"] == 3  # of 1 to 4
    assert around[1]["step"] == pytest.approx(0.01) and around[1]["decay"] == 0.5
    for point in coordinates.neighbours(here):
        np.testing.assert_allclose(coordinates.snap(point[None])[0], point, atol=1e-12)
    inner = SPACE.to_unit({"solver": "exact", "slices": 2, "shift": 1.0})
    steps = [values.get("slices") for values in map(SPACE.from_unit, coordinates.neighbours(inner))]
    assert steps == [None, 2, 1, 3]  # sgd, which has none; momentum, which has the same; the values beside


def test_a_discrete_space_is_enumerated_without_repetition() -> None:
    enumerated = [DISCRETE.from_unit(point) for point in Coordinates(DISCRETE).enumerate()]
    assert len(enumerated) == 4 + 1 + 4 and Coordinates(DISCRETE).size == 12
    assert len({tuple(sorted(values.items())) for values in enumerated}) == 9


@pytest.mark.parametrize("space", [SPACE, NESTED], ids=["flat", "nested"])
def test_holding_is_what_the_space_does(space: Space) -> None:
    coordinates = Coordinates(space)
    snapped = points(space, 64)
    smooth = [start for d, start in coordinates.columns if d.type == "float"]
    moved = snapped.copy()
    moved[:, smooth] = np.random.default_rng(0).uniform(size=(64, len(smooth)))
    held = hold_inactive(torch.as_tensor(moved).unsqueeze(1), coordinates).squeeze(1).numpy()
    np.testing.assert_allclose(held, coordinates.snap(moved), atol=1e-12)
    assert (held[:, smooth] != moved[:, smooth]).any() and (held[:, smooth] == moved[:, smooth]).any()


def test_there_is_no_slope_along_what_is_not_active() -> None:
    history = history_of(points(SPACE, 12))
    acquisition = acquisition_function(Situation(fit(history.X, history.y), history, SPACE, 0))
    at = torch.tensor(
        np.stack([
            SPACE.to_unit({"solver": "sgd", "step": 0.02, "shift": 1.0}),
            SPACE.to_unit({"solver": "momentum", "step": 0.02, "shift": 1.0, "decay": 0.3, "slices": 2}),
        ])
    ).unsqueeze(1)  # fmt: skip
    at[:, 0, DECAY] = 0.3
    slopes = []
    for function in (acquisition, HoldingInactive(acquisition, Coordinates(SPACE))):
        x = at.clone().requires_grad_()
        [slope] = torch.autograd.grad(function(x).sum(), x)
        slopes.append(slope.squeeze(1))
    free, held = slopes
    assert free[0, DECAY] != 0 and held[0, DECAY] == 0
    torch.testing.assert_close(held[1], free[1])
    assert held[0, SHIFT] != 0 and held[0, STEP] != 0


def history_of(X: Floats) -> History:
    y = np.array([value(SPACE.from_unit(point)) for point in X])
    return History(X, y, np.zeros((0, SPACE.width)), len(X))


@pytest.mark.parametrize("seed", range(2))
def test_the_proposal_beats_a_dense_search(seed: int) -> None:
    history = history_of(points(SPACE, 12, seed=3))
    fitted = fit(history.X, history.y)
    acquisition = acquisition_function(Situation(fitted, history, SPACE, seed))
    proposal = maximise(acquisition, history, SPACE, seed=seed)
    coordinates = Coordinates(SPACE)
    np.testing.assert_allclose(coordinates.snap(proposal.point[None])[0], proposal.point, atol=1e-12)

    def evaluate(X: Floats) -> Any:
        with torch.no_grad():
            return acquisition(torch.as_tensor(X).unsqueeze(1)).numpy()

    assert evaluate(proposal.point[None])[0] >= evaluate(points(SPACE, 4096, seed=9)).max() - 0.01


def test_the_climb_moves_nothing_that_is_not_active(monkeypatch: pytest.MonkeyPatch) -> None:
    climbed: list[Floats] = []

    def watched(*arguments: Any, **named: Any) -> Any:
        points, values = optimize_acqf(*arguments, **named)
        climbed.append(points.detach().squeeze(1).numpy())
        return points, values

    monkeypatch.setattr("autotune.surrogate.propose.acquisition_optimisation.optimize_acqf", watched)
    history = history_of(points(SPACE, 12))
    acquisition = acquisition_function(Situation(fit(history.X, history.y), history, SPACE, 0))
    starts = points(SPACE, 24, seed=1)  # every solver is among them, whichever looks best
    climb(acquisition, Coordinates(SPACE), starts, np.full(len(starts), -np.inf))
    reached = np.concatenate(climbed)
    values = [SPACE.from_unit(point) for point in reached]
    for name, column in (("step", STEP), ("decay", DECAY)):
        idle = np.array([name not in v for v in values])
        assert idle.any() and (reached[idle, column] == 0.5).all()
        assert (reached[~idle, column] != 0.5).any()


def test_history_takes_trials_as_they_are() -> None:
    """Each with what it has; a gradient only there; none while a trial lacks a value that it will have."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=3))
    told = []
    for _ in range(12):
        trial = study.ask()
        values = SPACE.suggest(trial)
        slopes = gradient(values) | {"decay": gradient(values).get("decay", 9.0)}
        trial.set_user_attr("autotune:evaluation", {"gradient": slopes})
        study.tell(trial, value(values))
        told.append(values)
    partial = study.ask()
    partial.suggest_categorical("solver", SPACE.dimensions[2].choices)
    asked = study.ask()
    history = read_history(study, study.get_trials()[asked.number], SPACE)
    assert history.position == 13 and len(history.pending) == 0
    np.testing.assert_allclose(history.X, [SPACE.to_unit(values) for values in told])
    assert history.gradient is not None
    for row, values in zip(history.gradient, told, strict=True):
        known = {
            name for name, column in (("step", STEP), ("shift", SHIFT), ("decay", DECAY)) if row[column] == row[column]
        }
        assert known == {"step", "shift", "decay"} & set(values)
        assert row[SHIFT] == pytest.approx(4 * gradient(values)["shift"])
        assert all(math.isnan(row[column]) for column in (2, 3, 4, SLICES))
    assert {len(values) for values in told} == {3, 5}


def test_a_value_of_the_starting_sequence_is_the_point_s_where_it_is_active() -> None:
    for position in range(12):
        values = SPACE.from_unit(startup_point(SPACE, seed=4, position=position))
        for name in SPACE.names:
            alone = startup_value(SPACE, name, seed=4, position=position)
            assert name not in values or alone == pytest.approx(values[name])
