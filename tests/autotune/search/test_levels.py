"""Searches with cheap evaluations, and from earlier studies: cheaper where these tell, and right where they mislead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from autotune.objective import Evaluation, Metric, Status
from autotune.problem.space import Dimension, Floats, Space
from autotune.runs.stopping import Ending
from autotune.search.trial_history import read_history
from autotune.search.tuner import Search, Tuner
from autotune.store.records import TrialRecord
from autotune.store.trials import TrialStore
from autotune.study.blocks.budget import BudgetSpec

pytestmark = pytest.mark.usefixtures("in_memory")

METRIC = Metric("m", "maximize")
TOP = np.array([0.37, 0.71, 0.52])
SPACE = Space(tuple(Dimension(f"x{i}", differentiable=True) for i in range(3)))
TURN = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
CURVATURE = TURN @ np.diag([6.0, 2.0, 1.0]) @ TURN.T

Function = Callable[[Floats], tuple[float, Floats]]
"""A point -> the value there and its slopes."""


def bump(top: Floats, scale: float = 1.0, offset: float = 0.0) -> Function:
    """A smooth hill, no quadratic, with its summit at ``top``."""

    def value(x: Floats) -> tuple[float, Floats]:
        q = float((x - top) @ CURVATURE @ (x - top))
        slope: Floats = -scale * 2 * np.exp(-q) * (CURVATURE @ (x - top))
        return offset + scale * float(np.exp(-q)), slope

    return value


FULL = bump(TOP)
SHIFTED = bump(TOP + np.array([0.05, -0.04, 0.05]), 0.8, -0.3)
ELSEWHERE = bump(np.array([0.9, 0.1, 0.1]))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


@dataclass(frozen=True)
class Lab:
    """Where studies of the hill are run.

    Attributes:
        url: of the storage.
        gradients: whether evaluations bring slopes.
    """

    url: str
    gradients: bool = True

    def run(
        self, name: str, functions: tuple[Function, ...], costs: tuple[float, ...] = (1.0,), **options: Any
    ) -> list[TrialRecord]:
        """A study to its end; the function of each level."""
        budget = options.pop("budget", {"trials": 60, "converged": 1e-4})
        fails: Callable[[int, int], bool] = options.pop("fails", lambda number, level: False)
        store = TrialStore.create(self.url, name, METRIC, {})
        search = Search("gp", costs=costs, tolerance=budget.get("converged"), **{"seed": 0} | options)
        tuner = Tuner(store, SPACE, METRIC, search)
        ending = Ending(BudgetSpec(**budget), "m", max(costs[1:], default=None))
        while True:
            coming = ending.after(tuner.counted(), 0.0, tuner.expects)
            if coming.reason:
                return tuner.counted()
            assert len(tuner.counted()) < 100, "the search does not end"
            trial = tuner.ask(finish=coming.finish)
            if fails(trial.number, trial.level):
                tuner.tell(trial, Evaluation(Status.FAILED, reason="no"))
                continue
            value, slope = functions[trial.level](np.array([float(v) for v in trial.values.values()]))
            gradient = dict(zip(SPACE.names, slope.tolist(), strict=True)) if self.gradients else {}
            tuner.tell(trial, Evaluation(Status.COMPLETE, {"m": value}, gradient=gradient))


@pytest.fixture(params=[True, pytest.param(False, marks=pytest.mark.slow)], ids=["with slopes", "without"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    return Lab(f"sqlite:///{tmp_path / 'trials.db'}", request.param)


def best_value(records: list[TrialRecord]) -> float:
    """Of the full evaluations."""
    return max(record.metrics["m"] for record in records if record.level == 0 and record.state == "finished")


def cost(records: list[TrialRecord]) -> float:
    return sum(record.equivalents for record in records)


def trials_to(records: list[TrialRecord], value: float) -> int:
    """Trials until a full evaluation reached the value; more than there are where none did."""
    reached = [r.number for r in records if r.level == 0 and r.metrics.get("m", -np.inf) >= value]
    return min(reached, default=1000) + 1


def cost_to(records: list[TrialRecord], value: float) -> float:
    return cost(records[: trials_to(records, value)])


def test_cheap_trials_find_the_optimum_of_the_full_function_for_less(lab: Lab) -> None:
    """Their summit is shifted, scaled and lower; most trials are cheap, and the answer is a full one."""
    alone = lab.run("alone", (FULL,))
    cheap = lab.run("cheap", (FULL, SHIFTED), (1.0, 0.1))
    levels = [record.level for record in cheap]
    assert levels.count(1) > len(levels) / 2
    assert 0 in levels[-4:]
    assert best_value(cheap) > 0.998 and best_value(alone) > 0.998
    assert cost_to(cheap, 0.995) < 0.75 * cost_to(alone, 0.995)
    assert sum(record.equivalents for record in cheap) == pytest.approx(levels.count(0) + 0.1 * levels.count(1))


@pytest.mark.slow
def test_a_cheap_function_that_has_nothing_to_do_with_it_does_not_mislead(tmp_path: Path) -> None:
    lab = Lab(f"sqlite:///{tmp_path / 'trials.db'}")
    alone = lab.run("alone", (FULL,))
    misled = lab.run("misled", (FULL, ELSEWHERE), (1.0, 0.1))
    assert best_value(misled) > 0.995
    assert cost_to(misled, 0.995) < 2 * cost_to(alone, 0.995) + 3


@pytest.mark.slow
def test_without_slopes_it_misleads_for_some_time(tmp_path: Path) -> None:
    lab = Lab(f"sqlite:///{tmp_path / 'trials.db'}", gradients=False)
    alone = lab.run("alone", (FULL,))
    misled = lab.run("misled", (FULL, ELSEWHERE), (1.0, 0.1), budget={"trials": 90})
    assert best_value(misled) > 0.99
    assert cost_to(misled, 0.99) < 2 * cost_to(alone, 0.99) + 3


def test_two_cheap_levels(tmp_path: Path) -> None:
    lab = Lab(f"sqlite:///{tmp_path / 'trials.db'}")
    records = lab.run("two", (FULL, SHIFTED, bump(TOP - 0.1, 0.5)), (1.0, 0.3, 0.05))
    assert records[0].level == 2  # the cheapest first
    assert best_value(records) > 0.998


def test_every_cheap_evaluation_fails(tmp_path: Path) -> None:
    """The one kept back for the answer is made, at a place of the starting sequence."""
    lab = Lab(f"sqlite:///{tmp_path / 'trials.db'}")
    records = lab.run("f", (FULL, SHIFTED), (1.0, 0.1), budget={"trials": 8}, fails=lambda number, level: level > 0)
    assert len(records) == 8
    assert [r.level for r in records[-1:]] == [0] and records[-1].state == "finished"


def test_everything_fails(tmp_path: Path) -> None:
    lab = Lab(f"sqlite:///{tmp_path / 'trials.db'}")
    for costs in ((1.0, 0.1), (1.0,)):
        functions = (FULL, SHIFTED)[: len(costs)]
        records = lab.run(f"f{len(costs)}", functions, costs, budget={"trials": 7}, fails=lambda *_: True)
        assert {record.state for record in records} == {"failed"} and len(records) == 7
        assert len({tuple(record.values.values()) for record in records}) == 7


def test_an_earlier_study_of_the_same_problem_saves_trials(lab: Lab) -> None:
    cold = lab.run("cold", (FULL,))
    source = TrialStore.open(lab.url, "cold")
    assert source is not None
    warm = lab.run("warm", (FULL,), sources=(source,), seed=1)
    assert trials_to(warm, 0.999) <= 2 < trials_to(cold, 0.999)
    assert len(warm) < 0.75 * len(cold)


def negated(x: Floats) -> tuple[float, Floats]:
    value, slope = FULL(x)
    return -value, -slope


def misled_by(lab: Lab, earlier: Function, **options: Any) -> tuple[int, int]:
    """Trials to the optimum alone, and after an earlier study of another function."""
    cold = lab.run("cold", (FULL,))
    lab.run("source", (earlier,), budget={"trials": 15}, seed=5)
    source = TrialStore.open(lab.url, "source")
    assert source is not None
    warm = lab.run("warm", (FULL,), sources=(source,), **options)
    return trials_to(cold, 0.995), trials_to(warm, 0.995)


@pytest.mark.slow
@pytest.mark.parametrize("earlier", [ELSEWHERE, negated], ids=["elsewhere", "negated"])
def test_an_earlier_study_that_misleads_costs_a_few_trials(earlier: Function, tmp_path: Path) -> None:
    alone, misled = misled_by(Lab(f"sqlite:///{tmp_path / 'trials.db'}"), earlier)
    assert misled <= alone + 6


@pytest.mark.slow
@pytest.mark.parametrize("earlier", [ELSEWHERE, negated], ids=["elsewhere", "negated"])
def test_without_slopes_it_costs_more_of_them(earlier: Function, tmp_path: Path) -> None:
    lab = Lab(f"sqlite:///{tmp_path / 'trials.db'}", gradients=False)
    alone, misled = misled_by(lab, earlier, budget={"trials": 40})
    assert misled <= alone + 18


def test_trials_of_an_earlier_study_outside_the_ranges_are_left_out(tmp_path: Path) -> None:
    """A point outside the cube, a choice that is none, a logarithm of a negative number."""
    wide = Space((Dimension("x", low=-5.0, high=5.0), Dimension("m", type="categorical", choices=("a", "b", "c"))))
    narrow = Space(
        (Dimension("x", low=0.5, high=5.0, log=True), Dimension("m", type="categorical", choices=("b", "a")))
    )
    store = TrialStore.create(f"sqlite:///{tmp_path / 'trials.db'}", "wide", METRIC, {})
    for value, (x, m) in enumerate([(-3.0, "a"), (0.5, "a"), (2.0, "c"), (2.0, "b"), (5.0, "b"), (0.49, "b")]):
        store.study.enqueue_trial({"x": x, "m": m})
        trial = store.study.ask(wide.distributions())
        store.tell(trial.number, Evaluation(Status.COMPLETE, {"m": float(value)}), float(value))
    assert read_history(store.study, None, narrow).y.tolist() == [1.0, 3.0, 4.0]
    assert len(read_history(store.study, None, wide).y) == 6


@pytest.mark.slow
def test_where_the_earlier_study_ends_is_not_asked_for_ever(tmp_path: Path) -> None:
    """The first trial, there, fails; so do the next; the search looks elsewhere, and learns once one does not."""
    lab = Lab(f"sqlite:///{tmp_path / 'trials.db'}")
    lab.run("source", (FULL,))
    source = TrialStore.open(lab.url, "source")
    assert source is not None
    records = lab.run("w", (FULL,), sources=(source,), budget={"trials": 12}, fails=lambda number, level: number < 4)
    assert len({tuple(record.values.values()) for record in records}) == 12
    assert best_value(records) > 0.95


def test_a_new_process_goes_on_with_the_same_trials(tmp_path: Path) -> None:
    undisturbed = Lab(f"sqlite:///{tmp_path / 'a.db'}").run("s", (FULL, SHIFTED), (1.0, 0.1), budget={"trials": 9})
    again = Lab(f"sqlite:///{tmp_path / 'b.db'}").run("s", (FULL, SHIFTED), (1.0, 0.1), budget={"trials": 9})
    assert [(r.level, r.values, r.expected_improvement) for r in again] == [
        (r.level, r.values, r.expected_improvement) for r in undisturbed
    ]


def test_without_cheap_evaluations_the_last_trial_is_the_answer(tmp_path: Path) -> None:
    """Where the model's mean is highest, rather than where there is most to learn; and again after an extension."""
    lab = Lab(f"sqlite:///{tmp_path / 'trials.db'}")
    store = TrialStore.create(lab.url, "alone", METRIC, {})
    tuner = Tuner(store, SPACE, METRIC, Search("gp"))
    for budget in (8, 10):
        ending = Ending(BudgetSpec(trials=budget), "m", by_model=True)
        while not (coming := ending.after(tuner.counted(), 0.0, tuner.expects)).reason:
            trial = tuner.ask(finish=coming.finish)
            value, slope = FULL(np.array([float(v) for v in trial.values.values()]))
            gradient = dict(zip(SPACE.names, slope.tolist(), strict=True))
            tuner.tell(trial, Evaluation(Status.COMPLETE, {"m": value}, gradient=gradient))
        records = tuner.counted()
        assert len(records) == budget
        assert records[-1].metrics["m"] == best_value(records)
    assert [record.number for record in records if record.finish] == [7, 9]
    assert best_value(records) > 0.99
