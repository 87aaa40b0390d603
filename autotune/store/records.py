"""What the store knows of a trial, as records: the read side, which reports, recorder and results see.

A trial's metrics, gradient, curve, cost and failure reason are user attributes of its Optuna trial."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from autotune.objective import Evaluation, Metric, Status, Value
from autotune.problem.goals import SECONDS, Limit, non_dominated, signed

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

TrialState = Literal["running", "finished", "failed", "pruned", "interrupted"]
INTERRUPTED = "autotune:interrupted"
"""User attribute of a failed trial that is as if it had never been asked: True where its process ended before it did,
``cancelled`` where the user ended both."""
ASKED = "autotune:asked"
"""Attribute of a trial: ``index``, its place in the search, and ``owner``, the run that evaluates it."""
EXPECTED_IMPROVEMENT = "autotune:expected_improvement"
"""Attribute of a trial: by how much its proposal was expected to beat the best value, in the metric's unit."""
LEVEL = "autotune:level"
"""Attribute of a trial: which of the study's cheap evaluations it is, from 1; 0 or absent for a full one."""
FINISH = "autotune:finish"
"""Attribute of a trial, True where it was asked as the answer: a full evaluation where the model's mean is highest."""
EVALUATION = "autotune:evaluation"
"""Attribute of a trial that has ended: its evaluation as plain data, and what it cost."""


@dataclass(frozen=True)
class TrialRecord:
    """What the store knows of one trial.

    Attributes:
        number: the trial's number in the study, from 0.
        state: ``finished`` has metrics; ``failed`` (diverged or crashed) and ``pruned`` have a reason;
            ``interrupted`` means the process ended first, and does not count against the budget.
        values: parameter name -> value, tuned parameters only.
        metrics, gradient, curve, seconds, reason, resources: as in :class:`autotune.objective.Evaluation`.
        started, ended: local wall-clock times.
        expected_improvement: by how much the sampler expected the trial to beat the best one before it, in the
            metric's unit; None where it expected nothing.
        level: which of the study's cheap evaluations it is, from 1; 0 for a full one. Metrics of different levels do
            not compare.
        equivalents: what it cost, in units of one full evaluation.
        index: its place in the search, from 0; one that replaces an interrupted one takes that one's. None where it was
            not asked by :class:`autotune.search.tuner.Tuner`.
        owner: the run that evaluates it; empty where it said nothing.
        cancelled: whether the user interrupted it, not the death of its process.
        finish: whether it is a full evaluation of what the model took for the answer.
        kept: whether it left files in its folder, on the machine of the run that evaluated it.
    """

    number: int
    state: TrialState
    values: Mapping[str, Value]
    metrics: Mapping[str, float] = field(default_factory=dict)
    gradient: Mapping[str, float] = field(default_factory=dict)
    curve: Mapping[str, Sequence[float]] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    expected_improvement: float | None = None
    level: int = 0
    equivalents: float = 1.0
    index: int | None = None
    owner: str = ""
    cancelled: bool = False
    finish: bool = False
    kept: bool = False
    resources: Mapping[str, float] = field(default_factory=dict)

    @property
    def spent(self) -> float:
        """Its cost in full evaluations; 0 while it runs, and where it is as if it had never been asked."""
        return 0.0 if self.state in ("running", "interrupted") else self.equivalents

    @property
    def reported(self) -> Mapping[str, float]:
        """Its metrics, and ``seconds``."""
        return {**self.metrics, SECONDS.name: self.seconds}

    def answers(self, limits: Sequence[Limit] = ()) -> bool:
        """Whether it may be a study's answer: a full evaluation that has finished and keeps the limits."""
        return self.state == "finished" and self.level == 0 and all(limit.kept_by(self.reported) for limit in limits)


def best_of(trials: Sequence[TrialRecord], metric: Metric, limits: Sequence[Limit] = ()) -> TrialRecord | None:
    """The answer with the best ``metric``, the earliest of equals; None where no full trial that finished keeps the
    limits.
    """
    answers = [trial for trial in trials if trial.answers(limits)]
    return max(answers, key=lambda trial: metric.sign * trial.metrics[metric.name], default=None)


