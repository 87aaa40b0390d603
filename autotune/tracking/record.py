"""The record of a run in MLflow, which the runs of a study keep together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autotune.errors import InputError, Problem
from autotune.home import Home
from autotune.problem.space import describe
from autotune.provenance.environment import FILE as ENVIRONMENT
from autotune.results.best_files import STUDY
from autotune.session import RunningStudy
from autotune.store.database import database_file
from autotune.store.facts import MlflowPlace
from autotune.store.locks import exclusive
from autotune.store.records import TrialRecord
from autotune.store.trials import TrialStore
from autotune.study import Plan
from autotune.text import with_unit
from autotune.tracking import PARENT_STATUS, Recorder, StudyFacts, study_summary, without_password
from autotune.tracking.tags import measured_data, tags_of

_TIMEOUT = 60.0
_SHORT_TIMEOUT = 3.0
"""Who pressed Ctrl-C, or a batch system that wants the machine, does not wait."""

_LOCK_SECONDS = 2.0
"""A run that was told to end waits for the others no longer."""

_FILES = (STUDY, ENVIRONMENT, "report.html", "figures")


def artifacts_of(folder: Path) -> list[Path]:
    """Those files and folders of a study's folder that are kept with its run in MLflow when it ends."""
    return [folder / name for name in _FILES if (folder / name).exists()]


class Record:
    """What one run of a study adds to its record in MLflow: the trials that it evaluated.

    Of several runs at once, one leads: it makes the parent run and keeps its curves, and it records the trials of runs
    that have died. Another one begins when there is a parent run, and takes the lead when the leader has ended. The
    last one to close ends the parent run.
    """

    def __init__(self, study: RunningStudy) -> None:
        self._study, self._own = study, study.lease.owner
        self._wanted = study.file.spec.tracking.enabled
        self._leads = self._told_where = False
        self._recorder: Recorder | None = None
        self._passed_on: set[int] = set()  # to the recorder, to be written
        self._noticed: dict[int, str] = {}  # written by another run -> which
        self._waiting: list[TrialRecord] = []

    def start(self) -> None:
        """Begin to record, unless tracking is off."""
        if not self._wanted:
            return
        with self._study.locked():
            others = [run for run in self._open_runs() if run != self._own]
            self._note_runs({**self._runs(), self._own: True})
            self._leads = not others
        if self._leads:
            # The interrupted ones too: the curve of the incumbent waits for every trial before.
            own, theirs = self._shared_out(self._study.store.trials())
            self._recorder = _recorder(self._study)
            self._recorder.start(own, theirs)

    def add(self, trial: TrialRecord) -> None:
        """Record a trial that has ended here; returns at once."""
        self._passed_on.add(trial.number)
        if self._recorder is not None:
            self._recorder.submit(trial)
        elif self._wanted:
            self._waiting.append(trial)
            self._join()

    def follow(self, trials: Sequence[TrialRecord]) -> None:
        """Look what the other runs have done; the study's lock must be held. Returns at once.

        Args:
            trials: all of the study.
        """
        if not self._wanted:
            return
        if not self._leads:
            if next(iter(self._open_runs()), self._own) != self._own:
                return
            self._leads = True
            if self._recorder is None:
                self._recorder = _recorder(self._study)
                self._recorder.start(self._waiting)
            self._recorder.lead((), ())
        self._note_run_id()
        new = [t for t in trials if t.state != "running" and t.number not in self._passed_on | self._noticed.keys()]
        gone = bool(self._noticed) and not set(self._noticed.values()) <= self._runs().keys()
        if self._recorder is not None and (new or gone):
            own, theirs = self._shared_out(trials)
            if own or theirs:
                self._recorder.lead(own, theirs)

    def close(self, status: str, *, hurry: bool = False) -> str:
        """Bring MLflow up to date, and end the study's run unless others go on with it.

        One in a ``hurry`` waits for MLflow no longer than one that was stopped. Returns a line for the user where that
        failed.
        """
        if not self._wanted:
            return ""
        study, hurry = self._study, hurry or status == "stopped"
        last = self._leave(_LOCK_SECONDS if hurry else -1)
        trials = [trial for trial in study.store.trials() if trial.state != "running"]
        self._passed_on.clear()
        self._noticed.clear()
        own, theirs = self._shared_out(trials)
        if not last:
            own = [trial for trial in own if trial.owner == self._own]
            if self._recorder is None:
                self._join()
        if self._recorder is None and not last:
            return ""  # the run that leads has been left the trials of this one
        self._recorder = self._recorder or _recorder(study)
        if last and not self._leads:
            self._recorder.lead((), ())
        summary = study_summary(study.plan.metric, trials, study.plan.aims.limits)
        ends = PARENT_STATUS[status] if last else None
        timeout = _SHORT_TIMEOUT if hurry else _TIMEOUT
        report = self._recorder.finish(ends, summary, artifacts_of(study.folder), own, timeout, theirs)
        if report.parent_run_id is not None:
            self._note_run_id()
        return without_password(report.error)

    def _runs(self) -> dict[str, bool]:
        """The runs that record this study and live, in the order in which they began; False where one is closing."""
        alive = {self._own, *self._study.others()}
        return {run: goes_on for run, goes_on in self._study.store.facts.recording.items() if run in alive}

    def _open_runs(self) -> list[str]:
        return [run for run, goes_on in self._runs().items() if goes_on]

    def _note_runs(self, runs: Mapping[str, bool]) -> None:
        self._study.store.keep(recording=runs)

    def _leave(self, patience: float) -> bool:
        """Whether this is the last run that records the study.

        Until it has ended, others leave its trials to it, unless it has not begun to record.
        """
        try:
            with self._study.locked(patience):
                rest = {run: goes_on for run, goes_on in self._runs().items() if run != self._own}
                last = not any(rest.values())
                begins = last or self._recorder is not None or self._parent_is_there()
                self._note_runs({**rest, self._own: False} if begins else rest)
                return last
        except TimeoutError:
            return not self._study.others()

    def _shared_out(self, trials: Sequence[TrialRecord]) -> tuple[list[TrialRecord], list[TrialRecord]]:
        """What is new of the ended trials: those that this run is to record, and those that another one does."""
        runs = self._runs().keys() - {self._own}
        ended = [trial for trial in trials if trial.state != "running" and trial.number not in self._passed_on]
        foreign = [trial for trial in ended if trial.owner in runs]
        numbers = {trial.number for trial in foreign}
        own = [trial for trial in ended if trial.number not in numbers]
        new = [trial for trial in foreign if trial.number not in self._noticed]
        self._passed_on.update(trial.number for trial in own)
        for trial in own:
            self._noticed.pop(trial.number, None)
        self._noticed.update({trial.number: trial.owner for trial in foreign})
        return own, new

    def _join(self) -> None:
        """Begin to record beside a run that leads, as soon as it has made the parent run."""
        if self._parent_is_there():
            self._recorder = _recorder(self._study, leads=False)
            self._recorder.start(self._waiting)

    def _parent_is_there(self) -> bool:
        place = self._study.store.facts.mlflow
        return place is not None and place.run_id is not None

    def _note_run_id(self) -> None:
        """Let the other runs, and who asks later, know where the parent run is."""
        found = None if self._recorder is None else self._recorder.run_id
        if found is not None and not self._told_where and (place := self._study.store.facts.mlflow) is not None:
            self._study.store.keep(mlflow=replace(place, run_id=found))
            self._told_where = True


