"""Brings MLflow up to date with trials, in the caller's thread, for the recorder and for :func:`sync`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from autotune.store.records import TrialRecord
from autotune.tracking.client import one_line, prepare_environment, quiet_thread
from autotune.tracking.runs import Destination, ParentStatus, StudyRuns
from autotune.tracking.study_facts import StudyFacts


@dataclass(frozen=True)
class RecorderReport:
    """The outcome of recording.

    Attributes:
        parent_run_id: MLflow run id of the study; ``None`` where MLflow was never reached.
        recorded: trials written now.
        already_there: trials that MLflow held before.
        error: one line for the user where something is missing in MLflow; empty where nothing is.
        lacking: trials in MLflow whose files are not there, nor here: another machine has them.
    """

    parent_run_id: str | None
    recorded: int
    already_there: int
    error: str = ""
    lacking: int = 0


@dataclass(frozen=True)
class Closing:
    """How the parent run ends.

    Attributes:
        status: of the parent run; None leaves it to other runs of the study.
        metrics: the study's own numbers.
        artifacts: files to keep with the parent run.
    """

    status: ParentStatus | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    artifacts: Sequence[Path] = ()


class Writer:
    """Writes the trials that it has been given. An error of MLflow is not raised: :attr:`report` holds it.

    After a failure the next attempt first looks at what MLflow holds.

    Attributes:
        report: the outcome so far. Another thread may read it.
    """

    def __init__(
        self,
        facts: StudyFacts,
        destination: Destination,
        leads: Callable[[], bool] = lambda: True,
        opening: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        """Do nothing yet; the arguments are those of :class:`autotune.tracking.Recorder`."""
        self._facts, self._destination, self._leads, self._opening = facts, destination, leads, opening
        self._trials: dict[int, TrialRecord] = {}
        self._others: dict[int, TrialRecord] = {}
        self._written: set[int] = set()
        self._runs: StudyRuns | None = None
        self._began = datetime.now(UTC)
        self.report = RecorderReport(None, 0, 0)

    @property
    def is_open(self) -> bool:
        """Whether the next attempt can write at once."""
        return self._runs is not None

    def add(self, trials: Sequence[TrialRecord], others: Sequence[TrialRecord] = ()) -> None:
        """Take trials to write, and others that another run of the study writes."""
        self._trials.update({trial.number: trial for trial in trials})
        self._others.update({trial.number: trial for trial in others})

    def look_again(self) -> None:
        """Have the next attempt first look at what MLflow holds: another run may have written some of the trials."""
        self._runs = None

    def write(self, closing: Closing | None = None, *, table: bool = False) -> None:
        """Bring MLflow up to date.

        Args:
            closing: how the parent run ends; None while the study goes on.
            table: whether to write the table of all trials even where the parent run does not end.
        """
        leads = self._leads()
        try:
            with quiet_thread():
                runs = self._runs = self._runs or self._open(leads, shown_running=leads and closing is None)
                self._bring_up_to_date(runs, leads, closing, table=table)
        except Exception as failure:
            error, runs_now, self._runs = one_line(failure), self._runs, None
        else:
            error, runs_now = _refusals(runs.children.refused), runs
        if runs_now is not None:
            self._written |= runs_now.children.written
            self.report = replace(self.report, recorded=len(self._written), lacking=len(runs_now.children.lacking))
        self.report = replace(self.report, error=explain(error))

    def _bring_up_to_date(self, runs: StudyRuns, leads: bool, closing: Closing | None, *, table: bool) -> None:
        trials = {**self._others, **self._trials}
        runs.children.record(self._trials)
        if leads:
            runs.record_progress(trials)
        status = None if closing is None else closing.status
        if table or status is not None:
            runs.record_table(trials)
        if closing is not None and status is not None:
            runs.close(status, closing.metrics, closing.artifacts, trials)

    def _open(self, leads: bool, *, shown_running: bool) -> StudyRuns:
        """Find the study's runs, or make its parent where this run leads, while no other run of the study does so."""
        began = min((trial.started for trial in self._trials.values() if trial.started), default=self._began)
        with self._opening():
            runs = StudyRuns(self._facts, self._destination, began=began, keeps_parent=leads)
            if self.report.parent_run_id is None:
                self.report = replace(self.report, already_there=len(runs.children.complete))
            self.report = replace(self.report, parent_run_id=runs.parent_id)
            if shown_running:  # before another run of the study can end it
                runs.mark_running()
        return runs


def sync(
    facts: StudyFacts, trials: Sequence[TrialRecord], destination: Destination, closing: Closing | None = None
) -> RecorderReport:
    """Bring MLflow up to date with a study that is not running; waits, and raises nothing because of MLflow.

    Args:
        facts: the facts of the study, for the parent run.
        trials: every trial of the store.
        destination: where the record goes.
        closing: ends the parent run; None leaves its status alone.
    """
    prepare_environment()
    writer = Writer(facts, destination)
    writer.add(trials)
    writer.write(closing or Closing(None), table=True)
    return writer.report


def explain(error: str) -> str:
    """The line for the user; empty where there was no error."""
    if not error:
        return ""
    return f"MLflow lacks part of this study ({error}); no trial is lost: `autotune sync STUDY` records them"


def _refusals(refused: Mapping[int, str]) -> str:
    """The trials that MLflow refused, in one line; empty where there are none."""
    if not refused:
        return ""
    first = min(refused)
    return f"{len(refused)} trials refused, trial {first}: {refused[first]}"