def front_of(
    trials: Sequence[TrialRecord], metrics: Sequence[Metric], limits: Sequence[Limit] = ()
) -> list[TrialRecord]:
    """The answers that no other one beats in one of the metrics without losing in another, best of the first first."""
    answers = [trial for trial in trials if trial.answers(limits)]
    values = np.array([signed(trial.reported, metrics) for trial in answers]).reshape(len(answers), len(metrics))
    told = np.isfinite(values).all(axis=1)
    front = np.flatnonzero(told)[non_dominated(values[told])]
    return [answers[i] for i in sorted(front, key=lambda i: -values[i, 0])]


def evaluation_of(plain: Mapping[str, Any]) -> Evaluation:
    """The evaluation that :func:`plain_evaluation` made plain."""
    return Evaluation(**{**plain, "status": Status(plain["status"])})


def plain_evaluation(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as JSON data, without its arrays and their attributes."""
    return {
        "status": str(evaluation.status),
        "metrics": {name: float(value) for name, value in evaluation.metrics.items()},
        "gradient": {name: float(value) for name, value in evaluation.gradient.items()},
        "curve": {name: [float(value) for value in values] for name, values in evaluation.curve.items()},
        "seconds": float(evaluation.seconds),
        "reason": evaluation.reason,
        "resources": {name: float(value) for name, value in evaluation.resources.items()},
    }


def gradient_of(trial: FrozenTrial) -> Mapping[str, float]:
    """What a trial told about the slope of its value: parameter name -> derivative per unit of the parameter."""
    gradient: Mapping[str, float] = trial.user_attrs.get(EVALUATION, {}).get("gradient", {})
    return gradient


def reported_by(trial: FrozenTrial) -> Mapping[str, float]:
    """What a trial reported: its metrics if it is complete, and the seconds that a full evaluation would take there."""
    from optuna.trial import TrialState as State

    kept = trial.user_attrs.get(EVALUATION, {})
    metrics: Mapping[str, float] = kept.get("metrics", {}) if trial.state == State.COMPLETE else {}
    cost = kept.get("equivalents", 1.0)
    seconds = kept.get("seconds", 0.0) / cost if cost > 0 else 0.0
    return {**metrics, SECONDS.name: seconds} if seconds > 0 else metrics


def heading_of(trial: FrozenTrial) -> float | None:
    """What the tuned metric of a stopped trial would probably have become; None where that is not known."""
    found: float | None = trial.user_attrs.get(EVALUATION, {}).get("heading_for")
    return found


def record_of(trial: FrozenTrial) -> TrialRecord:
    """The record of an Optuna trial."""
    from optuna.trial import TrialState as State

    states: dict[State, TrialState] = {
        State.COMPLETE: "finished",
        State.PRUNED: "pruned",
        State.FAIL: "interrupted" if trial.user_attrs.get(INTERRUPTED) else "failed",
    }
    kept, asked = trial.user_attrs.get(EVALUATION, {}), trial.user_attrs.get(ASKED, {})
    return TrialRecord(
        number=trial.number,
        state=states.get(trial.state, "running"),
        values=dict(trial.params),
        metrics=kept.get("metrics", {}),
        gradient=kept.get("gradient", {}),
        curve=kept.get("curve", {}),
        seconds=kept.get("seconds", 0.0),
        reason=kept.get("reason", ""),
        started=trial.datetime_start,
        ended=trial.datetime_complete,
        expected_improvement=trial.user_attrs.get(EXPECTED_IMPROVEMENT),
        level=trial.user_attrs.get(LEVEL, 0),
        equivalents=kept.get("equivalents", 1.0),
        index=asked.get("index"),
        owner=asked.get("owner", ""),
        cancelled=trial.user_attrs.get(INTERRUPTED) == "cancelled",
        finish=bool(trial.user_attrs.get(FINISH)),
        kept=kept.get("kept", False),
        resources=kept.get("resources", {}),
    )


def free_index(taken: Iterable[int | None]) -> int:
    """The next place in a search, of which so many are taken: the first free one, or the one after the last where some
    trial does not say its place.
    """
    known = list(taken)
    places = set(known)
    return len(known) if None in places else next(i for i in itertools.count() if i not in places)
