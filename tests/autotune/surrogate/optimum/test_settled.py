"""What is taken for the optimum is evaluated before it is believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from autotune.objective import Value
from autotune.problem.space import Dimension, Space
from autotune.surrogate.model.history import History
from autotune.surrogate.numerics import quiet_and_seeded
from autotune.surrogate.optimum.flatness import Check
from autotune.surrogate.optimum.optimum import CHECKS, find_optimum


def checked(values_at: Callable[[Mapping[str, Value]], float], asked: list[dict[str, Value]]) -> Check:
    """Evaluates where it is asked to."""

    def check(values: Mapping[str, Value]) -> tuple[float, Mapping[str, float]]:
        asked.append(dict(values))
        return values_at(values), {}

    return check


def hill(values: Mapping[str, Value]) -> float:
    return -((float(values["x"]) - 0.3) ** 2)


def on_a_line(points: Sequence[float]) -> tuple[History, Space]:
    """Values of the hill."""
    space = Space((Dimension("x", low=0.0, high=1.0),))
    X = np.array(points, dtype=np.float64)[:, None]
    return History(X, np.array([hill({"x": x}) for x in points]), np.zeros((0, 1)), len(points)), space


def test_what_is_taken_for_the_optimum_is_evaluated_once_where_that_gives_what_was_expected() -> None:
    history, space = on_a_line([0.0, 0.2, 0.35, 0.5, 0.75, 1.0])
    asked: list[dict[str, Value]] = []
    with quiet_and_seeded(0):
        optimum = find_optimum(history, space, 1, 1, seed=0, check=checked(hill, asked))
    assert len(asked) == 1
    assert optimum.values["x"] == pytest.approx(0.3, abs=0.02)


def test_where_it_falls_short_the_answer_moves_to_where_it_was_evaluated_to_be_better() -> None:
    """There is a hole that no trial has seen: at first the top seems to be in it."""
    history, space = on_a_line([0.0, 0.1, 0.15, 0.45, 0.55, 0.8, 1.0])

    def with_a_hole(values: Mapping[str, Value]) -> float:
        return hill(values) - 1.0 * (0.2 < float(values["x"]) < 0.4)

    asked: list[dict[str, Value]] = []
    with quiet_and_seeded(0):
        optimum = find_optimum(history, space, 1, 1, seed=0, check=checked(with_a_hole, asked))
    assert 0.2 < float(asked[0]["x"]) < 0.4 and len(asked) >= 2
    assert not 0.2 < float(optimum.values["x"]) < 0.4


@pytest.mark.parametrize("fails", [True, False])
def test_nothing_is_identified_where_the_optimum_cannot_be_confirmed(fails: bool) -> None:
    history, space = on_a_line([0.0, 0.2, 0.35, 0.5, 0.75, 1.0])
    asked: list[dict[str, Value]] = []

    def check(values: Mapping[str, Value]) -> tuple[float, Mapping[str, float]] | None:
        asked.append(dict(values))
        return None if fails else (hill(values) - 1.0 - len(asked), {})

    def again(values: Mapping[str, Value], steps: Mapping[str, float]) -> list[dict[str, float]]:
        return [{"x": 1e-3 * sign} for sign in (1, -1, 2, -2)]

    with quiet_and_seeded(0):
        sure = find_optimum(history, space, 1, 1, seed=0, again=again)
        optimum = find_optimum(history, space, 1, 1, seed=0, again=again, check=check)
        by_search = find_optimum(history, space, 1, 1, seed=0, check=check)
    assert {v.kind for v in by_search.verdicts.values()} == {"not_found"}, "nor is it where the noise is not known"
    assert optimum.verdicts["x"].because == ("failed" if fails else "fell_short")
    assert sure.verdicts["x"].kind == "identified"
    assert "identified" not in {verdict.kind for verdict in optimum.verdicts.values()}
    assert len(asked) == 2 * (1 if fails else CHECKS)


@pytest.mark.parametrize("depends", [True, False])
def test_flat_is_only_what_evaluations_far_away_show_to_be(depends: bool) -> None:
    """A narrow peak in y that trials have missed: what they saw does not depend on it."""
    space = Space((Dimension("x"), Dimension("y")))
    X = np.array([[x, y] for x in (0.0, 0.2, 0.35, 0.5, 1.0) for y in (0.35, 0.5, 0.65)])
    history = History(X, np.array([hill({"x": x}) for x, _ in X]), np.zeros((0, 2)), len(X))
    asked: list[dict[str, Value]] = []

    def value(values: Mapping[str, Value]) -> float:
        return hill(values) - depends * max(0.0, abs(float(values["y"]) - 0.5) - 0.2)

    with quiet_and_seeded(0):
        unchecked = find_optimum(history, space, 1, 1, seed=0)
        optimum = find_optimum(history, space, 1, 1, seed=0, check=checked(value, asked))
    assert (unchecked.verdicts["y"].kind, unchecked.verdicts["y"].because) == ("not_found", "not_evaluated")
    found = optimum.verdicts["y"]
    assert (found.kind, found.because) == (("not_found", "depends") if depends else ("flat", ""))


@pytest.mark.parametrize("cliff", [False, True])
def test_a_correction_for_noise_is_evaluated_where_it_leads_far(cliff: bool) -> None:
    """Values alone: a bias of 0.3 moves the maximum by 0.15, where the value is as low as expected, or much lower."""
    history, space = on_a_line([0.0, 0.2, 0.35, 0.5, 0.75, 1.0])
    space = Space((Dimension("x", low=0.0, high=1.0, kind="mismatch"),))
    asked: list[dict[str, Value]] = []

    def value(values: Mapping[str, Value]) -> float:
        return hill(values) - cliff * (0.1 < float(values["x"]) < 0.19)

    def again(values: Mapping[str, Value], steps: Mapping[str, float]) -> list[dict[str, float]]:
        return [{"x": 0.3 + 1e-3 * sign} for sign in (1, -1, 2, -2)]

    with quiet_and_seeded(0):
        optimum = find_optimum(history, space, 1, 1, seed=0, again=again, check=checked(value, asked))
    assert float(asked[-1]["x"]) == pytest.approx(0.15, abs=0.02)
    if cliff:
        assert (optimum.verdicts["x"].kind, optimum.verdicts["x"].because) == ("not_found", "fell_short")
        assert optimum.values["x"] == pytest.approx(0.3, abs=0.02) and optimum.noisy == frozenset()
    else:
        assert optimum.verdicts["x"].kind == "identified" and optimum.values["x"] == pytest.approx(0.15, abs=0.02)
