"""The MLflow runs of one study: a parent run, and a nested child run per trial. One thread writes at a time.

    experiment                   one per facility, project, ... (the study file says)
      parent run                 tag autotune.study_id; parameters = ranges; best_<metric> by trial number
        child run, trial 000     tags autotune.trial, mlflow.parentRunId; values, metrics, curve/<metric>
        child run, trial 001     ...

A child's status is written last, so a child that is still RUNNING was left half-written by a death and is
completed in place. Timestamps come from the trial store, and MLflow drops a point that it already holds, so
writing anything twice changes nothing. :mod:`autotune.tracking.recorder` decides when this is called.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from autotune.sqlite import first_touch, sqlite_path
from autotune.store import TrialRecord
from autotune.tracking.points import (
    StudyFacts,
    incumbent_curve,
    key,
    milliseconds,
    trial_points,
    trial_table,
)

if TYPE_CHECKING:
    from mlflow.entities import Run

ParentStatus = Literal["FINISHED", "FAILED", "KILLED"]
PARENT_STATUS: Mapping[str, ParentStatus] = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
"""How a study ended -> status of its parent run."""

STUDY_ID, TRIAL, STATE, REASON, NOT_COPIED = (
    f"autotune.{name}" for name in ("study_id", "trial", "state", "reason", "not_copied")
)
PARENT = "mlflow.parentRunId"
TABLE = "trials.json"
FILE_LIMIT_BYTES = 50_000_000
"""A larger file stays in the trial's folder only, and the tag ``autotune.not_copied`` names it."""

_CHILD_STATUS = {"finished": "FINISHED", "failed": "FAILED", "pruned": "KILLED", "interrupted": "KILLED"}
_PAGE = 1000


