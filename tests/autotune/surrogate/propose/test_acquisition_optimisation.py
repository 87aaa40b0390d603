"""Maximising an acquisition function: proposals that survive rounding, are new, and beat a dense search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from autotune.problem.space import Dimension, Floats, Space
from autotune.surrogate.model.coordinates import Coordinates
from autotune.surrogate.model.history import History
from autotune.surrogate.model.value_model import FittedModel, fit
from autotune.surrogate.numerics import quiet_and_seeded
from autotune.surrogate.propose.acquisition_optimisation import Proposal, maximise
from autotune.surrogate.propose.acquisitions.protocol import Situation
from autotune.surrogate.propose.first_points import sobol
from tests.autotune.surrogate.suitable import acquisition_function

MIXED = Space(
    (
        Dimension("x", low=0.0, high=1.0),
        Dimension("n", type="int", low=1, high=40),
        Dimension("m", type="categorical", choices=("a", "b", "c")),
    )
)
PLANE = Space((Dimension("x"), Dimension("y")))


def score(values: dict[str, Any]) -> float:
    return float(-((values["x"] - 0.3) ** 2) - ((values["n"] - 11) / 40) ** 2 - 0.1 * (values["m"] != "c"))


def mixed_history(n: int = 10) -> History:
    X = Coordinates(MIXED).from_uniform(sobol(n, 3, seed=0))
    return History(X, np.array([score(MIXED.from_unit(p)) for p in X]), np.zeros((0, 5)), n)


def plane_history(pending: Floats | None = None) -> History:
    X = sobol(10, 2, seed=0)
    y = -((X - 0.4) ** 2).sum(axis=1)
    return History(X, y, np.zeros((0, 2)) if pending is None else pending, 10)


def propose(fitted: FittedModel, history: History, space: Space, *, seed: int) -> Proposal:
    with quiet_and_seeded(seed):
        improvement = acquisition_function(Situation(fitted, history, space, seed))
        return maximise(improvement, history, space, seed=seed)


def evaluate(acquisition: Any, points: Floats) -> Floats:
    with torch.no_grad():
        return np.asarray(acquisition(torch.as_tensor(points).unsqueeze(1)).numpy())


@pytest.mark.parametrize("seed", range(3))
def test_the_proposal_survives_rounding_and_beats_a_dense_search(seed: int) -> None:
    history = mixed_history()
    fitted = fit(history.X, history.y)
    proposal = propose(fitted, history, MIXED, seed=seed)
    point = proposal.point
    coordinates = Coordinates(MIXED)
    np.testing.assert_allclose(coordinates.snap(point[None])[0], point, atol=1e-12)
    acquisition = acquisition_function(Situation(fitted, history, MIXED, seed))
    dense = evaluate(acquisition, coordinates.from_uniform(sobol(8192, 3, seed=99)))
    reached = evaluate(acquisition, point[None])[0]
    assert reached >= dense.max() - 0.01
    assert proposal.expected_improvement == pytest.approx(np.exp(reached))


def test_pending_points_are_left() -> None:
    history = plane_history()
    fitted = fit(history.X, history.y)
    alone = propose(fitted, history, PLANE, seed=0).point
    beside = propose(fitted, plane_history(alone[None]), PLANE, seed=0).point
    assert np.abs(beside - alone).max() > 0.01


def test_known_points_are_not_repeated_though_they_look_best() -> None:
    # All but the best point of a fully discrete space was tried, and each value is worse than any prediction.
    space = Space((Dimension("n", type="int", low=1, high=3), Dimension("m", type="categorical", choices=("a", "b"))))
    every = Coordinates(space).enumerate()
    for left in range(6):
        X = np.delete(every, left, axis=0)
        history = History(X, np.linspace(0, 1, 5), np.zeros((0, 3)), 5)
        np.testing.assert_array_equal(propose(fit(X, history.y), history, space, seed=0).point, every[left])


def test_a_space_that_is_tried_out_still_gets_a_proposal() -> None:
    space = Space((Dimension("n", type="int", low=1, high=3),))
    X = Coordinates(space).enumerate()
    history = History(X, np.array([0.0, 1.0, 0.2]), np.zeros((0, 1)), 3)
    assert space.from_unit(propose(fit(X, history.y), history, space, seed=0).point)["n"] in (1, 2, 3)
