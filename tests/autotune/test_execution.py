"""The executor in this process: an objective may do what it likes, the study goes on."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from autotune.execution.inline import InlineExecutor
from autotune.objective import Evaluation, InputError, Problem, Status, never_stop
from autotune.tuner import Trial
from tests.autotune.toy import Toy, ToySettings

TRIAL = Trial(3, {"shift": 0.5}, seed=11)


class Acts(Toy):
    """A toy whose evaluation is a given function."""

    def __init__(self, act: Callable[..., Any]) -> None:
        super().__init__(ToySettings())
        self.act = act

    def evaluate(self, *arguments: Any, **named: Any) -> Any:
        return self.act(*arguments, **named)


def run(act: Callable[..., Any]) -> Evaluation:
    return InlineExecutor(Acts(act), lambda level: {"passes": 4 - level}, "consistency").run(TRIAL, never_stop)


def test_what_an_objective_is_given() -> None:
    given: list[Any] = []

    def act(values: Any, **named: Any) -> Evaluation:
        given.append((values, named))
        return Evaluation(Status.COMPLETE, {"consistency": 0.5}, seconds=2.0)

    assert run(act) == Evaluation(Status.COMPLETE, {"consistency": 0.5}, seconds=2.0)
    assert given == [
        ({"passes": 4, "shift": 0.5}, {"metric": "consistency", "seed": 11, "progress": never_stop}),
    ]


def test_a_cheap_trial_holds_what_its_level_says() -> None:
    given: list[Any] = []

    def act(values: Any, **named: Any) -> Evaluation:
        given.append(values)
        return Evaluation(Status.COMPLETE, {"consistency": 0.5})

    cheap = Trial(4, {"shift": 0.5}, seed=11, level=2)
    InlineExecutor(Acts(act), lambda level: {"passes": 4 - level}, "consistency").run(cheap, never_stop)
    assert given == [{"passes": 2, "shift": 0.5}]


def test_the_cost_is_measured_where_the_objective_does_not_say() -> None:
    import time

    def act(*arguments: Any, **named: Any) -> Evaluation:
        time.sleep(0.02)
        return Evaluation(Status.COMPLETE, {"consistency": 0.5})

    assert 0.02 <= run(act).seconds < 5


def fails(*arguments: Any, **named: Any) -> Evaluation:
    raise ValueError("singular matrix\n  in step 3")


def exits(*arguments: Any, **named: Any) -> Evaluation:
    sys.exit("licence not found")


def not_finite(*arguments: Any, **named: Any) -> Evaluation:
    return Evaluation(Status.COMPLETE, {"consistency": float("nan")})


def refuses(*arguments: Any, **named: Any) -> Evaluation:
    raise InputError([Problem("defocus", "9 is too much", "at most 5"), Problem("rate", "0 is too little")])


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (fails, r"ValueError: singular matrix in step 3 \(test_execution\.py:\d+\)"),
        (exits, r"SystemExit: licence not found \(test_execution\.py:\d+\)"),
        (not_finite, r"ValueError: a complete evaluation needs finite metrics; not finite: consistency \(.+\)"),
        (refuses, r"defocus: 9 is too much; at most 5 rate: 0 is too little"),
        (lambda *a, **k: {"consistency": 1.0}, r"TypeError: evaluate returned dict, not an Evaluation \(inline.+\)"),
        (lambda values: 1, r"TypeError: .*unexpected keyword argument.*"),
    ],
)
def test_a_failure_is_an_evaluation_with_its_reason(act: Callable[..., Any], reason: str) -> None:
    failed = run(act)
    assert failed.status is Status.FAILED
    assert re.fullmatch(reason, failed.reason), failed.reason
    assert failed.metrics == {} and failed.seconds > 0


def test_ctrl_c_is_passed_on() -> None:
    def act(*arguments: Any, **named: Any) -> Evaluation:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(act)


def test_progress_stops_an_evaluation() -> None:
    seen: list[tuple[int, int]] = []

    def progress(iteration: int, iterations: int, metrics: Any) -> bool:
        seen.append((iteration, iterations))
        return iteration < 2

    stopped = InlineExecutor(Toy(ToySettings()), lambda level: {}, "consistency").run(TRIAL, progress)
    assert stopped.status is Status.STOPPED
    assert seen == [(1, 5), (2, 5)]
