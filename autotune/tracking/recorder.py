"""The MLflow recorder: follows the trial store from a thread of its own, so that MLflow holds up no trial.

If MLflow is down or slow the study goes on; :attr:`RecorderReport.error` says so in one line, and
:func:`autotune.tracking.sync` writes what is missing at any later time.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from autotune.store.records import TrialRecord
from autotune.tracking.client import prepare_environment
from autotune.tracking.runs import Destination
from autotune.tracking.study_facts import StudyFacts
from autotune.tracking.writer import Closing, RecorderReport, Writer, explain

_GATHER_SECONDS = 1.0
"""Time from a trial's end to its record. Right after the end the study stores the trial and proposes the next one, and
two threads of Python hold each other up; and the parent run needs one batch in that time, not one for each trial."""


@dataclass(frozen=True)
class _Message:
    """Message to the thread: trials to write, trials of other runs, and whether to look at what MLflow holds first."""

    trials: Sequence[TrialRecord] = ()
    others: Sequence[TrialRecord] = ()
    look: bool = False
    closing: Closing | None = None


class Recorder:
    """Records a running study in MLflow. No method raises because of MLflow; only :meth:`finish` waits.

    Of several runs of a study at once, each has a recorder, which writes the trials of that run; the one whose run
    leads keeps the parent run, too. Trials may be given before the thread is started: they wait for it.
    """

    def __init__(
        self,
        facts: StudyFacts,
        destination: Destination,
        *,
        leads: Callable[[], bool] = lambda: True,
        opening: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        """Do nothing yet.

        Args:
            facts: the facts of the study, for the parent run.
            destination: where the record goes.
            leads: whether this run keeps the parent run now; one that does not must find it there. Called in the
                recorder's thread.
            opening: held while the parent run is looked for and made, so that no other run makes one too.
        """
        self._writer = Writer(facts, destination, leads, opening)
        self._messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="autotune-recorder", daemon=True)

    @property
    def run_id(self) -> str | None:
        """MLflow run id of the study's parent run; ``None`` until MLflow has answered."""
        return self._writer.report.parent_run_id

    @property
    def started(self) -> bool:
        """Whether :meth:`start` was called."""
        return self._thread.ident is not None

    def start(self, trials: Sequence[TrialRecord] = (), others: Sequence[TrialRecord] = ()) -> None:
        """Start the thread, which imports MLflow (a second) and may create its database (seconds).

        A thread that runs already looks again at what MLflow holds, since another run may have written there.

        Args:
            trials: trials to record where MLflow lacks them: those of earlier runs, and of runs that have died.
            others: those that another run records.
        """
        self._messages.put(_Message(tuple(trials), tuple(others), look=True))
        if not self.started:
            prepare_environment()
            self._thread.start()

    def submit(self, trial: TrialRecord) -> None:
        """Have a trial recorded that has ended in this run. The files in the trial's folder must be complete."""
        self._messages.put(_Message((trial,)))

    def learn(self, others: Sequence[TrialRecord]) -> None:
        """Take note of trials that another run records: the curves of the parent run need them."""
        self._messages.put(_Message(others=tuple(others)))

    def finish(
        self,
        closing: Closing,
        trials: Sequence[TrialRecord],
        others: Sequence[TrialRecord] = (),
        timeout: float = 60.0,
    ) -> RecorderReport:
        """Record whatever is missing, end the parent run and report.

        Args:
            closing: how the parent run ends.
            trials: trials to record where MLflow lacks them, beside those submitted before.
            others: trials that another run records.
            timeout: seconds to wait; the thread goes on after that for as long as the process lives.
        """
        if not self.started:
            self.start()
        self._messages.put(_Message(tuple(trials), tuple(others), look=bool(trials), closing=closing))
        in_time, report = self._ended.wait(timeout), self._writer.report
        return report if in_time or report.error else replace(report, error=explain(f"no answer within {timeout:g} s"))

    def _work(self) -> None:
        """Body of the thread: take all that waits, bring MLflow up to date, and wait again."""
        closing: Closing | None = None
        while closing is None:
            closing = self._take()
            self._writer.write(closing)
        if self._writer.report.error:
            self._writer.write(closing)
        self._ended.set()

    def _take(self) -> Closing | None:
        """Wait for a message and take those that come within the next moment too, in which a trial is proposed."""
        wait_until: float | None = None
        while True:
            try:
                timeout = None if wait_until is None else max(0.0, wait_until - time.monotonic())
                message = self._messages.get(timeout=timeout)
            except queue.Empty:
                return None
            self._writer.add(message.trials, message.others)
            if message.look:
                self._writer.look_again()
            if message.closing:
                return message.closing
            if wait_until is None:
                wait_until = time.monotonic() + (_GATHER_SECONDS if self._writer.is_open else 0.0)
