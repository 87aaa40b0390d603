"""The table of acquisition functions: which row a situation uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from botorch.acquisition.analytic import LogExpectedImprovement
from botorch.acquisition.logei import qLogNoisyExpectedImprovement

from autotune.objective import Metric
from autotune.problem.space import Dimension, Floats, Space
from autotune.surrogate.model.history import History
from autotune.surrogate.model.value_model import FittedModel, fit, fit_history
from autotune.surrogate.propose.acquisitions.protocol import Situation
from autotune.surrogate.propose.acquisitions.table import ACQUISITIONS, choose
from autotune.surrogate.propose.first_points import sobol
from tests.autotune.surrogate.suitable import acquisition_function

PLANE = Space((Dimension("x"), Dimension("y")))


def plane_history(pending: Floats | None = None) -> History:
    X = sobol(10, 2, seed=0)
    y = -((X - 0.4) ** 2).sum(axis=1)
    return History(X, y, np.zeros((0, 2)) if pending is None else pending, 10)


def test_the_kind_of_acquisition() -> None:
    history = plane_history()
    fitted = fit(history.X, history.y)
    assert isinstance(acquisition_function(Situation(fitted, history, PLANE, 0)), LogExpectedImprovement)
    noisy = FittedModel(fitted.model, noise=0.1)
    assert isinstance(acquisition_function(Situation(noisy, history, PLANE, 0)), qLogNoisyExpectedImprovement)
    waiting = plane_history(np.array([[0.4, 0.4]]))
    assert isinstance(acquisition_function(Situation(fitted, waiting, PLANE, 0)), qLogNoisyExpectedImprovement)


def test_gradients_have_their_own_pending_or_not() -> None:
    X = sobol(5, 2, seed=0)
    y, slopes = -((X - 0.4) ** 2).sum(axis=1), -2 * (X - 0.4)
    for pending in (np.zeros((0, 2)), np.array([[0.4, 0.4]])):
        history = History(X, y, pending, 5, slopes)
        assert choose(Situation(fit_history(history, PLANE), history, PLANE, 0)).name == "improvement with gradients"


@pytest.mark.parametrize(
    ("kept", "reporting", "name"),
    [
        ([False] * 10, 10, "limits first"),
        ([True] * 10, 10, "hypervolume improvement"),
        ([True] * 2 + [False] * 8, 2, "hypervolume improvement"),
        ([True] * 10, 1, "log-EI"),  # one trial that reports it cannot be weighed
        ([False] * 2 + [True] * 8, 2, "log-EI"),
    ],
)
def test_limits_come_before_weighing_and_weighing_before_the_value_alone(
    kept: list[bool], reporting: int, name: str
) -> None:
    plain = plane_history()
    reports = tuple({"cost": float(x[0])} if i < reporting else {} for i, x in enumerate(plain.X))
    history = History(plain.X, plain.y, plain.pending, 10, reports=reports)
    fitted = fit(plain.X, plain.y)
    situation = Situation(fitted, history, PLANE, 0, (Metric("cost", "minimize"),), np.array(kept))
    acquisition = choose(situation)
    assert acquisition.name == name
    assert acquisition.in_the_metrics_unit is (name == "log-EI")


def test_the_improvement_is_over_the_best_trial_that_keeps_the_limits() -> None:
    history = plane_history()
    fitted = fit(history.X, history.y)
    without_the_best = history.y < history.y.max()
    point = torch.tensor([[[0.4, 0.4]]], dtype=torch.float64)
    over_all, over_others = (
        acquisition_function(Situation(fitted, history, PLANE, 0, kept=kept))(point).item()
        for kept in (None, without_the_best)
    )
    assert over_others > over_all


def test_the_last_row_always_suits() -> None:
    history = plane_history()
    assert ACQUISITIONS[-1].suits(Situation(fit(history.X, history.y), history, PLANE, 0))
