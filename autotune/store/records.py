"""Records of trials: what reports, recorder and results read from the store.

The metrics, gradient, curve, cost and failure reason of a trial are user attributes of its Optuna trial.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from autotune.objective import Evaluation, Metric, Status, Value
from autotune.problem.goals import SECONDS, Limit, non_dominated, signed

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

TrialState = Literal["running", "finished", "failed", "pruned", "interrupted"]
INTERRUPTED = "autotune:interrupted"
"""Attribute that marks an interrupted trial, which has failed for Optuna: True where its process died, ``cancelled``
where the user ended the run. Interrupted trials do not count against the budget."""
ASKED = "autotune:asked"
"""Attribute of a trial: ``index``, its place in the search, ``owner``, the run that evaluates it, and ``replaces``."""
EXPECTED_IMPROVEMENT = "autotune:expected_improvement"
"""Attribute of a trial: by how much its proposal was expected to beat the best value, in the metric's unit."""
LEVEL = "autotune:level"
"""Attribute of a trial: which of the study's cheap evaluations it is, from 1; 0 or absent for a full evaluation."""
FINISH = "autotune:finish"
"""Attribute of a trial, True where it checks the answer: a full evaluation at the highest posterior mean."""
EVALUATION = "autotune:evaluation"
"""Attribute of a trial that has ended: its evaluation as plain data, and what it cost."""


AS_GOOD = 5e-4
"""Share of a value by which two trials with twins as values may differ: the metric is the same but for rounding."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial, as the store has it.

    Attributes:
        number: the trial's number in the study, from 0.
        state: ``finished`` has metrics; ``failed`` (diverged or crashed) and ``pruned`` have a reason;
            ``interrupted`` means the process ended first, and does not count against the budget.
        values: parameter name -> value, tuned parameters only.
        metrics, gradient, curve, seconds, reason, resources, remarks, software: as in
            :class:`autotune.objective.Evaluation`.
        started, ended: wall-clock times, in UTC.
        expected_improvement: by how much the sampler expected the trial to beat the best one before it, in the
            metric's unit; None where the sampler computes no such number.
        level: which of the study's cheap evaluations it is, from 1; 0 for a full evaluation. Metrics of different
            levels cannot be compared.
        equivalents: its cost, in units of one full evaluation.
        index: its place in the search, from 0; a trial that replaces an interrupted one takes over its place. None for
            a trial that :class:`autotune.search.tuner.Tuner` did not propose.
        owner: the run that evaluates it; empty where the run did not give its name.
        replaces: number of the interrupted trial whose evaluation this is, at other values or after its release; None
            for any other.
        cancelled: whether the user interrupted it; False where its process died.
        finish: whether it is the full evaluation at the highest posterior mean that checks the answer.
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
    replaces: int | None = None
    cancelled: bool = False
    finish: bool = False
    kept: bool = False
    resources: Mapping[str, float] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    software: Mapping[str, str] = field(default_factory=dict)

    @property
    def spent(self) -> float:
        """Its cost in full evaluations; 0 for a running trial and for an interrupted one, which do not count."""
        return 0.0 if self.state in ("running", "interrupted") else self.equivalents

    @property
    def reported(self) -> Mapping[str, float]:
        """Its metrics, and ``seconds``."""
        return {**self.metrics, SECONDS.name: self.seconds}

    def answers(self, limits: Sequence[Limit] = ()) -> bool:
        """Whether it may be a study's answer: it is a full evaluation, has finished, and keeps the limits."""
        hard = (limit for limit in limits if not limit.of_twins)
        return self.state == "finished" and self.level == 0 and all(limit.kept_by(self.reported) for limit in hard)


def best_of(trials: Sequence[TrialRecord], metric: Metric, limits: Sequence[Limit] = ()) -> TrialRecord | None:
    """The trial with the best ``metric`` among those that may be the answer, the earliest of equals.

    None where no finished full trial keeps the limits. A wrong twin gives way to the right one where a search has ended
    with an evaluation of that, as good to within :data:`AS_GOOD`.
    """

    def value(trial: TrialRecord) -> float:
        return metric.sign * trial.metrics[metric.name]

    answers = [trial for trial in trials if trial.answers(limits)]
    best = max(answers, key=value, default=None)
    if best is None:
        return None
    twins = [limit for limit in limits if limit.of_twins]
    right = [t for t in answers if t.finish and all(limit.kept_by(t.reported) for limit in twins)] if twins else []
    of_right = max(right, key=value, default=best)
    return of_right if value(of_right) >= value(best) - AS_GOOD * abs(value(best)) else best


