"""The record of a run in MLflow: one of a study's runs keeps it."""

from __future__ import annotations

import os
from pathlib import Path

from autotune.bestfile import STUDY
from autotune.environment import FILE as ENVIRONMENT
from autotune.errors import InputError, Problem
from autotune.provenance import measured_data, tags_of
from autotune.running import RunningStudy
from autotune.space import describe
from autotune.store import TrialRecord, TrialStore
from autotune.study import Plan
from autotune.tracking import PARENT_STATUS, Recorder, StudyFacts, study_summary, without_password

_TIMEOUT = 60.0
_SHORT_TIMEOUT = 3.0
"""Who pressed Ctrl-C, or a batch system that wants the machine, does not wait."""

_FILES = (STUDY, ENVIRONMENT, "report.html", "figures")


def artifacts_of(folder: Path) -> list[Path]:
    """Those files and folders of a study's folder that are kept with its run in MLflow when it ends."""
    return [folder / name for name in _FILES if (folder / name).exists()]


class Record:
    """The study's record in MLflow, which one of its runs keeps."""

    def __init__(self, study: RunningStudy) -> None:
        self._study = study
        self._recorder: Recorder | None = None

    def start(self) -> None:
        """Begin to record, unless tracking is off or another run does it."""
        if self._study.file.spec.tracking.enabled and not self._study.others():
            self._recorder = _recorder(self._study)
            # The interrupted ones too: the curve of the incumbent waits for every trial before.
            self._recorder.start(self._study.store.trials())

    def add(self, trial: TrialRecord) -> None:
        """Record a trial that has ended; returns at once."""
        if self._recorder is not None:
            self._recorder.submit(trial)

    def close(self, status: str, *, hurry: bool = False) -> str:
        """Bring MLflow up to date and end the study's run; returns a line for the user where that failed.

        While other runs are alive, the one of them that records does so at its own end. One in a ``hurry`` waits for
        MLflow no longer than one that was stopped.
        """
        study = self._study
        if not study.file.spec.tracking.enabled or (study.others() and self._recorder is None):
            return ""
        recorder = self._recorder or _recorder(study)
        trials = study.store.trials()
        summary = study_summary(study.plan.metric, trials, study.plan.aims.limits)
        ended = [trial for trial in trials if trial.state != "running"]
        timeout = _SHORT_TIMEOUT if hurry or status == "stopped" else _TIMEOUT
        report = recorder.finish(PARENT_STATUS[status], summary, artifacts_of(study.folder), ended, timeout)
        if report.parent_run_id is not None:
            study.store.note("mlflow", study.store.facts["mlflow"] | {"run_id": report.parent_run_id})
        return without_password(report.error)


def record_address(store: TrialStore) -> str:
    """Tracking URI at which a study that was recorded is to be found: in the order in which its runs look for one.

    Raises:
        InputError: that needs a password, which is not kept.
    """
    kept = store.facts["mlflow"]
    here = None if kept.get("stated") else os.environ.get("MLFLOW_TRACKING_URI")
    uri = str(here or kept["tracking_uri"])
    if "***" in uri:
        raise InputError(Problem(uri, "needs its password again", "set MLFLOW_TRACKING_URI to the whole address"))
    return uri


def _recorder(study: RunningStudy) -> Recorder:
    """The MLflow recorder of a study; notes in the store where that is."""
    spec, plan, store = study.file.spec, study.plan, study.store
    uri = spec.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or study.home.tracking_uri
    experiment = spec.tracking.experiment or "autotune"
    facts = store.facts
    place = {"tracking_uri": without_password(uri), "experiment": experiment}
    known = facts.get("mlflow", {})
    same_place = all(known.get(key) == value for key, value in place.items())
    stated = spec.tracking.uri is not None
    store.note("mlflow", place | {"run_id": known["run_id"] if same_place else None, "stated": stated})
    record = StudyFacts(
        study_id=facts["study_id"],
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
    store.note("record", record.as_dict())
    return Recorder(
        record,
        tracking_uri=uri,
        artifact_root=study.home.mlflow_artifacts,
        trial_folder=lambda number: study.home.trial(spec.name, number),
    )


def _ranges(plan: Plan) -> dict[str, str]:
    """Every parameter's range or fixed value as text, for MLflow."""
    texts = {}
    for d in plan.space.dimensions:
        scale = " (log)" if d.log else ""
        texts[d.name] = ", ".join(d.choices) if d.type == "categorical" else f"{d.low:g} .. {d.high:g} {d.unit}{scale}"
        texts[d.name] += f", while {describe(d.when)}" if d.when else ""
    return texts | {name: f"{value} (fixed)" for name, value in plan.fixed.items()}
