"""The trial store: the only truth about a study. Everything else is a projection of it.

One Optuna storage (SQLite by default) holds every study; a trial's metrics, gradient, curve, cost and failure reason
are its user attributes, and what identifies the study are the study's. :class:`TrialRecord` is the read side, and all
that reports, recorder and result see.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from autotune.objective import Evaluation, Metric, Status, Value
from autotune.problem.goals import SECONDS, Limit, non_dominated, signed
from autotune.store.database import existing_storage, open_storage

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

TrialState = Literal["running", "finished", "failed", "pruned", "interrupted"]

INTERRUPTED = "autotune:interrupted"
"""User attribute of a failed trial that is as if it had never been asked: True where its process ended before it did,
``cancelled`` where the user ended both."""
ASKED = "autotune:asked"
"""Attribute of a trial: ``index``, its place in the search, and ``owner``, the run that evaluates it."""
_CREATED = "autotune:created"  # the study's last fact to be written: without it, its creation was cut short
EXPECTED_IMPROVEMENT = "autotune:expected_improvement"
"""Attribute of a trial: by how much its proposal was expected to beat the best value, in the metric's unit."""
LEVEL = "autotune:level"
"""Attribute of a trial: which of the study's cheap evaluations it is, from 1; 0 or absent for a full one."""
FINISH = "autotune:finish"
"""Attribute of a trial, True where it was asked as the answer: a full evaluation where the model's mean is highest."""
_EVALUATION = "autotune:evaluation"
_FIXED = "fixed_params"


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
    sign = 1.0 if metric.goal == "maximize" else -1.0
    answers = [trial for trial in trials if trial.answers(limits)]
    return max(answers, key=lambda trial: sign * trial.metrics[metric.name], default=None)


def front_of(
    trials: Sequence[TrialRecord], metrics: Sequence[Metric], limits: Sequence[Limit] = ()
) -> list[TrialRecord]:
    """The answers that no other one beats in one of the metrics without losing in another, best of the first first."""
    answers = [trial for trial in trials if trial.answers(limits)]
    values = np.array([signed(trial.reported, metrics) for trial in answers]).reshape(len(answers), len(metrics))
    told = np.isfinite(values).all(axis=1)
    front = np.flatnonzero(told)[non_dominated(values[told])]
    return [answers[i] for i in sorted(front, key=lambda i: -values[i, 0])]


