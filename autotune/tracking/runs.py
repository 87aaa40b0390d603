"""The MLflow runs of one study: a parent run, and a nested child run per trial. One thread writes the parent at
a time, and each child.

    experiment                   one per facility, project, ... (the study file says)
      parent run                 tag autotune.study_id; parameters = ranges; best_<metric> by trial number
        child run, trial 000     tags autotune.trial, mlflow.parentRunId; values, metrics, curve/<metric>
        child run, trial 001     ...

Cheap evaluations (``autotune.level``) have metrics of names of their own, since they do not compare with full ones.
A child's status is written last, so a child that is still RUNNING was left half-written by a death and is
completed in place. All but the moment at which the parent began comes from the trial store, and MLflow's databases
drop a point that they already hold, so writing anything twice changes nothing. :mod:`autotune.tracking.recorder`
decides when this is called.
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from autotune.store.records import TrialRecord
from autotune.store.sqlite import sqlite_path
from autotune.tracking.client import one_line, open_client
from autotune.tracking.points import (
    Incumbents,
    MeasuredData,
    StudyFacts,
    best_key,
    incumbent_points,
    key,
    milliseconds,
    resource_points,
    trial_points,
    trial_table,
    trial_value_points,
)

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run
    from mlflow.entities import Metric as Point
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

ParentStatus = Literal["FINISHED", "FAILED", "KILLED"]
PARENT_STATUS: Mapping[str, ParentStatus] = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
"""How a study ended -> status of its parent run."""

STUDY_ID, TRIAL, STATE, REASON, LEVEL, NOT_COPIED, LACKING = (
    f"autotune.{name}" for name in ("study_id", "trial", "state", "reason", "level", "not_copied", "files_missing")
)
PARENT = "mlflow.parentRunId"
TABLE = "trials.json"
FILE_LIMIT_BYTES = 50_000_000
"""A larger file stays in the trial's folder only, and the tag ``autotune.not_copied`` names it."""

_CHILD_STATUS = {"finished": "FINISHED", "failed": "FAILED", "pruned": "KILLED", "interrupted": "KILLED"}
_PAGE = 1000
_ANALYSED_ROWS = 1000  # of each index: enough for the planner, and as quick in a large database as in a small one
_LONGEST_DATASET_NAME, _LONGEST_DIGEST, _LONGEST_TAG, _LONGEST_PARAMETER = 500, 36, 8000, 6000  # MLflow's limits
_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")  # of what is written, not of who asks or when


