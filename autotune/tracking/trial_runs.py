"""The runs of a study's trials in MLflow, nested below the run of the study: one for each trial.

A trial's status is written last, so a run that is still RUNNING was left half-written by a death and is completed in
place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autotune.store.records import TrialRecord
from autotune.tracking import tags
from autotune.tracking.client import one_line
from autotune.tracking.limits import key, parameter_text, tag_text
from autotune.tracking.points import ended_at, milliseconds, trial_points
from autotune.tracking.study_facts import StudyFacts

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FILE_LIMIT_BYTES = 50_000_000
"""A larger file stays in the trial's folder only, and a tag names it."""

_STATUS = {"finished": "FINISHED", "failed": "FAILED", "pruned": "KILLED", "interrupted": "KILLED"}
_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")  # because of what is written, not of who writes it or when


class TrialRuns:
    """The runs of one study's trials. Every method may raise whatever MLflow raises.

    Attributes:
        complete: numbers of the trials whose run is complete.
        written: the numbers among them that were written now.
        lacking: number -> run of each trial whose files are on another machine.
        refused: number -> why, of each trial that MLflow does not take.
    """

    def __init__(
        self, client: MlflowClient, parent: Run, facts: StudyFacts, trial_folder: Callable[[int], Path]
    ) -> None:
        """Touch nothing yet: :meth:`adopt` names the runs that are there.

        Args:
            client: of MLflow.
            parent: the study's run.
            facts: the facts of the study.
            trial_folder: trial number -> folder whose files become the artifacts of the trial's run (may not exist).
        """
        self._client, self._parent, self._facts, self._trial_folder = client, parent.info, facts, trial_folder
        self._unfinished: dict[int, Run] = {}
        self.complete: set[int] = set()
        self.written: set[int] = set()
        self.lacking: dict[int, Run] = {}
        self.refused: dict[int, str] = {}

    def adopt(self, runs: Sequence[Run]) -> None:
        """Sort the runs that MLflow holds into complete and unfinished; one that repeats a trial is deleted.

        A repetition comes about where a server created the run but its answer was lost on the way.
        """
        nested = [run for run in runs if tags.TRIAL in run.data.tags]
        for run in sorted(nested, key=lambda run: bool(run.info.status == "RUNNING")):
            number = int(run.data.tags[tags.TRIAL])
            if tags.FILES_MISSING in run.data.tags:
                self.lacking[number] = run
            if number in self.complete or number in self._unfinished:
                self._client.delete_run(run.info.run_id)
            elif run.info.status == "RUNNING":
                self._unfinished[number] = run
            else:
                self.complete.add(number)

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
            self._add_files(number)

    def _record_trial(self, trial: TrialRecord) -> None:
        """Create or complete a trial's run: one batch of data, its files, and its status last."""
        from mlflow.entities import Param, RunTag

        number, folder = trial.number, self._trial_folder(trial.number)
        lacking = trial.kept and not folder.is_dir()
        texts = self._tags(trial, lacking=lacking)
        if number not in self._unfinished:
            self._unfinished[number], texts = self._create(trial, texts), {}  # once is enough
        run = self._unfinished[number]
        parameters = [Param(key(name), parameter_text(str(value))) for name, value in trial.values.items()]
        self._client.log_batch(
            run.info.run_id,
            metrics=trial_points(self._facts, trial),
            params=parameters,
            tags=[RunTag(name, text) for name, text in texts.items()],
        )
        self._copy_files(run, folder)
        self._client.set_terminated(run.info.run_id, status=_STATUS[trial.state], end_time=ended_at(trial))
        del self._unfinished[number]
        self.complete.add(number)
        self.written.add(number)
        if lacking:
            self.lacking[number] = run

    def _tags(self, trial: TrialRecord, *, lacking: bool) -> dict[str, str]:
        texts = {
            tags.STATE: trial.state,
            tags.REASON: trial.reason,
            tags.LEVEL: str(trial.level) if trial.level else "",
            tags.FILES_MISSING: "true" if lacking else "",
        }
        return {name: tag_text(text) for name, text in texts.items() if text}

    def _create(self, trial: TrialRecord, texts: Mapping[str, str]) -> Run:
        first = {tags.PARENT: self._parent.run_id, tags.TRIAL: str(trial.number)}
        return self._client.create_run(
            self._parent.experiment_id,
            milliseconds(trial.started or trial.ended),
            {**first, **tags.units_of(self._facts.units), **texts},
            run_name=f"trial {trial.number:03d}",
        )

    def _add_files(self, number: int) -> None:
        """Add a trial's files to its run, where they are here."""
        folder = self._trial_folder(number)
        if folder.is_dir():
            run = self.lacking[number]
            self._copy_files(run, folder)
            self._client.delete_tag(run.info.run_id, tags.FILES_MISSING)
            del self.lacking[number]

    def _copy_files(self, run: Run, folder: Path) -> None:
        """Copy the files below a trial's folder, each into the artifact folder of its own name."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        files = sorted(path for path in folder.rglob("*") if path.is_file())
        too_large = [path for path in files if path.stat().st_size > FILE_LIMIT_BYTES]
        if len(files) > len(too_large):
            # The client's own log_artifact reads the whole run first, to learn where its files go.
            place = get_artifact_repository(run.info.artifact_uri, self._client.tracking_uri)
            for path in files:
                if path not in too_large:
                    into = path.parent.relative_to(folder).as_posix()
                    place.log_artifact(str(path), None if into == "." else into)  # type: ignore[no-untyped-call]
        if too_large:
            self._client.set_tag(run.info.run_id, tags.NOT_COPIED, tag_text(", ".join(map(str, too_large))))
