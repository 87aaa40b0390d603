"""The runs of one study in MLflow: the study's run, the parent, and nested below it a run for each trial.

    experiment                   one per facility, project, ... (the study file says)
      parent run                 tag autotune.study_id; parameters = ranges; best_<metric> by trial number
        child run, trial 000     tags autotune.trial, mlflow.parentRunId; values, metrics, curve/<metric>
        child run, trial 001     ...

One thread writes the parent at a time, and each child. All but the moment at which the parent began comes from the
trial store, and MLflow's databases drop a point that they already hold, so writing anything twice changes nothing.
:mod:`autotune.tracking.writer` decides when this is called, :mod:`autotune.tracking.tags` names the tags, and
:mod:`autotune.tracking.trial_runs` writes the children.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from autotune.store.records import TrialRecord
from autotune.tracking import tags
from autotune.tracking.client import is_server, open_client, refresh_statistics
from autotune.tracking.limits import DATASET_DIGEST, DATASET_NAME, key, parameter_text, tag_text
from autotune.tracking.points import Incumbents, best_key, milliseconds, points, progress_points, trial_table
from autotune.tracking.study_facts import MeasuredData, StudyFacts
from autotune.tracking.trial_runs import TrialRuns

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run
    from mlflow.entities import Metric as Point

ParentStatus = Literal["FINISHED", "FAILED", "KILLED"]
PARENT_STATUS: Mapping[str, ParentStatus] = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
"""How a study ended -> status of its parent run."""

TABLE = "trials.json"
_PAGE = 1000


@dataclass(frozen=True)
class Destination:
    """The destination of a study's record, and the source of the files of its trials.

    Attributes:
        tracking_uri: any MLflow tracking URI.
        artifact_root: where a new experiment keeps its artifacts; not used where the URI is a server, which has its own
            place for them. None leaves it to MLflow (``mlruns`` where one stands).
        trial_folder: trial number -> folder whose files become the artifacts of the trial's run (may not exist).
    """

    tracking_uri: str
    artifact_root: Path | None
    trial_folder: Callable[[int], Path]


class StudyRuns:
    """The runs of one study. Every method may raise whatever MLflow raises.

    Attributes:
        parent_id: run id of the parent.
        children: the runs of the trials.
    """

    def __init__(
        self,
        facts: StudyFacts,
        destination: Destination,
        *,
        began: datetime | None = None,
        keeps_parent: bool = True,
    ) -> None:
        """Find the study's runs, or create the parent.

        Args:
            facts: the facts of the study, for the parent run.
            destination: where the runs are.
            began: when the study did, for a parent to be created; None for now.
            keeps_parent: whether to create the parent and to bring it up to date.

        Raises:
            LookupError: there is no parent, and another run of the study is to create it.
        """
        uri, root = destination.tracking_uri, destination.artifact_root
        self._facts, self._tracking_uri = facts, uri
        self._client = open_client(uri)
        location = None if root is None or is_server(uri) else root.resolve().as_uri()
        self._experiment = self._find_experiment(location)
        self._incumbents = Incumbents(facts.metric, facts.limits)
        self._steps: set[int] = set()  # numbers of the trials whose points the parent had when it was opened
        existing = self._find_parent()
        if existing is None and not keeps_parent:
            raise LookupError("the study's run is not in MLflow")
        parent = existing or self._create_parent(milliseconds(began))
        self.parent_id = str(parent.info.run_id)
        self.children = TrialRuns(self._client, parent, facts, destination.trial_folder)
        if existing is not None:
            self.children.adopt(self._search(f"tags.`{tags.PARENT}` = '{self.parent_id}'"))
            history = self._client.get_metric_history(self.parent_id, best_key(facts.metric))
            self._steps = {point.step for point in history}
        if keeps_parent:
            self._update_parent(parent)

    def mark_running(self) -> None:
        """Show the study as running (again)."""
        self._client.update_run(self.parent_id, status="RUNNING")

    def record_progress(self, trials: Mapping[int, TrialRecord]) -> None:
        """Log on the parent its curves by trial number, for every trial that has no point yet.

        Args:
            trials: by number, all that are known.
        """
        new: list[Point] = []
        for trial, best, moment in self._incumbents.advance(trials):
            if trial.number not in self._steps:
                new += progress_points(self._facts.metric, trial, best, moment)
        self._client.log_batch(self.parent_id, metrics=new)

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
        step = max(trials, default=0)
        end = max((milliseconds(trial.ended) for trial in trials.values() if trial.ended), default=milliseconds(None))
        numbers = [(name, value, step) for name, value in metrics.items()]
        self._client.log_batch(self.parent_id, metrics=points(numbers, end))
        for path in artifacts:
            self._client.log_artifact(self.parent_id, str(path))
        self._client.set_terminated(self.parent_id, status=status, end_time=end)
        refresh_statistics(self._tracking_uri)

    def _find_experiment(self, artifact_location: str | None) -> str:
        """Id of the experiment, created where missing."""
        from mlflow.exceptions import MlflowException

        name = self._facts.experiment
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            # Without the kind, MLflow's UI asks the user what sort of experiment this is.
            kind = {"mlflow.experimentKind": "custom_model_development"}
            try:
                return str(self._client.create_experiment(name, artifact_location, kind))
            except MlflowException:  # another study may have created it in between
                experiment = self._client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage == "deleted":
            raise RuntimeError(f"experiment '{name}' was deleted in MLflow; restore it there or name another")
        return str(experiment.experiment_id)

    def _find_parent(self) -> Run | None:
        """The parent run; None where there is none yet.

        Where two runs of the study that saw none made one each, the later one is deleted with its children.
        """
        parents = self._search(f"tags.`{tags.STUDY_ID}` = '{self._facts.study_id}'")
        for parent in sorted(parents, key=_age)[1:]:
            for run in (parent, *self._search(f"tags.`{tags.PARENT}` = '{parent.info.run_id}'")):
                self._client.delete_run(run.info.run_id)
        return min(parents, key=_age, default=None)

    def _create_parent(self, began: int) -> Run:
        return self._client.create_run(self._experiment, began, self._tags(), run_name=self._facts.name)

    def _update_parent(self, parent: Run) -> None:
        """Bring the parent's tags, parameters, data and study file up to date."""
        from mlflow.entities import Param, RunTag

        parameters = {key(name): parameter_text(text) for name, text in self._facts.parameters.items()}
        self._client.log_batch(
            self.parent_id,
            params=[Param(name, text) for name, text in parameters.items() if name not in parent.data.params],
            tags=[RunTag(key(name), tag_text(text)) for name, text in self._tags().items()],
        )
        if self._facts.data is not None:
            self._client.log_inputs(self.parent_id, [_dataset_input(self._facts.data)])
        self._client.log_text(self.parent_id, self._facts.study_text, "study.yaml")

    def _tags(self) -> dict[str, str]:
        tables = json.dumps([{"path": TABLE, "type": "table"}])
        own = {tags.STUDY_ID: self._facts.study_id, tags.LOGGED_TABLES: tables}
        return {**self._facts.tags, **own, **tags.units_of(self._facts.units)}

    def _search(self, condition: str) -> list[Run]:
        """All active runs of the experiment that meet ``condition``, oldest first."""
        runs: list[Run] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                condition,
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            runs.extend(page)
            token = page.token
            if not token:
                return runs


def _age(run: Run) -> tuple[int, str]:
    """Sorts the oldest run first."""
    return run.info.start_time, run.info.run_id


def _dataset_input(data: MeasuredData) -> DatasetInput:
    """The measurement as MLflow keeps it; its whole hash is in the source."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return DatasetInput(
        Dataset(
            name=data.name[:DATASET_NAME],
            digest=data.content_hash[:DATASET_DIGEST],
            source_type="autotune",
            source=json.dumps({"name": data.name, "content_hash": data.content_hash}),
            profile=json.dumps(dict(data.description)),
        ),
        [InputTag("mlflow.data.context", "tuning")],
    )
