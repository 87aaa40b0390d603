"""Reproduce a trial: evaluate it again from what is kept of its study, and compare.

What decides a trial is its study's file, its parameters, the seed and the measurement, all of which are kept or, of the
measurement, known by its hash; the software that evaluates is what may differ, and is named where it does. How many
threads it adds with is made the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from autotune.errors import InputError, Problem, StudyFailed
from autotune.execution.executor import Ended, Task
from autotune.execution.process import ProcessExecutor
from autotune.execution.threads import worker_threads
from autotune.home import Home
from autotune.objective import Evaluation, Metric, Objective, Status
from autotune.objective.identity import content_hash_of
from autotune.problem.space import Space
from autotune.provenance.environment import differences, environment, environment_of
from autotune.store.records import TrialRecord, best_of
from autotune.store.trials import TrialStore
from autotune.study import Plan, StudyFile, plan_study
from autotune.study.blocks.execution import ExecutionSpec
from autotune.study.kept_file import kept_file

TOLERANCE = 1e-5
_WAIT_SECONDS = 1.0


class Follower(Protocol):
    """Who wants to know how the evaluation goes."""

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        """An iteration is done; whether to go on."""

    def paused(self, reason: str) -> None:
        """It waits for something that passes by itself."""

    def resumed(self) -> None:
        """It goes on."""


def reproduce(
    store: TrialStore,
    home: Home,
    follower: Follower,
    *,
    number: int | None = None,
    tolerance: float = TOLERANCE,
    folder: Path | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Evaluate a trial again, in a worker process of its own with as many threads as then, and compare.

    A metric agrees where it differs by at most ``tolerance`` times its scale: its size, or that in the study's best
    trial where it is larger there (:func:`scale_of`). The gradient agrees where what it says of a way through a
    parameter's whole range differs by at most ``tolerance`` times the tuned metric's scale, or times the largest such
    change where that is larger.

    Args:
        store: the study.
        home: where it is kept.
        follower: told how the evaluation goes.
        number: of the trial; None for the best one.
        tolerance: relative, above 0.
        folder, overrides: as for :func:`autotune.study.kept_file.kept_file`: where the measurement is now.

    Returns:
        plain data: ``agrees``; ``metrics`` and ``gradient`` (name -> ``then``, ``now``, ``difference``, ``relative``,
        which is compared with ``tolerance`` and None where there is no scale, ``agrees``); ``reason`` where the
        evaluation failed; the trial's ``values``, ``seed``, ``content_hash`` (None where the objective tells none),
        ``overrides``; ``environment`` (``then``, which may be None, and ``now``) and ``differences``: what is not known
        to be the same (name -> [then, now], which may be equal; None where ``then`` is).

    Raises:
        InputError: no such trial, one that did not finish, another measurement, or a file that is not valid any more.
        StudyFailed: no evaluation can be made.
    """
    trial = trial_of(store, number)
    file = kept_file(store, home, folder=folder, overrides=overrides)
    objective = file.open()
    content_hash = _same_measurement(store, objective)
    plan = plan_study(file, objective)
    then = environment_of(store, trial)
    threads = _threads(then)
    now = environment(file.spec.objective.name, threads)
    del objective  # the worker reads the data for itself
    seed = store.facts.seed
    values = {**plan.held(trial.level), **trial.values}
    ended = _evaluate(file, plan, Task(trial.number, values, seed, None), home, follower, threads)
    evaluation = ended.evaluation
    done = evaluation.status is Status.COMPLETE
    return {
        "study": store.study.study_name,
        "trial": trial.number,
        "metric": plan.metric.name,
        "tolerance": tolerance,
        **compare(trial, evaluation if done else None, plan.space, plan.metric, tolerance, store.trials()),
        "reason": "" if done else evaluation.reason or f"the evaluation ended as {evaluation.status}",
        "overrides": list(overrides),
        "values": values,
        "seed": seed,
        "content_hash": content_hash,
        "seconds": {"then": trial.seconds, "now": evaluation.seconds},
        "environment": {"then": then, "now": now},
        "differences": None if then is None else {k: list(pair) for k, pair in differences(then, now).items()},
    }


def trial_of(store: TrialStore, number: int | None) -> TrialRecord:
    """The trial to reproduce; the best one for None.

    Raises:
        InputError: there is none, or it has no metrics to compare with.
    """
    name, trials, facts = store.study.study_name, store.trials(), store.facts
    if number is None:
        best = best_of(trials, facts.metric, facts.limits)
        if best is None:
            raise InputError(Problem(f"study {name}", "has no best trial yet", "name one that finished with --trial"))
        return best
    finished = [trial.number for trial in trials if trial.state == "finished"]
    known = f"finished: {_ranges(finished)}" if finished else "none has finished"
    found = next((trial for trial in trials if trial.number == number), None)
    if found is None:
        raise InputError(Problem(f"--trial {number}", f"study {name} has no such trial", known))
    if found.state != "finished":
        why = f": {found.reason}" if found.reason else ""
        what = f"is {found.state}{why}, so there is nothing to compare with"
        raise InputError(Problem(f"--trial {number}", what, known))
    return found