def record_address(store: TrialStore) -> str:
    """Tracking URI at which a study that was recorded is to be found: in the order in which its runs look for one.

    Raises:
        InputError: that needs a password, which is not kept.
    """
    place = store.facts.mlflow
    if place is None:
        raise ValueError(f"study {store.study.study_name} has not been recorded")
    here = None if place.stated else os.environ.get("MLFLOW_TRACKING_URI")
    uri = here or place.tracking_uri
    if "***" in uri:
        raise InputError(Problem(uri, "needs its password again", "set MLFLOW_TRACKING_URI to the whole address"))
    return uri


def _recorder(study: RunningStudy, *, leads: bool = True) -> Recorder:
    """The MLflow recorder of a study; one that leads notes in the store where the record is."""
    spec, plan, store = study.file.spec, study.plan, study.store
    uri = spec.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or study.home.tracking_uri
    experiment = spec.tracking.experiment or "autotune"
    facts = store.facts
    if leads:
        place = MlflowPlace(without_password(uri), experiment, stated=spec.tracking.uri is not None)
        before = facts.mlflow
        if before is not None and (before.tracking_uri, before.experiment) == (place.tracking_uri, experiment):
            place = replace(place, run_id=before.run_id)
        store.keep(mlflow=place)
    record = StudyFacts(
        study_id=facts.study_id,
        name=spec.name,
        experiment=experiment,
        study_text=study.file.text,
        metric=plan.metric,
        limits=plan.aims.limits,
        parameters=_ranges(plan),
        units={d.name: d.unit for d in plan.space.dimensions},
        log_parameters=frozenset(d.name for d in plan.space.dimensions if d.log),
        tags=tags_of(study),
        data=measured_data(study),
    )
    if leads:
        store.keep(record=record.as_dict())
    return Recorder(
        record,
        tracking_uri=uri,
        artifact_root=artifacts_beside(uri, study.home),
        trial_folder=lambda number: study.home.trial(spec.name, number),
        leads=leads,
        opening=lambda: exclusive(study.home.store_url, f"{spec.name}: record"),
    )


def artifacts_beside(uri: str, home: Home) -> Path:
    """Where a new experiment keeps its artifacts: beside the database, where that is a file."""
    database = database_file(uri)
    return home.mlflow_artifacts if database is None else database.parent / home.mlflow_artifacts.name


def _ranges(plan: Plan) -> dict[str, str]:
    """Every parameter's range or fixed value as text, for MLflow."""
    texts = {}
    for d in plan.space.dimensions:
        scale = " (log)" if d.log else ""
        texts[d.name] = (
            ", ".join(d.choices) if d.type == "categorical" else with_unit(f"{d.low:g} .. {d.high:g}", d.unit) + scale
        )
        texts[d.name] += f", while {describe(d.when)}" if d.when else ""
    return texts | {name: f"{value} (fixed)" for name, value in plan.fixed.items()}
