"""The trial store: the only truth about a study. Everything else is a projection of it.

One Optuna storage (SQLite by default) holds every study. What is known about a study beside its trials is in its user
attributes (:mod:`autotune.store.facts`); its trials are read as :class:`autotune.store.records.TrialRecord`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from autotune.objective import Evaluation, Metric, Status, Value
from autotune.store.database import database_of
from autotune.store.facts import (
    CREATED,
    Facts,
    LeaseFact,
    StoredFacts,
    plain_environment,
    plain_facts,
    plain_lease,
)
from autotune.store.records import ASKED, EVALUATION, INTERRUPTED, TrialRecord, plain_evaluation, record_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import RDBStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_FIXED = "fixed_params"


@contextmanager
def _quiet_creation() -> Iterator[None]:
    """Keep Optuna from telling of a study that it makes: nobody asked it, and this package's users did not name it."""
    log = logging.getLogger("optuna.storages._rdb.storage")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


class TrialStore:
    """One study in the storage.

    Attributes:
        study: Optuna's.
        tuned: name of the tuned metric, where the store does not keep it (a study made by ask and tell).
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.tuned: str | None = None
        self._ended: dict[int, TrialRecord] = {}  # a trial that has ended never changes

    @classmethod
    def open(cls, url: str, name: str) -> TrialStore | None:
        """The study called ``name``; None where there is none, or its creation was cut short. Creates nothing."""
        database = database_of(url)
        store = cls._load(database.open(), name) if database.exists() else None
        return None if store is None or store._is_stub() else store

    @classmethod
    def open_all(cls, url: str) -> list[TrialStore]:
        """Every study in the storage, which is opened once: as :meth:`open` for each of :func:`study_names`."""
        import optuna

        database = database_of(url)
        if not database.exists():
            return []
        storage = database.open()
        stores = [cls._load(storage, name) for name in optuna.get_all_study_names(storage)]
        return [store for store in stores if store is not None and not store._is_stub()]

    @classmethod
    def _load(cls, storage: RDBStorage, name: str) -> TrialStore | None:
        """The study called ``name``, which may be a stub; None where there is none."""
        import optuna

        try:
            return cls(optuna.load_study(study_name=name, storage=storage))
        except KeyError:
            return None

    @classmethod
    def create(cls, url: str, name: str, metric: Metric, facts: Mapping[str, Any]) -> TrialStore:
        """Create the study; ``facts`` is plain data to keep with it (:attr:`facts`)."""
        import optuna

        storage = database_of(url).open()
        earlier = cls._load(storage, name)
        if earlier is not None and earlier._is_stub():
            optuna.delete_study(study_name=name, storage=storage)
        with _quiet_creation():
            study = optuna.create_study(study_name=name, storage=storage, direction=metric.goal)
        store = cls(study)
        store._write(facts)
        store._write({CREATED: True})
        return store

    def _is_stub(self) -> bool:
        """Whether the process that created the study ended before it had written the facts."""
        return not self.facts.created and not self.study.get_trials(deepcopy=False)

    @property
    def facts(self) -> StoredFacts:
        """A snapshot of what is kept about the study beside its trials; one read of the database."""
        # Study.user_attrs would copy all that is in them, too, which takes longer than to read them.
        kept = self.study._storage.get_study_user_attrs(self.study._study_id)
        return StoredFacts(self.study.study_name, dict(kept))

    def keep(self, **facts: Unpack[Facts]) -> None:
        """Keep facts about the study, one after the other in the order given."""
        self._write(plain_facts(**facts))

    def keep_environment(self, digest: str, environment: Mapping[str, Any]) -> None:
        """Keep an environment, which runs then name by its digest (the fact ``environments``)."""
        self._write(plain_environment(digest, environment))

    def keep_lease(self, slot: int, lease: LeaseFact) -> None:
        """Keep a run's lease in a slot (:mod:`autotune.store.leases`)."""
        self._write(plain_lease(slot, lease))

    def set_fact(self, key: str, value: Any) -> None:
        """Keep one piece of plain data of the caller's own with the study; read it as ``facts[key]``."""
        self.study.set_user_attr(key, value)

    def _write(self, facts: Mapping[str, Any]) -> None:
        for key, value in facts.items():
            self.set_fact(key, value)

    def archive(self, url: str, name: str) -> TrialStore:
        """Rename the study, so that its name is free; returns it under its new name."""
        import optuna

        here = self.study.study_name
        storage = database_of(url).open()
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
            record = record_of(trial)
            if record.state == "running":
                return record
            if record.state == "finished" and not record.metrics and trial.value is not None:
                # Another program has added it, by Optuna.
                tuned = self.tuned or self.facts.metric_name
                record = replace(record, metrics={tuned: trial.value} if tuned else {})
            self._ended[trial.number] = record
        return self._ended[trial.number]

    def trial_id(self, number: int) -> int:
        """Optuna's id of a trial in the storage, from the trial's number in the study."""
        trial_id: int = self.study._storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)
        return trial_id

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
        """Store an evaluation, then end its trial, in this order: an ended trial always has its evaluation.

        A trial that has ended is not changed, so a caller that does not know whether it was stored may repeat this.

        Args:
            number: the trial's number.
            evaluation: what the trial yielded.
            value: the tuned metric; None where the evaluation is not complete.
            equivalents: cost of the trial, in units of one full evaluation.
            heading_for: predicted final value of a stopped trial's tuned metric; None where there is no prediction.
            kept: whether the trial left files in its folder.

        Returns:
            The ended trial.
        """
        from optuna.trial import TrialState as State

        trial_id = self.trial_id(number)
        if (before := self.study._storage.get_trial(trial_id)).state.is_finished():
            return record_of(before)
        costs = {"equivalents": equivalents, "heading_for": heading_for, "kept": kept}
        self.study._storage.set_trial_user_attr(trial_id, EVALUATION, plain_evaluation(evaluation) | costs)
        if value is not None:
            self.study.tell(number, value)
        else:
            state = State.PRUNED if evaluation.status is Status.STOPPED else State.FAIL
            self.study.tell(number, state=state)
        return record_of(self.study._storage.get_trial(trial_id))

    def add(
        self,
        values: Mapping[str, Value],
        distributions: Mapping[str, BaseDistribution],
        evaluation: Evaluation,
        value: float | None,
        index: int,
        replaces: int | None = None,
    ) -> TrialRecord:
        """Store a trial that was evaluated elsewhere, whole or not at all.

        Args:
            values: name -> value of the tuned parameters that are active.
            distributions: name -> distribution of each of these.
            evaluation: what the trial yielded.
            value: the tuned metric; None where the evaluation is not complete.
            index: its place in the search.
            replaces: number of the trial whose evaluation this is, at other values or after its release; None for none.
        """
        from optuna.trial import TrialState as State
        from optuna.trial import create_trial

        told = {"equivalents": 0.0, "heading_for": None, "kept": False}
        asked = {"index": index, "owner": ""} | ({} if replaces is None else {"replaces": replaces})
        trial = create_trial(
            state=State.FAIL if value is None else State.COMPLETE,
            value=value,
            params=dict(values),
            distributions=dict(distributions),
            user_attrs={EVALUATION: plain_evaluation(evaluation) | told, ASKED: asked},
        )
        storage = self.study._storage
        return record_of(storage.get_trial(storage.create_new_trial(self.study._study_id, template_trial=trial)))

    def claim(self, number: int, index: int, owner: str) -> None:
        """Store a running trial's place in the search (from 0), and the name of the run that evaluates it."""
        self.study._storage.set_trial_user_attr(self.trial_id(number), ASKED, {"index": index, "owner": owner})

    def release(self, trial: TrialRecord, *, cancelled: bool = False, again: bool = True) -> None:
        """Mark a running trial as interrupted, because its process is gone or is to end; queue its stated values again.

        The values are queued first: if this process ends in between, the trial still runs, and is released again.

        Args:
            trial: a running trial.
            cancelled: whether the user ended it.
            again: whether its stated values are still to be evaluated.
        """
        from optuna.trial import TrialState as State

        storage, trial_id = self.study._storage, self.trial_id(trial.number)
        stated = storage.get_trial(trial_id).system_attrs.get(_FIXED)
        waiting = self.study.get_trials(deepcopy=False, states=(State.WAITING,))
        if again and stated and stated not in [other.system_attrs.get(_FIXED) for other in waiting]:
            self.study.enqueue_trial(stated)
        storage.set_trial_user_attr(trial_id, INTERRUPTED, "cancelled" if cancelled else True)
        self.study.tell(trial.number, state=State.FAIL)


def study_names(url: str) -> list[str]:
    """Names of the studies in the storage; none where there is no storage. Creates nothing."""
    import optuna

    database = database_of(url)
    return optuna.get_all_study_names(database.open()) if database.exists() else []
