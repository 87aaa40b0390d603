"""Reproduce a trial: evaluate it again from what is kept of its study, and compare.

A trial is decided by its study's file, its parameters, the seed and the measurement. The first three are kept, and the
measurement is recognised by its hash. The software may differ, and is named where it does; the worker gets as many
threads as it had, since the order of additions depends on their number.
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
from autotune.objective import Evaluation, Metric, Objective, Status, Value
from autotune.objective.identity import content_hash_of
from autotune.problem.space import Space
from autotune.provenance.environment import differences, environment, environment_of
from autotune.results.document import Document, Part
from autotune.store.records import TrialRecord, best_of
from autotune.store.trials import TrialStore
from autotune.study import Plan, StudyFile, plan_study
from autotune.study.blocks.execution import ExecutionSpec
from autotune.study.kept_file import kept_file

TOLERANCE = 1e-5
_WAIT_SECONDS = 1.0


class Follower(Protocol):
    """Follows the evaluation."""

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        """An iteration is done; returns whether to go on."""

    def paused(self, reason: str) -> None:
        """The evaluation waits for something that passes by itself."""

    def resumed(self) -> None:
        """The evaluation goes on."""


class Reproduced(Part):
    """A number of a trial and of its repetition, in the number's own unit."""

    then: float
    """The number in the trial."""
    now: float | None
    """The number in the repetition; None where it reported none."""
    difference: float | None
    """now less then."""
    relative: float | None
    """The difference over its scale, which is compared with the tolerance; None where there is no scale."""
    agrees: bool
    """Whether the two agree."""


class Agreement(Document):
    """Metrics and gradient of a trial beside those of its repetition; empty where the repetition failed."""

    agrees: bool
    """Whether the tuned metric and its gradient agree."""
    metrics: dict[str, Reproduced]
    """Name -> a metric."""
    gradient: dict[str, Reproduced]
    """Parameter -> derivative of the tuned metric."""


class Seconds(Part):
    """How long the evaluations took, in seconds of wall-clock time."""

    then: float
    """The trial."""
    now: float
    """The repetition."""


class Environments(Part):
    """Software and machine (:func:`autotune.provenance.environment.environment`)."""

    then: dict[str, Any] | None
    """Those of the trial; None where they were not kept."""
    now: dict[str, Any]
    """Those of the repetition."""


class Reproduction(Agreement):
    """A trial and its repetition: what ``autotune reproduce --json`` writes."""

    study: str
    """The study's name."""
    trial: int
    """The trial's number."""
    metric: str
    """Name of the tuned metric."""
    tolerance: float
    """How much a number may differ, over its scale."""
    reason: str
    """Why the repetition failed; empty where it did not."""
    overrides: tuple[str, ...]
    """Values of the study file that were replaced, as KEY=VALUE."""
    values: dict[str, Value]
    """Every parameter that the study tunes or fixes -> its value, in the parameter's unit."""
    seed: int
    """The study's seed."""
    content_hash: str | None
    """Hash of the measurement; None where the objective tells none."""
    seconds: Seconds
    """How long the evaluations took."""
    environment: Environments
    """Software and machine."""
    differences: dict[str, tuple[Any, Any]] | None
    """What is not known to be the same -> then and now, which may be equal; None where the environment was not kept."""

    def as_dict(self) -> dict[str, Any]:
        """The reproduction as plain JSON data, the trial's name first."""
        plain = super().as_dict()
        return {name: plain[name] for name in ("study", "trial", "metric", "tolerance")} | plain


