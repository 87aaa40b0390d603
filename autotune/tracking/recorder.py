"""The MLflow recorder: follows the trial store from its own thread, so that MLflow holds up no trial.

:class:`Recorder` accompanies a running study; :func:`sync` brings MLflow up to date at any later time. Both
write through :class:`autotune.tracking.runs.StudyRuns`, which repeats nothing. If MLflow is down or slow the
study goes on; :attr:`RecorderReport.error` says so in one line, and the next call writes what is missing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from autotune.store.records import TrialRecord
from autotune.tracking.client import one_line
from autotune.tracking.points import StudyFacts
from autotune.tracking.runs import ParentStatus, StudyRuns

_GATHER_SECONDS = 1.0
"""Between the end of a trial and its record. Right after the end the study stores it and proposes the next one, and two
threads of Python hold each other up; and the parent run needs a batch each time, not for each trial."""


@dataclass(frozen=True)
class RecorderReport:
    """What became of the record.

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
class _Closing:
    """How the parent run ends; ``status`` is None where others go on with it."""

    status: ParentStatus | None
    metrics: Mapping[str, float]
    artifacts: Sequence[Path]


@dataclass(frozen=True)
class _Message:
    """What the thread is told: trials to write, others that are only to be known, whether to look what is there."""

    trials: Sequence[TrialRecord] = ()
    others: Sequence[TrialRecord] = ()
    look: bool = False
    closing: _Closing | None = None