def front_of(
    trials: Sequence[TrialRecord], metrics: Sequence[Metric], limits: Sequence[Limit] = ()
) -> list[TrialRecord]:
    """The Pareto front, sorted by the first metric, best first.

    That is the trials that may be the answer and that no other such trial beats in one metric without losing in
    another. One that lacks a metric is left out.
    """
    answers = [trial for trial in trials if trial.answers(limits)]
    values = np.array([signed(trial.reported, metrics) for trial in answers]).reshape(len(answers), len(metrics))
    complete = np.isfinite(values).all(axis=1)
    front = np.flatnonzero(complete)[non_dominated(values[complete])]
    return [answers[i] for i in sorted(front, key=lambda i: -values[i, 0])]


def evaluation_of(plain: Mapping[str, Any]) -> Evaluation:
    """The inverse of :func:`plain_evaluation`."""
    return Evaluation(**{**plain, "status": Status(plain["status"])})


def plain_evaluation(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as JSON data, without its arrays, their attributes and its files."""
    plain = {
        "status": str(evaluation.status),
        "metrics": {name: float(value) for name, value in evaluation.metrics.items()},
        "gradient": {name: float(value) for name, value in evaluation.gradient.items()},
        "curve": {name: [float(value) for value in values] for name, values in evaluation.curve.items()},
        "seconds": float(evaluation.seconds),
        "reason": evaluation.reason,
        "resources": {name: float(value) for name, value in evaluation.resources.items()},
    }
    if evaluation.remarks:
        plain["remarks"] = [str(remark) for remark in evaluation.remarks]
    if evaluation.software:
        plain["software"] = {name: str(version) for name, version in evaluation.software.items()}
    if evaluation.gradient_parts:
        parts = evaluation.gradient_parts.items()
        plain["gradient_parts"] = {name: [float(value) for value in values] for name, values in parts}
        changes = evaluation.gradient_changes.items()
        plain["gradient_changes"] = {
            name: {other: [float(value) for value in values] for other, values in row.items()} for name, row in changes
        }
    for key in ("gradient_noise", "gradient_shifts"):
        rows: Mapping[str, Mapping[str, float]] = getattr(evaluation, key)
        if rows:
            plain[key] = {name: {other: float(value) for other, value in row.items()} for name, row in rows.items()}
    if evaluation.confounded:
        plain["confounded"] = {name: float(value) for name, value in evaluation.confounded.items()}
    if evaluation.gradient_again:
        again = evaluation.gradient_again
        plain["gradient_again"] = [{name: float(value) for name, value in row.items()} for row in again]
    return plain


def gradient_of(trial: FrozenTrial) -> Mapping[str, float]:
    """Gradient of the tuned metric at a trial: parameter name -> derivative, per unit of the parameter."""
    gradient: Mapping[str, float] = trial.user_attrs.get(EVALUATION, {}).get("gradient", {})
    return gradient


def reported_by(trial: FrozenTrial) -> Mapping[str, float]:
    """The metrics of a complete trial, and ``seconds``: the time that a full evaluation at its values would take."""
    from optuna.trial import TrialState as State

    kept = trial.user_attrs.get(EVALUATION, {})
    metrics: Mapping[str, float] = kept.get("metrics", {}) if trial.state == State.COMPLETE else {}
    cost = kept.get("equivalents", 1.0)
    seconds = kept.get("seconds", 0.0) / cost if cost > 0 else 0.0
    return {**metrics, SECONDS.name: seconds} if seconds > 0 else metrics


def heading_of(trial: FrozenTrial) -> float | None:
    """The predicted final value of a stopped trial's tuned metric; None where there is no prediction."""
    prediction: float | None = trial.user_attrs.get(EVALUATION, {}).get("heading_for")
    return prediction


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
        started=_in_utc(trial.datetime_start),
        ended=_in_utc(trial.datetime_complete),
        expected_improvement=trial.user_attrs.get(EXPECTED_IMPROVEMENT),
        level=trial.user_attrs.get(LEVEL, 0),
        equivalents=kept.get("equivalents", 1.0),
        index=asked.get("index"),
        owner=asked.get("owner", ""),
        replaces=asked.get("replaces"),
        cancelled=trial.user_attrs.get(INTERRUPTED) == "cancelled",
        finish=bool(trial.user_attrs.get(FINISH)),
        kept=kept.get("kept", False),
        resources=kept.get("resources", {}),
        remarks=kept.get("remarks", ()),
        software=kept.get("software", {}),
    )


def _in_utc(local: datetime | None) -> datetime | None:
    """A time of this machine without a zone, as Optuna keeps it, in UTC."""
    return None if local is None else local.astimezone(UTC)


def free_index(taken: Iterable[int | None]) -> int:
    """The place in the search of the next trial: the first that no trial has taken.

    Args:
        taken: the place of every trial; where one does not state its place (None), the number of trials is returned.
    """
    places = list(taken)
    occupied = set(places)
    return len(places) if None in occupied else next(i for i in itertools.count() if i not in occupied)