class StudyRuns:
    """The runs of one study. Every method may raise whatever MLflow raises.

    Attributes:
        parent_id: run id of the parent.
        complete: numbers of the trials whose child run is complete.
    """

    def __init__(
        self,
        facts: StudyFacts,
        *,
        tracking_uri: str,
        artifact_root: Path | None,
        trial_folder: Callable[[int], Path],
    ) -> None:
        from mlflow import MlflowClient

        self._facts, self._trial_folder, self._database = facts, trial_folder, sqlite_path(tracking_uri)
        with first_touch(self._database):
            self._client = MlflowClient(tracking_uri=tracking_uri)
        remote = urlsplit(tracking_uri).scheme in ("http", "https", "databricks", "databricks-uc")
        location = None if remote or artifact_root is None else artifact_root.resolve().as_uri()
        self._experiment = self._find_experiment(location)
        self._unfinished: dict[int, str] = {}
        self._incumbent_steps: set[int] = set()
        self.complete: set[int] = set()
        self.parent_id = self._open_parent()

    def mark_running(self) -> None:
        """Show the study as running (again)."""
        self._client.update_run(self.parent_id, status="RUNNING")

    def record(self, trials: Iterable[TrialRecord]) -> None:
        """Write the ended trials that MLflow lacks, then the incumbent's curve on the parent."""
        known = sorted(trials, key=lambda trial: trial.number)
        for trial in known:
            if trial.state != "running" and trial.number not in self.complete:
                self._record_trial(trial)
        self._record_incumbent(known)

    def record_table(self, trials: Iterable[TrialRecord]) -> None:
        """Log the table of all trials on the parent, in the form that the MLflow UI shows as a table."""
        table = trial_table(self._facts, sorted(trials, key=lambda trial: trial.number))
        self._client.log_dict(self.parent_id, table, TABLE)

    def close(self, status: ParentStatus, metrics: Mapping[str, float], artifacts: Sequence[Path]) -> None:
        """Log the study's own metrics and files, and end the parent run."""
        from mlflow.entities import Metric as Point

        now = milliseconds(None)
        points = [Point(key(name), value, now, 0) for name, value in metrics.items() if math.isfinite(value)]
        self._client.log_batch(self.parent_id, metrics=points)
        for path in artifacts:
            self._client.log_artifact(self.parent_id, str(path))
        self._client.set_terminated(self.parent_id, status=status, end_time=now)
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

    def _open_parent(self) -> str:
        """Find or create the parent run and bring its tags and parameters up to date."""
        from mlflow.entities import Param, RunTag

        tags = {**self._facts.tags, STUDY_ID: self._facts.study_id, **self._unit_tags()}
        tags["mlflow.loggedArtifacts"] = f'[{{"path": "{TABLE}", "type": "table"}}]'
        found = self._search(f"tags.`{STUDY_ID}` = '{self._facts.study_id}'")
        if found:
            parent = found[0]
            self._find_children(parent.info.run_id)
            history = self._client.get_metric_history(parent.info.run_id, self._incumbent_key())
            self._incumbent_steps = {point.step for point in history}
        else:
            parent = self._client.create_run(self._experiment, tags=tags, run_name=self._facts.name)
        run_id = str(parent.info.run_id)
        parameters = {key(name): text for name, text in self._facts.parameters.items()}
        self._client.log_batch(
            run_id,
            params=[Param(name, text) for name, text in parameters.items() if name not in parent.data.params],
            tags=[RunTag(key(name), text) for name, text in tags.items()],
        )
        self._client.log_text(run_id, self._facts.study_text, "study.yaml")
        return run_id

    def _find_children(self, parent_id: str) -> None:
        """Sort the children into complete and unfinished; one that repeats a trial is deleted.

        A repetition comes about where a server created the run but its answer was lost on the way.
        """
        found = [run for run in self._search(f"tags.`{PARENT}` = '{parent_id}'") if TRIAL in run.data.tags]
        for run in sorted(found, key=lambda run: bool(run.info.status == "RUNNING")):
            number = int(run.data.tags[TRIAL])
            if number in self.complete or number in self._unfinished:
                self._client.delete_run(run.info.run_id)
            elif run.info.status == "RUNNING":
                self._unfinished[number] = run.info.run_id
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
        if number not in self._unfinished:
            tags = {PARENT: self.parent_id, TRIAL: str(number), STATE: trial.state, **self._unit_tags()}
            started = milliseconds(trial.started or trial.ended)
            run = self._client.create_run(self._experiment, started, tags, run_name=f"trial {number:03d}")
            self._unfinished[number] = run.info.run_id
        run_id = self._unfinished[number]
        files, too_large = _files(self._trial_folder(number))
        tags = {STATE: trial.state, REASON: trial.reason, NOT_COPIED: ", ".join(map(str, too_large))}
        self._client.log_batch(
            run_id,
            metrics=trial_points(self._facts, trial, ended),
            params=[Param(key(name), str(value)) for name, value in trial.values.items()],
            tags=[RunTag(name, text) for name, text in tags.items() if text],
        )
        for path, folder in files:
            self._client.log_artifact(run_id, str(path), folder)
        self._client.set_terminated(run_id, status=_CHILD_STATUS[trial.state], end_time=ended)
        del self._unfinished[number]
        self.complete.add(number)

    def _record_incumbent(self, trials: Sequence[TrialRecord]) -> None:
        """Log the best metric so far at the number of every finished trial that has no point yet.

        A trial waits until all earlier ones have ended: parallel trials give the same curve in any order.
        """
        from mlflow.entities import Metric as Point

        points = [
            Point(self._incumbent_key(), value, moment, number)
            for number, value, moment in incumbent_curve(self._facts.metric, trials, self._facts.limits)
            if number not in self._incumbent_steps
        ]
        self._client.log_batch(self.parent_id, metrics=points)
        self._incumbent_steps |= {point.step for point in points}

    def _refresh_statistics(self) -> None:
        """ANALYZE, without which SQLite takes seconds to sort thousands of runs by a metric in the UI."""
        if self._database is not None:
            # Only a speed-up: a database that someone else holds locked just goes without.
            with (
                contextlib.suppress(sqlite3.OperationalError),
                contextlib.closing(sqlite3.connect(self._database, timeout=5)) as connection,
            ):
                connection.execute("ANALYZE")
                connection.commit()

    def _unit_tags(self) -> dict[str, str]:
        return {key(f"unit.{name}"): unit for name, unit in self._facts.units.items()}

    def _incumbent_key(self) -> str:
        return key(f"best_{self._facts.metric.name}")


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