class Recorder:
    """Records a running study in MLflow. No method raises because of MLflow; only :meth:`finish` waits.

    Of several runs of a study at once, each has a recorder, which writes the trials of that run; one of them leads, and
    keeps the parent run.
    """

    def __init__(
        self,
        facts: StudyFacts,
        *,
        tracking_uri: str,
        artifact_root: Path | None,
        trial_folder: Callable[[int], Path],
        leads: bool = True,
        opening: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        """Do nothing yet.

        Args:
            facts: what the parent run says.
            tracking_uri: any MLflow tracking URI.
            artifact_root: where a new experiment keeps its artifacts; not used where the URI is a server,
                which has its own place for them. ``None`` leaves it to MLflow (``mlruns`` where one stands).
            trial_folder: trial number -> folder whose files become the child's artifacts (may not exist).
            leads: whether it keeps the parent run; one that does not must find it there.
            opening: holds off who else may find no parent run, and make one.
        """
        self._facts, self._tracking_uri = facts, tracking_uri
        self._artifact_root, self._trial_folder = artifact_root, trial_folder
        self._messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._trials: dict[int, TrialRecord] = {}
        self._others: dict[int, TrialRecord] = {}
        self._told: set[int] = set()  # in the caller's thread
        self._leads, self._opening = leads, opening
        self._runs: StudyRuns | None = None
        self._run_id: str | None = None
        self._written: set[int] = set()
        self._already_there: int | None = None
        self._lacking = 0
        self._error = ""
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._began = datetime.now()

    @property
    def run_id(self) -> str | None:
        """MLflow run id of the study's parent run; ``None`` until MLflow has answered."""
        return self._run_id

    def start(self, trials: Sequence[TrialRecord] = (), others: Sequence[TrialRecord] = ()) -> None:
        """Start the thread, which imports MLflow (a second) and may create its database (seconds).

        Args:
            trials: those the store already holds when a study is resumed, recorded where MLflow lacks them.
            others: those that another run records.
        """
        prepare_environment()
        self._tell(trials, others, look=False)
        self._thread = threading.Thread(target=self._work, name="autotune-recorder", daemon=True)
        self._thread.start()

    def submit(self, trial: TrialRecord) -> None:
        """Have an ended trial recorded; returns at once. The files in the trial's folder must be complete."""
        self._tell((trial,), (), look=False)

    def lead(self, trials: Sequence[TrialRecord], others: Sequence[TrialRecord]) -> None:
        """Keep the parent run from now on, and record trials whose run has died; returns at once.

        Args:
            trials: those that no other run records; some of them may have been, by a run that has died since.
            others: those that another run records.
        """
        self._leads = True
        self._tell(trials, others, look=bool(trials))

    def finish(
        self,
        status: ParentStatus | None,
        summary_metrics: Mapping[str, float],
        artifacts: Sequence[Path],
        trials: Sequence[TrialRecord],
        timeout: float = 60.0,
        others: Sequence[TrialRecord] = (),
    ) -> RecorderReport:
        """Record whatever is missing, end the parent run and report.

        Args:
            status: of the parent run; None leaves it to other runs of the study.
            summary_metrics: the study's own numbers.
            artifacts: files to keep with the parent run.
            trials: every trial of the store, but for ``others``.
            timeout: seconds to wait; the thread goes on after that for as long as the process lives.
            others: trials that another run records.
        """
        if self._thread is None:
            self.start()
        foreign = any(trial.number not in self._told for trial in trials)
        self._tell(trials, others, look=foreign, closing=_Closing(status, summary_metrics, tuple(artifacts)))
        in_time = self._ended.wait(timeout)
        error = self._error or ("" if in_time else f"no answer within {timeout:g} s")
        return RecorderReport(
            self._run_id, len(self._written), self._already_there or 0, _explain(error), self._lacking
        )

    def _tell(
        self,
        trials: Sequence[TrialRecord],
        others: Sequence[TrialRecord],
        *,
        look: bool,
        closing: _Closing | None = None,
    ) -> None:
        self._told.update(trial.number for trial in trials)
        self._messages.put(_Message(tuple(trials), tuple(others), look, closing))

    def _work(self) -> None:
        """Body of the thread: take all that waits, bring MLflow up to date, and wait again."""
        closing: _Closing | None = None
        while closing is None:
            closing = self._take()
            self._attempt(closing)
        if self._error:
            self._attempt(closing)
        self._ended.set()

    def _take(self) -> _Closing | None:
        """Wait for a message and take those that come within the next moment too, in which a trial is proposed."""
        wait_until: float | None = None
        while True:
            try:
                timeout = None if wait_until is None else max(0.0, wait_until - time.monotonic())
                message = self._messages.get(timeout=timeout)
            except queue.Empty:
                return None
            self._trials.update({trial.number: trial for trial in message.trials})
            self._others.update({trial.number: trial for trial in message.others})
            if message.look:
                self._runs = None
            if message.closing:
                return message.closing
            if wait_until is None:
                wait_until = time.monotonic() + (_GATHER_SECONDS if self._runs is not None else 0.0)

    def _attempt(self, closing: _Closing | None) -> None:
        """Bring MLflow up to date. After a failure the next attempt first looks what is there."""
        known = {**self._others, **self._trials}
        try:
            with quiet_thread():
                runs = self._runs = self._runs or self._open(ends=closing is not None)
                runs.record(self._trials)
                if self._leads:
                    runs.record_progress(known)
                if closing and closing.status is not None:
                    runs.record_table(known)
                    runs.close(closing.status, closing.metrics, closing.artifacts, known)
            self._error = _refusals(runs)
        except Exception as error:
            self._error, failed = one_line(error), True
        else:
            failed = False
        if self._runs is not None:
            self._written |= self._runs.written
            self._lacking = len(self._runs.lacking)
        if failed:
            self._runs = None

    def _open(self, *, ends: bool) -> StudyRuns:
        """Find or create the study's runs; not shown as running by one that ``ends``: another may have ended it."""
        with self._opening():
            runs = StudyRuns(
                self._facts,
                tracking_uri=self._tracking_uri,
                artifact_root=self._artifact_root,
                trial_folder=self._trial_folder,
                began=_first_start(self._trials) or self._began,
                keeps_parent=self._leads,
            )
        self._run_id = runs.parent_id
        if self._already_there is None:
            self._already_there = len(runs.complete)
        if self._leads and not ends:
            runs.mark_running()
        return runs


def sync(
    facts: StudyFacts,
    trials: Sequence[TrialRecord],
    *,
    tracking_uri: str,
    artifact_root: Path | None,
    trial_folder: Callable[[int], Path],
    status: ParentStatus | None = None,
    summary_metrics: Mapping[str, float] | None = None,
    artifacts: Sequence[Path] = (),
) -> RecorderReport:
    """Bring MLflow up to date with a study that is not running; waits, and raises nothing because of MLflow.

    Args:
        facts, tracking_uri, artifact_root, trial_folder: as for :class:`Recorder`.
        trials: every trial of the store.
        status: ends the parent run with this status; ``None`` leaves its status alone.
        summary_metrics, artifacts: the study's own numbers and files, written when the parent run ends.
    """
    prepare_environment()
    runs: StudyRuns | None = None
    already_there, error = 0, ""
    known = {trial.number: trial for trial in trials}
    try:
        with quiet_thread():
            runs = StudyRuns(
                facts,
                tracking_uri=tracking_uri,
                artifact_root=artifact_root,
                trial_folder=trial_folder,
                began=_first_start(known),
            )
            already_there = len(runs.complete)
            runs.record(known)
            runs.record_progress(known)
            runs.record_table(known)
            if status is not None:
                runs.close(status, summary_metrics or {}, artifacts, known)
        error = _refusals(runs)
    except Exception as failure:
        error = one_line(failure)
    if runs is None:
        return RecorderReport(None, 0, 0, _explain(error))
    return RecorderReport(runs.parent_id, len(runs.written), already_there, _explain(error), len(runs.lacking))


def _refusals(runs: StudyRuns) -> str:
    """What MLflow did not take, in one line; empty where it took all."""
    if not runs.refused:
        return ""
    first = min(runs.refused)
    return f"{len(runs.refused)} trials refused, trial {first}: {runs.refused[first]}"


def prepare_environment() -> None:
    """Set MLflow's environment variables where the user has not.

    Instruments often have no outside network, so MLflow's usage telemetry stays off. MLflow's own patience
    with a silent server is several minutes, and it prints links to runs in the middle of a progress line.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")


@contextlib.contextmanager
def quiet_thread() -> Iterator[None]:
    """Keep what this thread logs through MLflow, Alembic and urllib3 off the terminal.

    Creating the database and retrying a server print dozens of lines, tracebacks among them; a failure
    reaches the user as one line. Other threads, and handlers on the root logger, are not touched.
    """
    import mlflow  # noqa: F401  (installs its log handlers)

    this_thread = threading.get_ident()

    def from_elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != this_thread

    mutes: list[logging.Filterer] = [logging.getLogger("urllib3.connectionpool")]
    for name in ("mlflow", "alembic"):
        mutes.extend(logging.getLogger(name).handlers)
    for mute in mutes:
        mute.addFilter(from_elsewhere)
    try:
        yield
    finally:
        for mute in mutes:
            mute.removeFilter(from_elsewhere)


def _first_start(trials: Mapping[int, TrialRecord]) -> datetime | None:
    return min((trial.started for trial in trials.values() if trial.started), default=None)


def _explain(error: str) -> str:
    """The line for the user; empty where there was no error."""
    if not error:
        return ""
    return f"MLflow lacks part of this study ({error}); no trial is lost: `autotune sync STUDY` records them"