def compare(
    trial: TrialRecord,
    evaluation: Evaluation | None,
    space: Space,
    metric: Metric,
    tolerance: float,
    trials: Sequence[TrialRecord],
) -> dict[str, Any]:
    """Metrics and gradient of a trial beside those of its repetition, None where that failed; see :func:`reproduce`."""
    if evaluation is None:
        return {"agrees": False, "metrics": {}, "gradient": {}}
    scales = {name: scale_of(name, trial, metric, trials) for name in trial.metrics}
    metrics = {
        name: _beside(value, evaluation.metrics.get(name), scales[name], tolerance)
        for name, value in trial.metrics.items()
    }
    through = space.gradient_to_unit(trial.values, trial.gradient)  # its range: name -> change of the metric
    scale = max([scales[metric.name], *(abs(change) for change in through.values())])
    ranges = space.gradient_to_unit(trial.values, dict.fromkeys(through, 1.0))
    gradient = {
        name: _beside(trial.gradient[name], evaluation.gradient.get(name), scale / abs(ranges[name]), tolerance)
        for name in through
    }
    compared = [metrics[metric.name], *gradient.values()]
    return {"agrees": all(one["agrees"] for one in compared), "metrics": metrics, "gradient": gradient}


def scale_of(name: str, trial: TrialRecord, metric: Metric, trials: Sequence[TrialRecord]) -> float:
    """What a difference in a trial's metric is to be compared with.

    The metric's size in the trial, or in the study's best trial where it is larger there. So a loss, which is the
    better the nearer it is to 0, is compared with itself, however small it is; and a score with what the study has
    reached: that a poor one is near 0 does not make it more exact. Where both are exactly 0, it is the smallest size
    that any trial has; 0 where none has another.

    Args:
        name: of the metric.
        trial: one that has finished.
        metric: the tuned one, which says what the best trial is.
        trials: of the study; only those evaluated at the trial's level compare with it.
    """
    peers = [trial, *(one for one in trials if one.state == "finished" and one.level == trial.level)]
    best = max(peers, key=lambda one: metric.sign * one.metrics[metric.name])
    sizes = [abs(one.metrics[name]) for one in peers if name in one.metrics]
    return max(abs(trial.metrics[name]), abs(best.metrics.get(name, 0.0))) or min(filter(None, sizes), default=0.0)


def _beside(then: float, now: float | None, scale: float, tolerance: float) -> dict[str, Any]:
    difference = None if now is None else now - then
    relative = 0.0 if then == now else None if difference is None or scale == 0 else difference / scale
    agrees = relative is not None and abs(relative) <= tolerance
    return {"then": then, "now": now, "difference": difference, "relative": relative, "agrees": agrees}


def _threads(then: Mapping[str, Any] | None) -> dict[str, str]:
    """What sets the threads of the worker: as then, where that is known."""
    known = None if then is None else then["threads"]
    return worker_threads(1) if known is None else known


def _same_measurement(store: TrialStore, objective: Objective) -> str | None:
    """The measurement's hash; None where the objective tells none.

    Raises:
        InputError: it is another measurement than the study's.
    """
    then, now = store.facts.content_hash, content_hash_of(objective)
    if then != now:
        what = f"the data have changed: their hash is {now}, and was {then} when the study was run"
        remedy = "name the folder of the study's own data with --folder, or their place with --set"
        raise InputError(Problem(f"study {store.study.study_name}", what, remedy))
    return now


def _evaluate(
    file: StudyFile, plan: Plan, task: Task, home: Home, follower: Follower, threads: Mapping[str, str]
) -> Ended:
    """Evaluate in a fresh worker process, whatever executor the study has."""
    spec = file.spec.execution
    alone = ExecutionSpec(timeout=spec.timeout, memory=spec.memory)
    executor = ProcessExecutor(file, alone, plan.metric.name, home.workers(file.spec.name), threads)
    try:
        executor.submit(task)
        while (ended := executor.wait(follower, _WAIT_SECONDS)) is None:
            pass
    finally:
        executor.close()
    if ended.infrastructure:
        raise StudyFailed(Problem(f"trial {task.number}", ended.evaluation.reason))
    return ended


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers, ascending, as ``0-3, 5``."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and number == groups[-1][-1] + 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    return ", ".join(str(group[0]) if len(group) == 1 else f"{group[0]}-{group[-1]}" for group in groups)
