"""The trial store: the only truth about a study. Everything else is a projection of it.

One Optuna storage (SQLite by default) holds every study; a trial's metrics, gradient, curve, cost and failure reason
are its user attributes, and what identifies the study are the study's. :class:`TrialRecord` is the read side, and all
that reports, recorder and result see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from autotune.criteria import SECONDS, Limit, non_dominated, signed
from autotune.objective import Evaluation, Metric, Status, Value
from autotune.sqlite import first_touch, sqlite_path

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

TrialState = Literal["running", "finished", "failed", "pruned", "interrupted"]

INTERRUPTED = "autotune:interrupted"
"""User attribute, True on a failed trial whose process ended before it did: as if it had never been asked."""
_CREATED = "autotune:created"  # the study's last fact to be written: without it, its creation was cut short
EXPECTED_IMPROVEMENT = "autotune:expected_improvement"
"""Attribute of a trial: by how much its proposal was expected to beat the best value, in the metric's unit."""
LEVEL = "autotune:level"
"""Attribute of a trial: which of the study's cheap evaluations it is, from 1; 0 or absent for a full one."""
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
        metrics, gradient, curve, seconds, reason: as in :class:`autotune.objective.Evaluation`.
        started, ended: local wall-clock times.
        expected_improvement: by how much the sampler expected the trial to beat the best one before it, in the
            metric's unit; None where it expected nothing.
        level: which of the study's cheap evaluations it is, from 1; 0 for a full one. Metrics of different levels do
            not compare.
        equivalents: what it cost, in units of one full evaluation.
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

    @classmethod
    def open(cls, url: str, name: str) -> TrialStore | None:
        """The study called ``name``; None where there is none, or only the start of one. Creates nothing."""
        import optuna

        storage = _existing_storage(url)
        if storage is None or name not in optuna.get_all_study_names(storage):
            return None
        store = cls(optuna.load_study(study_name=name, storage=storage))
        return None if store._is_stub() else store

    @classmethod
    def create(cls, url: str, name: str, metric: Metric, facts: Mapping[str, Any]) -> TrialStore:
        """Create the study; ``facts`` is plain data kept with it (:attr:`facts`)."""
        import optuna

        storage = _storage(url)
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
        storage = _storage(url)
        optuna.copy_study(from_study_name=here, from_storage=storage, to_storage=storage, to_study_name=name)
        optuna.delete_study(study_name=here, storage=storage)
        return TrialStore(optuna.load_study(study_name=name, storage=storage))

    def trials(self) -> list[TrialRecord]:
        """Every trial that was started, by number."""
        from optuna.trial import TrialState as State

        return [_record(trial) for trial in self.study.get_trials(deepcopy=False) if trial.state != State.WAITING]

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
    ) -> TrialRecord:
        """Keep what an evaluation yielded, then end its trial: nothing else sees the result before it is stored.

        Args:
            number: the running trial.
            evaluation: what it yielded.
            value: the tuned metric where the evaluation is complete.
            equivalents: what it cost, in units of one full evaluation.
            heading_for: what the tuned metric of a stopped trial would probably have become.
        """
        from optuna.trial import TrialState as State

        trial_id = self.trial_id(number)
        kept = _plain(evaluation) | {"equivalents": equivalents, "heading_for": heading_for}
        self.study._storage.set_trial_user_attr(trial_id, _EVALUATION, kept)
        if value is not None:
            self.study.tell(number, value)
        else:
            state = State.PRUNED if evaluation.status is Status.STOPPED else State.FAIL
            self.study.tell(number, state=state)
        return _record(self.study._storage.get_trial(trial_id))

    def release(self, trial: TrialRecord) -> None:
        """Mark a running trial whose process is gone as interrupted; stated values are queued again.

        Queued first: should this process end in between, the trial still runs and is released again.
        """
        from optuna.trial import TrialState as State

        storage, trial_id = self.study._storage, self.trial_id(trial.number)
        stated = storage.get_trial(trial_id).system_attrs.get(_FIXED)
        waiting = self.study.get_trials(deepcopy=False, states=(State.WAITING,))
        if stated and stated not in [other.system_attrs.get(_FIXED) for other in waiting]:
            self.study.enqueue_trial(stated)
        storage.set_trial_user_attr(trial_id, INTERRUPTED, True)
        self.study.tell(trial.number, state=State.FAIL)


def _storage(url: str) -> RDBStorage:
    """Optuna's storage at ``url``, created where there is none."""
    from optuna.storages import RDBStorage

    path = sqlite_path(url)
    if path is None:
        return RDBStorage(url)
    with first_touch(path):
        # Wait for another process's write instead of failing at once.
        return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})


def _existing_storage(url: str) -> RDBStorage | None:
    """Optuna's storage at ``url``; None where its SQLite file does not exist."""
    path = sqlite_path(url)
    return None if path is not None and not path.exists() else _storage(url)


def _plain(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as JSON data, without its arrays."""
    return {
        "status": str(evaluation.status),
        "metrics": {name: float(value) for name, value in evaluation.metrics.items()},
        "gradient": {name: float(value) for name, value in evaluation.gradient.items()},
        "curve": {name: [float(value) for value in values] for name, values in evaluation.curve.items()},
        "seconds": float(evaluation.seconds),
        "reason": evaluation.reason,
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
    kept = trial.user_attrs.get(_EVALUATION, {})
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
    )


def study_names(url: str) -> list[str]:
    """Names of the studies in the storage; none where there is no storage. Creates nothing."""
    import optuna

    storage = _existing_storage(url)
    return [] if storage is None else optuna.get_all_study_names(storage)
