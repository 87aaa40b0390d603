"""Make one evaluation and keep its arrays: what every executor does where it runs trials."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from autotune.execution.artifacts import keep_evaluation
from autotune.execution.executor import Ended, Repetition, Task
from autotune.execution.forked_children import ThisProcessOnly
from autotune.execution.resources import begin_reading, resources_since
from autotune.objective import (
    AutotuneError,
    Diverged,
    DividesGradient,
    Evaluation,
    Examines,
    MeasuresAgain,
    Objective,
    Progress,
    Status,
)
from autotune.retrying import Patience


def run_task(objective: Objective, task: Task, metric: str, progress: Progress, patience: Patience) -> Ended:
    """Evaluate and keep the arrays; an exception of the objective becomes an evaluation that failed.

    Args:
        objective: the objective, or the one whose measurement is repeated.
        task: the evaluation to make.
        metric: the tuned metric's name.
        progress: called after every iteration; returns whether to go on.
        patience: waits while the disk that the arrays are written to is in trouble.

    Raises:
        OSError: the arrays cannot be written, for a reason that will not pass.
    """
    reports = _Reports(progress)
    evaluation = evaluate(objective, task, metric, reports)
    reports.end()
    if (folder := task.folder) is not None:
        patience(lambda: keep_evaluation(folder, evaluation, objective))
    stopped = evaluation.status is Status.STOPPED
    bare = replace(evaluation, arrays={}, attributes={}, files={})
    return Ended(task.number, bare, reports.done if stopped else 1.0)


class _Reports:
    """The progress of one evaluation: passed on while the evaluation lasts, and from the process that makes it.

    A child process that the objective has forked is not heard and may go on. A thread that goes on after the evaluation
    has ended is told to stop: what it reports is about no trial any more.

    Attributes:
        done: share of the iterations that are done.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress, self._process = progress, ThisProcessOnly()
        self._lock, self._ended = threading.RLock(), False
        self.done = 1.0

    def __call__(self, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        """Report an iteration; returns whether to go on."""
        if not self._process.here:
            return True
        with self._lock:
            if self._ended:
                return False
            self.done = iteration / iterations
            return self._progress(iteration, iterations, metrics)

    def end(self) -> None:
        """Pass nothing on from here."""
        with self._lock:
            self._ended = True


def evaluate(objective: Objective, task: Task, metric: str, progress: Progress) -> Evaluation:
    """Evaluate; an evaluation that does not say what it cost gets what was measured here."""
    reading, started = begin_reading(), time.perf_counter()
    try:
        with ThisProcessOnly():
            evaluation = _evaluated(objective, task, metric, progress)
        if not isinstance(evaluation, Evaluation):
            raise TypeError(f"evaluate returned {type(evaluation).__name__}, not an Evaluation")
        evaluation = replace(evaluation)  # checks its numbers, where someone has changed them
    except Diverged as error:
        evaluation = Evaluation(Status.DIVERGED, reason=_reason(error))
    except (Exception, SystemExit) as error:  # a backend that calls sys.exit must not end the study unseen
        evaluation = Evaluation(Status.FAILED, reason=_reason(error))
    return replace(
        evaluation,
        seconds=evaluation.seconds or time.perf_counter() - started,
        resources=evaluation.resources or resources_since(reading),
    )


def _evaluated(objective: Objective, task: Task, metric: str, progress: Progress) -> Evaluation:
    measured = _measured(objective, task.repetition)
    if task.examine:
        return _examined(measured, task)
    if task.in_parts is not None:
        if not isinstance(measured, DividesGradient):
            raise TypeError(f"{type(objective).__name__} does not divide its gradient")
        return measured.evaluate_in_parts(task.values, metric=metric, seed=task.seed, moved=task.in_parts)
    return measured.evaluate(task.values, metric=metric, seed=task.seed, progress=progress)


def _measured(objective: Objective, repetition: Repetition | None) -> Objective:
    """The objective, with its measurement repeated where that is wanted."""
    if repetition is None:
        return objective
    if not isinstance(objective, MeasuresAgain):
        raise TypeError(f"{type(objective).__name__} cannot repeat its measurement")
    return objective.measured_again(repetition.at, seed=repetition.seed)


def _examined(objective: Objective, task: Task) -> Evaluation:
    if not isinstance(objective, Examines):
        raise TypeError(f"{type(objective).__name__} has no examinations")
    return Evaluation(Status.COMPLETE, metrics=objective.examine(task.values, seed=task.seed))


def _reason(error: BaseException) -> str:
    """The exception and the place where it was raised, in one line that is enough to look for it."""
    text = " ".join(str(error).split())
    if isinstance(error, AutotuneError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"