class StudyRuns:
    """The runs of one study. Every method may raise whatever MLflow raises.

    Attributes:
        parent_id: run id of the parent.
        complete: numbers of the trials whose child run is complete.
        written: those of them that were written now.
        lacking: number -> child run of those whose files were kept by another machine, and are not here.
        refused: number -> why, of the trials that MLflow does not take.
    """

    def __init__(
        self,
        facts: StudyFacts,
        *,
        tracking_uri: str,
        artifact_root: Path | None,
        trial_folder: Callable[[int], Path],
        began: datetime | None = None,
        keeps_parent: bool = True,
    ) -> None:
        """Find the study's runs, or create the parent.

        Args:
            facts, tracking_uri, artifact_root, trial_folder: as for :class:`autotune.tracking.Recorder`.
            began: when the study did, for a parent to be created; None for now.
            keeps_parent: False where another run of the study does that; the parent must be there then.
        """
        self._facts, self._trial_folder, self._database = facts, trial_folder, sqlite_path(tracking_uri)
        self._client = open_client(tracking_uri)
        remote = urlsplit(tracking_uri).scheme in ("http", "https", "databricks", "databricks-uc")
        location = None if remote or artifact_root is None else artifact_root.resolve().as_uri()
        self._keeps_parent = keeps_parent
        self._experiment = self._find_experiment(location)
        self._unfinished: dict[int, Run] = {}
        self._incumbents = Incumbents(facts.metric, facts.limits)
        self._known_steps: set[int] = set()
        self.complete: set[int] = set()
        self.written: set[int] = set()
        self.lacking: dict[int, Run] = {}
        self.refused: dict[int, str] = {}
        self.parent_id = self._open_parent(milliseconds(began))

    def mark_running(self) -> None:
        """Show the study as running (again)."""
        self._client.update_run(self.parent_id, status="RUNNING")

    def record(self, trials: Mapping[int, TrialRecord]) -> None:
        """Write the ended trials that MLflow lacks, and files that were elsewhere when their trial was written.

        Args:
            trials: by number.
        """
        from mlflow.exceptions import MlflowException

        for number in sorted(trials.keys() - self.complete - self.refused.keys()):
            if trials[number].state == "running":
                continue
            try:
                self._record_trial(trials[number])
            except MlflowException as error:
                if error.error_code not in _REFUSALS:
                    raise
                self.refused[number] = one_line(error)  # of this trial alone
        for number in sorted(self.lacking.keys() & trials.keys()):
            self._deliver(number)

    def record_progress(self, trials: Mapping[int, TrialRecord]) -> None:
        """Log what the parent tells by trial number, at the number of every trial that has no point yet.

        Args:
            trials: by number, all that are known.
        """
        points: list[Point] = []
        for trial, best, moment in self._incumbents.advance(trials):
            if trial.number in self._known_steps:
                continue
            ended = milliseconds(trial.ended or trial.started)
            points += resource_points(trial, ended, trial.number)
            points += trial_value_points(self._facts.metric, trial, ended)
            if best is not None:
                points += incumbent_points(self._facts.metric, trial.number, best, moment)
        self._client.log_batch(self.parent_id, metrics=points)

    def record_table(self, trials: Mapping[int, TrialRecord]) -> None:
        """Log the table of all trials on the parent, in the form that the MLflow UI shows as a table."""
        table = trial_table(self._facts, [trials[number] for number in sorted(trials)])
        self._client.log_dict(self.parent_id, table, TABLE)

    def close(
        self,
        status: ParentStatus,
        metrics: Mapping[str, float],
        artifacts: Sequence[Path],
        trials: Mapping[int, TrialRecord],
    ) -> None:
        """Log the study's own metrics and files, and end the parent run when the last of its trials did."""
        from mlflow.entities import Metric as Point

        step = max(trials, default=0)
        end = max((milliseconds(trial.ended) for trial in trials.values() if trial.ended), default=milliseconds(None))
        points = [Point(key(name), value, end, step) for name, value in metrics.items() if math.isfinite(value)]
        self._client.log_batch(self.parent_id, metrics=points)
        for path in artifacts:
            self._client.log_artifact(self.parent_id, str(path))
        self._client.set_terminated(self.parent_id, status=status, end_time=end)
        self._refresh_statistics()

    def _find_experiment(self, artifact_location: str | None) -> str:
        """Id of the experiment, created where missing."""
        from mlflow.exceptions import MlflowException

        name = self._facts.experiment
        found = self._client.get_experiment_by_name(name)
        if found is None:
            # Without the kind, MLflow's UI asks the user what sort of experiment this is.
            tags = {"mlflow.experimentKind": "custom_model_development"}
            try:
                return str(self._client.create_experiment(name, artifact_location, tags))
            except MlflowException:  # another study may have created it in between
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            raise RuntimeError(f"experiment '{name}' was deleted in MLflow; restore it there or name another")
        return str(found.experiment_id)

    def _open_parent(self, began: int) -> str:
        """Find or create the parent run and bring its tags, parameters and data up to date."""
        from mlflow.entities import Param, RunTag

        tags = {**self._facts.tags, STUDY_ID: self._facts.study_id, **self._unit_tags()}
        tags["mlflow.loggedArtifacts"] = f'[{{"path": "{TABLE}", "type": "table"}}]'
        found = self._search(f"tags.`{STUDY_ID}` = '{self._facts.study_id}'")
        if found:
            parent, *others = sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))
            for other in others:
                self._delete(other)
            self._find_children(parent.info.run_id)
            history = self._client.get_metric_history(parent.info.run_id, best_key(self._facts.metric))
            self._known_steps = {point.step for point in history}
            if not self._keeps_parent:
                return str(parent.info.run_id)
        elif not self._keeps_parent:
            raise LookupError("the study's run is not in MLflow")
        else:
            parent = self._client.create_run(self._experiment, began, tags, run_name=self._facts.name)
        run_id = str(parent.info.run_id)
        parameters = {key(name): _fitting(text, _LONGEST_PARAMETER) for name, text in self._facts.parameters.items()}
        self._client.log_batch(
            run_id,
            params=[Param(name, text) for name, text in parameters.items() if name not in parent.data.params],
            tags=[RunTag(key(name), _fitting(text, _LONGEST_TAG)) for name, text in tags.items()],
        )
        if self._facts.data is not None:
            self._client.log_inputs(run_id, [_dataset_input(self._facts.data)])
        self._client.log_text(run_id, self._facts.study_text, "study.yaml")
        return run_id

    def _delete(self, parent: Run) -> None:
        """Delete a parent that was made a second time, with its children: two that saw none made one at once."""
        for run in (parent, *self._search(f"tags.`{PARENT}` = '{parent.info.run_id}'")):
            self._client.delete_run(run.info.run_id)

    def _find_children(self, parent_id: str) -> None:
        """Sort the children into complete and unfinished; one that repeats a trial is deleted.

        A repetition comes about where a server created the run but its answer was lost on the way.
        """
        found = [run for run in self._search(f"tags.`{PARENT}` = '{parent_id}'") if TRIAL in run.data.tags]
        for run in sorted(found, key=lambda run: bool(run.info.status == "RUNNING")):
            number = int(run.data.tags[TRIAL])
            if LACKING in run.data.tags:
                self.lacking[number] = run
            if number in self.complete or number in self._unfinished:
                self._client.delete_run(run.info.run_id)
            elif run.info.status == "RUNNING":
                self._unfinished[number] = run
            else:
                self.complete.add(number)

    def _search(self, condition: str) -> list[Run]:
        """All active runs of the experiment that meet ``condition``, oldest first."""
        found: list[Run] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                condition,
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            found.extend(page)
            token = page.token
            if not token:
                return found

    def _record_trial(self, trial: TrialRecord) -> None:
        """Create or complete a trial's child run: one batch of data, its files, and its status last."""
        from mlflow.entities import Param, RunTag

        number, ended = trial.number, milliseconds(trial.ended or trial.started)
        folder = self._trial_folder(number)
        tags = {STATE: trial.state, REASON: trial.reason, LEVEL: str(trial.level) if trial.level else ""}
        lacking = trial.kept and not folder.is_dir()
        tags[LACKING] = "true" if lacking else ""
        told = {name: _fitting(text, _LONGEST_TAG) for name, text in tags.items() if text}
        if number not in self._unfinished:
            first = {PARENT: self.parent_id, TRIAL: str(number), **self._unit_tags(), **told}
            started = milliseconds(trial.started or trial.ended)
            run = self._client.create_run(self._experiment, started, first, run_name=f"trial {number:03d}")
            self._unfinished[number], told = run, {}  # once is enough
        run_id = self._unfinished[number].info.run_id
        self._client.log_batch(
            run_id,
            metrics=trial_points(self._facts, trial, ended),
            params=[Param(key(name), _fitting(str(value), _LONGEST_PARAMETER)) for name, value in trial.values.items()],
            tags=[RunTag(name, text) for name, text in told.items()],
        )
        self._copy_files(self._unfinished[number], folder)
        self._client.set_terminated(run_id, status=_CHILD_STATUS[trial.state], end_time=ended)
        run = self._unfinished.pop(number)
        self.complete.add(number)
        self.written.add(number)
        if lacking:
            self.lacking[number] = run

    def _deliver(self, number: int) -> None:
        """Add a trial's files to its child, where they are here."""
        folder = self._trial_folder(number)
        if folder.is_dir():
            run = self.lacking[number]
            self._copy_files(run, folder)
            self._client.delete_tag(run.info.run_id, LACKING)
            del self.lacking[number]

    def _copy_files(self, run: Run, folder: Path) -> None:
        files, too_large = _files(folder)
        if files:
            place = self._artifacts(run)
            for path, into in files:
                place.log_artifact(str(path), into)  # type: ignore[no-untyped-call]
        if too_large:
            self._client.set_tag(run.info.run_id, NOT_COPIED, _fitting(", ".join(map(str, too_large)), _LONGEST_TAG))

    def _artifacts(self, run: Run) -> ArtifactRepository:
        """Where a run's files go. The client's own ``log_artifact`` reads the whole run first to find that out."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(run.info.artifact_uri, self._client.tracking_uri)

    def _refresh_statistics(self) -> None:
        """ANALYZE, without which SQLite takes seconds to sort thousands of runs by a metric in the UI."""
        if self._database is not None:
            # Only a speed-up: a database that someone else holds locked just goes without.
            with (
                contextlib.suppress(sqlite3.OperationalError),
                contextlib.closing(sqlite3.connect(self._database, timeout=5)) as connection,
            ):
                connection.execute(f"PRAGMA analysis_limit = {_ANALYSED_ROWS}")
                connection.execute("ANALYZE")
                connection.commit()

    def _unit_tags(self) -> dict[str, str]:
        return {key(f"unit.{name}"): unit for name, unit in self._facts.units.items()}


def _dataset_input(data: MeasuredData) -> DatasetInput:
    """The measurement as MLflow keeps it; its whole hash is in the source."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return DatasetInput(
        Dataset(
            name=data.name[:_LONGEST_DATASET_NAME],
            digest=data.content_hash[:_LONGEST_DIGEST],
            source_type="autotune",
            source=json.dumps({"name": data.name, "content_hash": data.content_hash}),
            profile=json.dumps(dict(data.description)),
        ),
        [InputTag("mlflow.data.context", "tuning")],
    )


def _fitting(text: str, longest: int) -> str:
    """The text as MLflow's columns hold it; SQLite takes any, PostgreSQL neither more nor a NUL."""
    text = text.replace("\0", "")
    return text if len(text) <= longest else f"{text[: longest - 4]} ..."


def _files(folder: Path) -> tuple[list[tuple[Path, str | None]], list[Path]]:
    """Files below ``folder`` with the artifact folder each goes to, and those above the size limit."""
    copied: list[tuple[Path, str | None]] = []
    too_large: list[Path] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        parent = path.parent.relative_to(folder).as_posix()
        if path.stat().st_size > FILE_LIMIT_BYTES:
            too_large.append(path)
        else:
            copied.append((path, None if parent == "." else parent))
    return copied, too_large
