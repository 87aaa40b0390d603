"""What an improvement is multiplied by: the chance of success, of kept limits, and one over the cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm

from autotune.problem.space import Dimension, Floats, Space
from autotune.surrogate.model.history import History
from autotune.surrogate.model.value_model import FittedModel, fit
from autotune.surrogate.numerics import quiet_and_seeded
from autotune.surrogate.propose.acquisition_factors import Weighted, cheapness, keeps, success
from autotune.surrogate.propose.acquisition_optimisation import Proposal, maximise
from autotune.surrogate.propose.acquisitions.protocol import Situation
from autotune.surrogate.propose.first_points import sobol
from tests.autotune.surrogate.suitable import acquisition_function

LINE = np.linspace(0, 1, 21)[:, None]
PLANE = Space((Dimension("x"), Dimension("y")))


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with quiet_and_seeded(0):
        yield


def propose(fitted: FittedModel, history: History, space: Space, *, seed: int, factors: Any = ()) -> Proposal:
    improvement = acquisition_function(Situation(fitted, history, space, seed))
    return maximise(improvement, history, space, seed=seed, factors=factors)


def along(factor: Any, points: Floats) -> Floats:
    with torch.no_grad():
        values: Floats = factor(torch.as_tensor(points)[:, None]).numpy()
    assert values.shape == (len(points),)
    return values


def slopes(factor: Any, points: Floats) -> Floats:
    X = torch.as_tensor(points)[:, None].requires_grad_(True)
    (slope,) = torch.autograd.grad(factor(X).sum(), X)
    gradient: Floats = slope[:, 0].numpy()
    return gradient


def test_success_falls_towards_the_failures() -> None:
    chance = np.exp(along(success(LINE[:11:2], LINE[12::2]), LINE))
    assert (np.diff(chance) < 0.01).all() and 0.1 < chance[11] < 0.9
    assert chance[:8].min() > 0.8 and chance[14:].max() < 0.2
    assert (chance > 0).all() and (chance < 1).all()


def test_a_single_failure_among_many_is_a_small_region() -> None:
    chance = np.exp(along(success(np.delete(LINE, 10, axis=0), LINE[10:11]), LINE))
    assert chance.argmin() == 10 and chance[[0, 3, 17, 20]].min() > 0.9


def test_without_a_success_nothing_is_known_apart_from_the_failures() -> None:
    """All labels are equal, or there is only one: no place is better than another."""
    np.testing.assert_array_equal(along(success(LINE[:0], LINE[3:4]), LINE), np.zeros(21))
    everywhere = along(success(LINE[:0], LINE[:5]), LINE)
    assert np.isfinite(everywhere).all()


@pytest.mark.parametrize("side", ["below", "above"])
def test_keeping_a_limit_is_a_normal_probability(side: str) -> None:
    """Far from the limit it is 0 or 1; and a looser limit is kept more probably, everywhere."""
    X, values = LINE[::4], LINE[::4, 0] * 2.0
    model = fit(X, values)
    limit = {"below": None, "above": None, side: 1.0}
    chance = np.exp(along(keeps(model, values, **limit), LINE))
    sign = -1 if side == "below" else 1
    assert (sign * np.diff(chance) >= -1e-9).all()
    assert chance[[0, -1]][::-sign].tolist() == pytest.approx([1.0, 0.0], abs=1e-6)
    looser = {"below": None, "above": None, side: 1.0 - sign * 0.2}
    assert (along(keeps(model, values, **looser), LINE) >= along(keeps(model, values, **limit), LINE) - 1e-12).all()
    with torch.no_grad():
        posterior: Any = model.model.posterior(torch.as_tensor(LINE)[:, None])
    deviation = np.sqrt(posterior.variance.numpy()[:, 0, 0] + model.noise * values.var())
    z = sign * (posterior.mean.numpy()[:, 0, 0] - 1.0) / deviation
    np.testing.assert_allclose(along(keeps(model, values, **limit), LINE), norm.logcdf(z), rtol=1e-6, atol=1e-9)


def test_two_limits_are_both_to_be_kept() -> None:
    values = LINE[::4, 0]
    model = fit(LINE[::4], values)
    both = along(keeps(model, values, below=0.7, above=0.3), LINE)
    assert both[10] > both[4] and both[10] > both[16]
    one, other = (
        keeps(model, values, **limits) for limits in ({"below": 0.7, "above": None}, {"below": None, "above": 0.3})
    )
    np.testing.assert_allclose(both, along(one, LINE) + along(other, LINE))


def test_cheapness_is_one_over_the_cost() -> None:
    cost = 2.0 * 10 ** LINE[:, 0]
    log_factor = along(cheapness(LINE[::2], cost[::2]), LINE)
    np.testing.assert_allclose(log_factor, -np.log(cost), atol=0.02)
    assert (np.diff(log_factor) < 0).all()


@pytest.mark.parametrize("kind", ["success", "below", "above", "cheapness"])
def test_slopes_are_finite_and_those_of_the_value(kind: str) -> None:
    X = sobol(12, 2, seed=0)
    values = X[:, 0] + 0.3 * np.sin(4 * X[:, 1])
    factor = {
        "success": lambda: success(X[values < 0.6], X[values >= 0.6]),
        "below": lambda: keeps(fit(X, values), values, below=0.5, above=None),
        "above": lambda: keeps(fit(X, values), values, below=None, above=0.5),
        "cheapness": lambda: cheapness(X, np.exp(values)),
    }[kind]()
    points = np.concatenate([sobol(40, 2, seed=1), X, [[0, 0], [1, 1], [0, 1], [1, 0]]])
    gradient = slopes(factor, points)
    assert np.isfinite(gradient).all() and np.isfinite(along(factor, points)).all()
    inside, step = sobol(10, 2, seed=2) * 0.9 + 0.05, 1e-5
    for i in range(2):
        moved = step * np.eye(2)[i]
        by_difference = (along(factor, inside + moved) - along(factor, inside - moved)) / (2 * step)
        np.testing.assert_allclose(slopes(factor, inside)[:, i], by_difference, rtol=1e-3, atol=1e-4)


def bowl_history(failed: Floats | None = None) -> History:
    X = sobol(10, 2, seed=0)
    return History(X, -((X - 0.4) ** 2).sum(axis=1), np.zeros((0, 2)), 10, failed=failed)


def test_an_acquisition_is_the_sum_of_the_logarithms() -> None:
    history = bowl_history()
    improvement = acquisition_function(Situation(fit(history.X, history.y), history, PLANE, 0))
    factors = [cheapness(history.X, np.exp(history.X[:, 0])), success(history.X, np.array([[0.9, 0.9]]))]
    points = sobol(9, 2, seed=5)
    expected = along(improvement, points) + along(factors[0], points) + along(factors[1], points)
    np.testing.assert_allclose(along(Weighted(improvement, factors), points), expected)


def test_proposals_keep_away_from_failures_and_go_where_it_is_cheap() -> None:
    history = bowl_history()
    fitted = fit(history.X, history.y)
    alone = propose(fitted, history, PLANE, seed=0)
    about = np.clip(alone.point + 0.05 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [0, 0]]), 0, 1)
    away = propose(fitted, bowl_history(about), PLANE, seed=0, factors=[success(history.X, about)])
    assert np.abs(away.point - alone.point).max() > 0.1
    assert away.expected_improvement < alone.expected_improvement  # of the improvement alone, without the factor
    cheap = propose(fitted, history, PLANE, seed=0, factors=[cheapness(history.X, np.exp(30 * history.X[:, 0]))])
    assert cheap.point[0] < alone.point[0] - 0.05