def reproduce(
    store: TrialStore,
    home: Home,
    follower: Follower,
    *,
    number: int | None = None,
    tolerance: float = TOLERANCE,
    folder: Path | None = None,
    overrides: Sequence[str] = (),
) -> Reproduction:
    """Evaluate a trial again, in a worker process of its own with as many threads as it had, and compare.

    A metric agrees where it differs by at most ``tolerance`` times its scale: its size, or its size in the study's best
    trial where that is larger (:func:`scale_of`). A derivative times the width of its parameter's range is the change
    of the metric through that range; it agrees where it differs by at most ``tolerance`` times the tuned metric's
    scale, or times the largest such change where that is larger.

    Args:
        store: the study.
        home: where it is kept.
        follower: told how the evaluation goes.
        number: the trial's number; None for the best trial.
        tolerance: relative, above 0.
        folder, overrides: as for :func:`autotune.study.kept_file.kept_file`: where the measurement is now.

    Raises:
        InputError: no such trial, one that did not finish, another measurement, or a file that is not valid any more.
        StudyFailed: no evaluation can be made.
    """
    trial = trial_of(store, number)
    file = kept_file(store, home, folder=folder, overrides=overrides)
    objective = file.open()
    content_hash = same_measurement(store, objective)
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
    known = done and bool(trial.software)  # an earlier version did not keep it
    of_its_own = _other_software(trial.software, evaluation.software) if known else {}
    agreement = compare(trial, evaluation if done else None, plan.space, plan.metric, tolerance, store.trials())
    return Reproduction(
        study=store.study.study_name,
        trial=trial.number,
        metric=plan.metric.name,
        tolerance=tolerance,
        agrees=agreement.agrees,
        metrics=agreement.metrics,
        gradient=agreement.gradient,
        reason="" if done else evaluation.reason or f"the evaluation ended as {evaluation.status}",
        overrides=tuple(overrides),
        values=values,
        seed=seed,
        content_hash=content_hash,
        seconds=Seconds(then=trial.seconds, now=evaluation.seconds),
        environment=Environments(then=then, now=now),
        differences=None if then is None else differences(then, now) | of_its_own,
    )


def _other_software(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[Any, Any]]:
    """What an objective runs elsewhere, in another version: its name -> then and now."""
    names = sorted({*then, *now})
    return {
        f"{name} of the backend": (then.get(name), now.get(name)) for name in names if then.get(name) != now.get(name)
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
    choices = f"finished: {_ranges(finished)}" if finished else "none has finished"
    trial = next((trial for trial in trials if trial.number == number), None)
    if trial is None:
        raise InputError(Problem(f"--trial {number}", f"study {name} has no such trial", choices))
    if trial.state != "finished":
        why = f": {trial.reason}" if trial.reason else ""
        what = f"is {trial.state}{why}, so there is nothing to compare with"
        raise InputError(Problem(f"--trial {number}", what, choices))
    return trial


def compare(
    trial: TrialRecord,
    evaluation: Evaluation | None,
    space: Space,
    metric: Metric,
    tolerance: float,
    trials: Sequence[TrialRecord],
) -> Agreement:
    """Metrics and gradient of a trial beside those of its repetition, None where that failed; see :func:`reproduce`."""
    if evaluation is None:
        return Agreement(agrees=False, metrics={}, gradient={})
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
    return Agreement(agrees=all(number.agrees for number in compared), metrics=metrics, gradient=gradient)


def scale_of(name: str, trial: TrialRecord, metric: Metric, trials: Sequence[TrialRecord]) -> float:
    """The scale of a difference in a trial's metric, in the metric's unit.

    It is the metric's size in the trial, or in the study's best trial where it is larger there. So a loss, which is the
    better the nearer it is to 0, is compared with itself, however small it is. A score is compared with the best score
    of the study: a poor score near 0 is not known more exactly. Where both are exactly 0, the scale is the smallest
    size that any trial has; 0 where all are 0.

    Args:
        name: the metric's name.
        trial: a trial that has finished.
        metric: the tuned metric, which says what the best trial is.
        trials: the study's trials; only those evaluated at the trial's level compare with it.
    """
    peers = [trial, *(other for other in trials if other.state == "finished" and other.level == trial.level)]
    best = max(peers, key=lambda peer: metric.sign * peer.metrics[metric.name])
    sizes = [abs(peer.metrics[name]) for peer in peers if name in peer.metrics]
    return max(abs(trial.metrics[name]), abs(best.metrics.get(name, 0.0))) or min(filter(None, sizes), default=0.0)


def _beside(then: float, now: float | None, scale: float, tolerance: float) -> Reproduced:
    difference = None if now is None else now - then
    relative = 0.0 if then == now else None if difference is None or scale == 0 else difference / scale
    agrees = relative is not None and abs(relative) <= tolerance
    return Reproduced(then=then, now=now, difference=difference, relative=relative, agrees=agrees)


def _threads(then: Mapping[str, Any] | None) -> dict[str, str]:
    """The environment variables that set the worker's threads: those of the trial, where they were kept."""
    kept = None if then is None else then["threads"]
    return worker_threads(1) if kept is None else kept


def same_measurement(store: TrialStore, objective: Objective) -> str | None:
    """The measurement's hash, which is the study's; None where the objective tells none.

    Raises:
        InputError: it is not the study's measurement.
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
    alone = ExecutionSpec(timeout=spec.timeout, memory=spec.memory, environment=spec.environment)
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