class TrialStore:
    """One study in the storage."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._ended: dict[int, TrialRecord] = {}  # these do not change any more

    @classmethod
    def open(cls, url: str, name: str) -> TrialStore | None:
        """The study called ``name``; None where there is none, or only the start of one. Creates nothing."""
        import optuna

        storage = existing_storage(url)
        if storage is None or name not in optuna.get_all_study_names(storage):
            return None
        store = cls(optuna.load_study(study_name=name, storage=storage))
        return None if store._is_stub() else store

    @classmethod
    def create(cls, url: str, name: str, metric: Metric, facts: Mapping[str, Any]) -> TrialStore:
        """Create the study; ``facts`` is plain data kept with it (:attr:`facts`)."""
        import optuna

        storage = open_storage(url)
        if name in optuna.get_all_study_names(storage):
            found = cls(optuna.load_study(study_name=name, storage=storage))
            if found._is_stub():
                optuna.delete_study(study_name=name, storage=storage)
        study = optuna.create_study(study_name=name, storage=storage, direction=metric.goal)
        store = cls(study)
        for key, value in facts.items():
            store.note(key, value)
        store.note(_CREATED, True)
        return store

    def _is_stub(self) -> bool:
        """Whether the process that created the study ended before it had written the facts."""
        return _CREATED not in self.facts and not self.study.get_trials(deepcopy=False)

    @property
    def facts(self) -> dict[str, Any]:
        """Plain data kept with the study."""
        return self.study.user_attrs

    def note(self, key: str, value: Any) -> None:
        """Keep one piece of plain data with the study."""
        self.study.set_user_attr(key, value)

    def archive(self, url: str, name: str) -> TrialStore:
        """Keep the study under another name and free its own. Returns the study under its new name."""
        import optuna

        here = self.study.study_name
        storage = open_storage(url)
        optuna.copy_study(from_study_name=here, from_storage=storage, to_storage=storage, to_study_name=name)
        optuna.delete_study(study_name=here, storage=storage)
        return TrialStore(optuna.load_study(study_name=name, storage=storage))

    def trials(self) -> list[TrialRecord]:
        """Every trial that was started, by number."""
        from optuna.trial import TrialState as State

        trials = self.study.get_trials(deepcopy=False)
        return [self._recorded(trial) for trial in trials if trial.state != State.WAITING]

    def _recorded(self, trial: FrozenTrial) -> TrialRecord:
        if trial.number not in self._ended:
            record = _record(trial)
            if record.state == "running":
                return record
            self._ended[trial.number] = record
        return self._ended[trial.number]

    def trial_id(self, number: int) -> int:
        """Of a trial, in the storage."""
        found: int = self.study._storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)
        return found

    def tell(
        self,
        number: int,
        evaluation: Evaluation,
        value: float | None,
        equivalents: float = 1.0,
        heading_for: float | None = None,
        *,
        kept: bool = False,
    ) -> TrialRecord:
        """Keep what an evaluation yielded, then end its trial: nothing else sees the result before it is stored.

        A trial that has ended stays as it is, so that this may be repeated where it is not known whether it was done.

        Args:
            number: the trial.
            evaluation: what it yielded.
            value: the tuned metric where the evaluation is complete.
            equivalents: what it cost, in units of one full evaluation.
            heading_for: what the tuned metric of a stopped trial would probably have become.
            kept: whether it left files in its folder.
        """
        from optuna.trial import TrialState as State

        trial_id = self.trial_id(number)
        if (before := self.study._storage.get_trial(trial_id)).state.is_finished():
            return _record(before)
        known = {"equivalents": equivalents, "heading_for": heading_for, "kept": kept}
        self.study._storage.set_trial_user_attr(trial_id, _EVALUATION, plain_evaluation(evaluation) | known)
        if value is not None:
            self.study.tell(number, value)
        else:
            state = State.PRUNED if evaluation.status is Status.STOPPED else State.FAIL
            self.study.tell(number, state=state)
        return _record(self.study._storage.get_trial(trial_id))

    def claim(self, number: int, index: int, owner: str) -> None:
        """Write down of a running trial its place in the search, and which run evaluates it."""
        self.study._storage.set_trial_user_attr(self.trial_id(number), ASKED, {"index": index, "owner": owner})

    def release(self, trial: TrialRecord, *, cancelled: bool = False) -> None:
        """Mark a running trial whose process is gone, or is to end, as interrupted; stated values are queued again.

        Queued first: should this process end in between, the trial still runs and is released again.
        """
        from optuna.trial import TrialState as State

        storage, trial_id = self.study._storage, self.trial_id(trial.number)
        stated = storage.get_trial(trial_id).system_attrs.get(_FIXED)
        waiting = self.study.get_trials(deepcopy=False, states=(State.WAITING,))
        if stated and stated not in [other.system_attrs.get(_FIXED) for other in waiting]:
            self.study.enqueue_trial(stated)
        storage.set_trial_user_attr(trial_id, INTERRUPTED, "cancelled" if cancelled else True)
        self.study.tell(trial.number, state=State.FAIL)


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
    gradient: Mapping[str, float] = trial.user_attrs.get(_EVALUATION, {}).get("gradient", {})
    return gradient


def reported_by(trial: FrozenTrial) -> Mapping[str, float]:
    """What a trial reported: its metrics if it is complete, and the seconds that a full evaluation would take there."""
    from optuna.trial import TrialState as State

    kept = trial.user_attrs.get(_EVALUATION, {})
    metrics: Mapping[str, float] = kept.get("metrics", {}) if trial.state == State.COMPLETE else {}
    cost = kept.get("equivalents", 1.0)
    seconds = kept.get("seconds", 0.0) / cost if cost > 0 else 0.0
    return {**metrics, SECONDS.name: seconds} if seconds > 0 else metrics


def heading_of(trial: FrozenTrial) -> float | None:
    """What the tuned metric of a stopped trial would probably have become; None where that is not known."""
    found: float | None = trial.user_attrs.get(_EVALUATION, {}).get("heading_for")
    return found


def _record(trial: FrozenTrial) -> TrialRecord:
    from optuna.trial import TrialState as State

    states: dict[State, TrialState] = {
        State.COMPLETE: "finished",
        State.PRUNED: "pruned",
        State.FAIL: "interrupted" if trial.user_attrs.get(INTERRUPTED) else "failed",
    }
    kept, asked = trial.user_attrs.get(_EVALUATION, {}), trial.user_attrs.get(ASKED, {})
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


def study_names(url: str) -> list[str]:
    """Names of the studies in the storage; none where there is no storage. Creates nothing."""
    import optuna

    storage = existing_storage(url)
    return [] if storage is None else optuna.get_all_study_names(storage)
