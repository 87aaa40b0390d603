"""Probes: they test the answer where no trial has, one parameter at a time."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.problem.levels import Levels
from autotune.problem.space import Dimension, Floats, Space
from autotune.surrogate.model.history import History
from autotune.surrogate.model.value_model import FittedModel, fit_history
from autotune.surrogate.numerics import quiet_and_seeded
from autotune.surrogate.propose.probing import NARROW, probe
from autotune.surrogate.propose.proposer import Proposer

TWO = Space((Dimension("found", type="float", low=0, high=1), Dimension("idle", type="float", low=0, high=1)))


def history_of(X: Floats, y: Floats, gradient: Floats | None = None) -> History:
    return History(X, y, np.zeros((0, X.shape[1])), len(y), gradient)


def bowl(X: Floats) -> Floats:
    """What depends on the first coordinate alone, best at 0.5."""
    value: Floats = -((X[:, 0] - 0.5) ** 2)
    return value


def fitted(history: History, space: Space) -> FittedModel:
    with quiet_and_seeded(0):
        return fit_history(history, space, 1)


def test_it_halves_the_widest_stretch_in_which_only_that_parameter_was_tested() -> None:
    """Trials in which another parameter spoils the value test nothing, whatever they have of this one."""
    X = np.array([[0.5, 0.1], [0.45, 0.2], [0.55, 0.15], [0.0, 0.6], [1.0, 0.8], [0.02, 0.4], [0.3, 0.12], [0.7, 0.1]])
    history = history_of(X, bowl(X))
    point = probe(fitted(history, TWO), history, TWO, np.array([0.5, 0.1]))
    assert point is not None and point.tolist() == pytest.approx([0.5, 0.6])  # between 0.2 and 1
    # What runs, or has failed, tests a place as well.
    for part in ("pending", "failed"):
        more = dataclasses.replace(history, **{part: point[None]})
        second = probe(fitted(history, TWO), more, TWO, np.array([0.5, 0.1]))
        assert second is not None and second[0] == 0.5 and second[1] in (pytest.approx(0.4), pytest.approx(0.8))


def test_there_is_none_where_all_ranges_are_tested() -> None:
    line = np.linspace(0, 1, 6)
    X = np.concatenate([np.stack([line, np.full(6, 0.3)], 1), np.stack([np.full(6, 0.5), line], 1), [[0.5, 0.3]]])
    history = history_of(X, bowl(X))
    assert probe(fitted(history, TWO), history, TWO, np.array([0.5, 0.3])) is None


def test_of_a_categorical_it_takes_a_choice_that_nothing_has_tested() -> None:
    space = Space(
        (
            Dimension("found", type="float", low=0, high=1),
            Dimension("kind", type="categorical", choices=("a", "b", "c")),
        )
    )
    X = np.array([[u, 1.0, 0.0, 0.0] for u in np.linspace(0, 1, 7)] + [[0.5, 0.0, 1.0, 0.0]])
    history = history_of(X, bowl(X))
    point = probe(fitted(history, space), history, space, X[3])
    assert point is not None and point.tolist() == [0.5, 0, 0, 1]


@pytest.mark.parametrize(("low", "high", "log"), [(0, 1, False), (1, 3, False), (1, 6, True), (1, 40, False)])
def test_of_an_int_it_takes_the_middle_of_the_longest_run_of_untested_values(low: int, high: int, log: bool) -> None:
    """Until all, or nearly all, are tested; never the answer again."""
    space = Space((TWO.dimensions[0], Dimension("count", type="int", low=low, high=high, log=log)))
    X = np.array([space.to_unit({"found": u, "count": low}) for u in np.linspace(0, 1, 7)])
    history = history_of(X, bowl(X))
    model, answer = fitted(history, space), X[3] + np.array([2e-3, 0.0])
    counts = [low]
    for _ in range(12):
        point = probe(model, history, space, answer)
        if point is None:
            break
        counts.append(int(space.from_unit(point)["count"]))
        history = dataclasses.replace(history, pending=np.concatenate([history.pending, point[None]]))
    assert len(counts) == len(set(counts))
    gaps = np.diff(np.sort([low - 1, *counts, high + 1])) - 1
    assert gaps.max() / (high - low + 1) <= NARROW


def test_a_parameter_that_is_inactive_at_the_answer_is_not_probed() -> None:
    space = Space(
        (
            Dimension("kind", type="categorical", choices=("a", "b")),
            Dimension("of_b", type="float", low=0, high=1, when=(("kind", ("b",)),)),
        )
    )
    X = np.array([space.to_unit(v) for v in ({"kind": "a"}, {"kind": "b", "of_b": 0.1}, {"kind": "b", "of_b": 0.2})])
    history = history_of(X, np.array([1.0, 0.0, 0.1]))
    assert probe(fitted(history, space), history, space, X[0]) is None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9))
def test_successive_probes_leave_nothing_wide_untested(seed: int, high: int) -> None:
    """Each is a new point that can be evaluated, and differs from the answer in one parameter."""
    space = Space((*TWO.dimensions, Dimension("count", type="int", low=1, high=high)))
    random = np.random.default_rng(seed)
    X = np.array([space.to_unit(space.from_unit(point)) for point in random.uniform(size=(6, 3))])
    history, model = history_of(X, bowl(X)), fitted(history_of(X, bowl(X)), space)
    answer = X[int(bowl(X).argmax())]
    for _ in range(3 * 8):
        point = probe(model, history, space, answer)
        if point is None:
            break
        assert (point != answer).sum() == 1 and space.to_unit(space.from_unit(point)).tolist() == point.tolist()
        history = dataclasses.replace(history, pending=np.concatenate([history.pending, point[None]]))
    else:
        pytest.fail("probing does not end")
    tried = np.concatenate([X, history.pending])
    assert np.diff(np.sort([0.0, *tried[:, 1], 1.0])).max() <= NARROW


def test_a_search_probes_along_a_parameter_that_hardly_matters_where_it_is() -> None:
    """Five parameters are found; of the sixth, whose best value is far from all trials, nothing shows there."""
    space = Space(tuple(Dimension(f"x{i}", type="float", low=0, high=1) for i in range(6)))

    def value(x: Floats) -> float:
        bump = 0.3 * math.exp(-(((x[5] - 0.65) / 0.15) ** 2))
        return math.exp(-8 * float(((x[:5] - 0.5) ** 2).sum())) * (1 + bump)

    def slope(x: Floats) -> Floats:
        return np.array([(value(x + d) - value(x - d)) / 2e-6 for d in 1e-6 * np.eye(6)])

    random = np.random.default_rng(1)
    X = np.column_stack([0.5 + random.normal(scale=0.1, size=(8, 5)), random.uniform(0, 0.1, size=8)])
    X = np.vstack([X, [[0.5] * 5 + [0.0]]])
    history = history_of(X, np.array([value(x) for x in X]), np.array([slope(x) for x in X]))
    proposer = Proposer(space, seed=0, levels=Levels(tolerance=1e-3))
    for _ in range(4):
        x = proposer.ask(history).point
        history = dataclasses.replace(history.with_evaluation(x, value(x), slope(x)), position=history.position + 1)
    assert history.y.max() > 1.1
