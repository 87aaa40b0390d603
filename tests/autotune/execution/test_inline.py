"""Evaluations and the executor in this process: an objective may do what it likes, the study goes on."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune.execution.evaluate import evaluate
from autotune.execution.executor import Task
from autotune.execution.inline import InlineExecutor
from autotune.objective import Evaluation, InputError, Problem, Status, never_stop
from tests.autotune.toy import Toy, ToySettings

TASK = Task(3, {"shift": 0.5}, seed=11, folder=Path("nowhere"))


class Acts(Toy):
    """A toy whose evaluation is a given function."""

    def __init__(self, act: Callable[..., Any]) -> None:
        super().__init__(ToySettings())
        self.act = act

    def evaluate(self, *arguments: Any, **named: Any) -> Any:
        return self.act(*arguments, **named)


class Hears:
    """A listener that stops after so many iterations, or raises."""

    def __init__(self, most: int = 100, raises: Exception | None = None) -> None:
        self.seen: list[tuple[int, int, int]] = []
        self.waits: list[str] = []
        self.most, self.raises = most, raises

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        self.seen.append((number, iteration, iterations))
        if self.raises is not None:
            raise self.raises
        return iteration < self.most

    def paused(self, reason: str) -> None:
        self.waits.append(reason)

    def resumed(self) -> None:
        self.waits.append("")


def run(act: Callable[..., Any]) -> Evaluation:
    return evaluate(Acts(act), TASK, "consistency", never_stop)


def test_what_an_objective_is_given() -> None:
    given: list[Any] = []

    def act(values: Any, **named: Any) -> Evaluation:
        given.append((values, named))
        return Evaluation(Status.COMPLETE, {"consistency": 0.5}, seconds=2.0)

    found = run(act)
    assert set(found.resources) >= {"cpu_seconds", "peak_memory_megabytes"}
    assert replace(found, resources={}) == Evaluation(Status.COMPLETE, {"consistency": 0.5}, seconds=2.0)
    assert given == [
        ({"shift": 0.5}, {"metric": "consistency", "seed": 11, "progress": never_stop}),
    ]


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
        (fails, r"ValueError: singular matrix in step 3 \(test_inline\.py:\d+\)"),
        (exits, r"SystemExit: licence not found \(test_inline\.py:\d+\)"),
        (not_finite, r"ValueError: a complete evaluation needs finite metrics; not finite: consistency \(.+\)"),
        (refuses, r"defocus: 9 is too much; at most 5 rate: 0 is too little"),
        (lambda *a, **k: {"consistency": 1.0}, r"TypeError: evaluate returned dict, not an Evaluation \(evaluate.+\)"),
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


def test_an_evaluation_keeps_its_arrays_and_yields_the_rest(tmp_path: Path) -> None:
    executor, hears = InlineExecutor(Toy(ToySettings()), "consistency"), Hears()
    assert executor.wait(hears, 0) is None
    executor.submit(Task(3, {"shift": 0.5}, 11, tmp_path / "00003"))
    ended = executor.wait(hears, 0)
    assert ended is not None and not ended.infrastructure
    assert (ended.number, ended.done) == (3, 1.0)
    assert ended.evaluation.status is Status.COMPLETE
    assert ended.evaluation.arrays == {} and len(ended.evaluation.curve["error"]) == 5
    assert (tmp_path / "00003" / "reconstruction.h5").is_file()
    assert hears.seen == [(3, iteration, 5) for iteration in range(1, 6)]
    assert executor.wait(hears, 0) is None


def test_a_listener_stops_an_evaluation(tmp_path: Path) -> None:
    executor = InlineExecutor(Toy(ToySettings()), "consistency")
    executor.submit(Task(3, {}, 11, tmp_path / "00003"))
    ended = executor.wait(hears := Hears(most=2), 0)
    assert ended is not None and ended.evaluation.status is Status.STOPPED
    assert ended.done == 2 / 5
    assert len(hears.seen) == 2


def test_a_thread_that_goes_on_after_its_evaluation_is_told_to_stop(tmp_path: Path) -> None:
    """And nobody hears it: its trial has ended."""
    left: list[Any] = []

    def act(values: Any, *, progress: Any, **named: Any) -> Evaluation:
        assert progress(1, 2, {"consistency": 0.25})
        left.append(progress)
        return Evaluation(Status.COMPLETE, {"consistency": 0.5})

    executor, hears = InlineExecutor(Acts(act), "consistency"), Hears()
    executor.submit(Task(3, {}, 11, None))
    assert executor.wait(hears, 0) is not None
    assert not left[0](2, 2, {"consistency": 0.5})
    assert hears.seen == [(3, 1, 2)]


def test_a_listener_that_raises_is_not_the_objectives_fault(tmp_path: Path) -> None:
    executor = InlineExecutor(Toy(ToySettings()), "consistency")
    executor.submit(Task(3, {}, 11, tmp_path / "00003"))
    with pytest.raises(OSError, match="no terminal"):
        executor.wait(Hears(raises=OSError("no terminal")), 0)


def test_what_was_submitted_is_forgotten_at_the_end(tmp_path: Path) -> None:
    executor = InlineExecutor(Toy(ToySettings()), "consistency")
    executor.submit(Task(3, {}, 11, tmp_path / "00003"))
    executor.close()
    assert executor.wait(Hears(), 0) is None
