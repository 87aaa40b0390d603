"""The record of a study in MLflow, which the runs of the study keep together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from autotune.retrying import Deadline
from autotune.session import RunningStudy
from autotune.store.facts import MlflowPlace
from autotune.store.locks import exclusive
from autotune.store.records import TrialRecord
from autotune.text import without_password
from autotune.tracking.lead import Lead
from autotune.tracking.place import artifacts_of, default_address, destination_of
from autotune.tracking.points import study_summary
from autotune.tracking.recorder import Recorder
from autotune.tracking.runs import PARENT_STATUS
from autotune.tracking.study_facts import StudyFacts, facts_of
from autotune.tracking.writer import Closing

_TIMEOUT = 60.0
"""Longest wait in seconds for MLflow at the end of a study."""


class Record:
    """One run's part in the record of its study in MLflow: the trials that it evaluated.

    The run is in one of three states, each with one owner:

        waits      another run leads and has not made the parent run yet; the trials wait in the recorder
        is beside  another run leads; the recorder has been started and writes this run's trials
        leads      the recorder keeps the parent run too, and writes the trials of runs that have died

    Who leads is in :class:`autotune.tracking.lead.Lead`, and the recorder knows whether it has been started. The last
    run to close ends the parent run.
    """

    def __init__(self, study: RunningStudy) -> None:
        """Touch nothing yet."""
        self._study, self._own = study, study.lease.owner
        self._tracking = study.file.spec.tracking
        self._lead = Lead(study)
        self._written_by: dict[int, str] = {}  # ended trial -> the run that records it, as far as this one has looked
        self._stored_run_id: str | None = None

    def start(self) -> None:
        """Begin to record, unless tracking is off."""
        if not self._tracking.enabled:
            return
        self._lead.enter()
        if self._lead.held:
            self._announce()
            # The interrupted ones too: the curve of the incumbent waits for every trial before.
            self._recorder.start(*self._divide(self._study.store.trials()))

    def add(self, trial: TrialRecord) -> None:
        """Record a trial that has ended here; returns at once."""
        if not self._tracking.enabled:
            return
        self._written_by[trial.number] = self._own
        self._recorder.submit(trial)
        if not self._recorder.started and self._parent_is_there():
            self._recorder.start()

    def follow(self, trials: Sequence[TrialRecord]) -> None:
        """Look at what the other runs have done; the study's lock must be held. Returns at once.

        Args:
            trials: all of the study.
        """
        if not self._tracking.enabled:
            return
        if self._lead.held:
            self._store_run_id()
            own, theirs = self._divide(trials) if self._is_news(trials) else ([], [])
            if own:
                self._recorder.start(own, theirs)
            elif theirs:
                self._recorder.learn(theirs)
        elif self._lead.is_free():
            self._announce()
            own, theirs = self._divide(trials)
            self._lead.held = True
            self._recorder.start(own, theirs)

    def close(self, status: str, deadline: Deadline | None = None) -> str:
        """Bring MLflow up to date, and end the study's run unless others go on with it.

        Args:
            status: how the study ended.
            deadline: when a run that was interrupted must be over; None to wait for the study's lock as long as it
                takes, and a minute for MLflow. What MLflow lacks then, the next run or ``autotune sync`` adds.

        Returns:
            A line for the user where that failed; empty otherwise.
        """
        if not self._tracking.enabled:
            return ""
        study = self._study
        led = self._lead.held and self._recorder.started
        writes = self._recorder.started or self._parent_is_there()
        last = self._lead.leave(-1 if deadline is None else deadline.left(), writes)
        if not (last or writes):
            return ""  # the run that leads records the trials of this one
        if last and not led:
            self._announce()
            self._recorder.start()
        trials = [trial for trial in study.store.trials() if trial.state != "running"]
        own, theirs = self._divide(trials)
        if not last:
            own = [trial for trial in own if trial.owner == self._own]
        summary = study_summary(study.plan.metric, trials, study.plan.aims.of_answers)
        closing = Closing(PARENT_STATUS[status] if last else None, summary, artifacts_of(study.folder))
        report = self._recorder.finish(closing, own, theirs, _TIMEOUT if deadline is None else deadline.left())
        self._store_run_id()
        return without_password(report.error)

    @cached_property
    def _uri(self) -> str:
        return self._tracking.uri or default_address(self._study.home)

    @cached_property
    def _facts(self) -> StudyFacts:
        return facts_of(self._study, self._tracking.experiment or "autotune")

    @cached_property
    def _recorder(self) -> Recorder:
        study = self._study
        return Recorder(
            self._facts,
            destination_of(self._uri, study.home, study.name),
            leads=lambda: self._lead.held,
            opening=lambda: exclusive(study.home.store_url, f"{study.name}: record"),
        )

    def _announce(self) -> None:
        """Keep in the store what the leading run records, and where."""
        facts, before = self._facts, self._study.store.facts.mlflow
        place = MlflowPlace(without_password(self._uri), facts.experiment, stated=self._tracking.uri is not None)
        if before is not None and (before.tracking_uri, before.experiment) == (place.tracking_uri, place.experiment):
            place = replace(place, run_id=before.run_id)
        self._study.store.keep(mlflow=place, record=facts.as_dict())

    def _store_run_id(self) -> None:
        """Keep in the store which run is the parent, once MLflow has answered."""
        run_id, place = self._recorder.run_id, None
        if run_id is not None and run_id != self._stored_run_id:
            place = self._study.store.facts.mlflow
        if place is not None:
            self._study.store.keep(mlflow=replace(place, run_id=run_id))
            self._stored_run_id = run_id

    def _parent_is_there(self) -> bool:
        place = self._study.store.facts.mlflow
        return place is not None and place.run_id is not None

    def _is_news(self, trials: Sequence[TrialRecord]) -> bool:
        """Whether a trial has ended, or a run that was to record trials may have died, since the last look."""
        ended = any(trial.state != "running" and trial.number not in self._written_by for trial in trials)
        return ended or bool(set(self._written_by.values()) - {self._own})

    def _divide(self, trials: Sequence[TrialRecord]) -> tuple[list[TrialRecord], list[TrialRecord]]:
        """The ended trials that are new: those that this run is to record, and those that another run records.

        A trial is recorded by the run that evaluated it while that run lives, and otherwise by this one.
        """
        others = self._lead.others()
        own: list[TrialRecord] = []
        theirs: list[TrialRecord] = []
        for trial in trials:
            before = self._written_by.get(trial.number)
            now = trial.owner if trial.owner in others else self._own
            if trial.state != "running" and before not in (self._own, now):
                self._written_by[trial.number] = now
                (own if now == self._own else theirs).append(trial)
        return own, theirs
