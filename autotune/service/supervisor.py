"""Moves the studies of the queue on: starts them, watches their processes, ends them, and queues lost ones again.

All that it knows is in the table and in the studies' folders, so that a service that was killed goes on where it was:
a process that lives is adopted by its number and the time at which it began, and one that has ended has left its exit
code. A process that is gone without one was lost.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from autotune.errors import INTERRUPTED
from autotune.service.board import Board
from autotune.service.job_files import EXIT, PROCESS, RESULT, is_running, kept, last_words
from autotune.service.jobs import ACTIVE, Job, State
from autotune.service.launcher import Launcher

GRACE = 8.0
"""Seconds between telling a process to stop and killing it."""
_LOOK = 0.2
_LIMITS = 2.0
"""Seconds between two looks at how much memory processes have."""
_UNNOTED = 10.0
"""Seconds after which a process that was being started when the service was killed is taken not to have been."""
_ENDS: dict[int, State] = {0: "finished", 2: "rejected", 3: "failed", 4: "failed", INTERRUPTED: "interrupted"}
_log = logging.getLogger(__name__)


class Supervisor(threading.Thread):
    """The thread that moves studies on until :meth:`stop` is called. Studies that run then go on.

    Args:
        board: the studies.
        launcher: where their processes run.
    """

    def __init__(self, board: Board, launcher: Launcher) -> None:
        super().__init__(name="supervisor", daemon=True)
        self._board, self._launcher = board, launcher
        self._limits, self._ending = board.settings.limits, threading.Event()
        self._looked: dict[str, float] = {}
        self._told: set[str] = set()
        self._since = time.time()
        self.trouble = ""
        """What keeps it from going on; empty where nothing does."""

    def run(self) -> None:
        """Move studies on."""
        wait = _LOOK
        while not self._ending.is_set():
            try:
                self.step()
            except Exception as error:  # such as a database that is restarted: nothing is lost, it is tried again
                self._say(f"{type(error).__name__}: {error}".partition("\n")[0])
                wait = min(2 * wait, 5.0)
            else:
                self._say("")
                wait = _LOOK
            self._board.changed.wait(wait)
            self._board.changed.clear()

    def stop(self) -> None:
        """End the thread; no process of a study is touched."""
        self._ending.set()
        self._board.changed.set()
        self.join()

    def step(self) -> None:
        """Look at every study once."""
        self._board.say_rest()
        for job in self._board.all(ACTIVE):
            self._watch(job)
        running = self._board.all(ACTIVE)
        for job in self._board.waiting():
            if len(running) >= self._limits.parallel:
                break
            if sum(other.owner == job.owner for other in running) < self._limits.parallel_each:
                running.append(self._start(job))

    def _start(self, job: Job) -> Job:
        with self._board.lock:
            job = self._board.get(job.id) or job
            if job.state != "queued":  # cancelled meanwhile
                return job
            job = self._board.change(job, "starting", attempts=job.attempts + 1, started=None, ended=None)
        try:
            about = self._launcher.start(job)
        except OSError as error:
            _log.error("study %s cannot be started: %s", job.id, error)
            return self._lost(job, f"its process cannot be started: {error.strerror or error}")
        return self._board.has_started(job, **about)

    def _watch(self, job: Job) -> None:
        """Look at a study whose process was started."""
        if job.pid is None and job.slurm is None:
            self._find(job)
        elif self._launcher.alive(job):
            if job.state == "starting" and kept(self._board.settings.job(job.id), PROCESS):
                job = self._board.has_started(job)
            self._hold_to_limits(job)
            if job.state == "cancelling":
                self._end(job)
        else:
            self._launcher.kill(job)  # what it has left
            if not self._launcher.left(job):
                self._conclude(job)

    def _find(self, job: Job) -> None:
        """The service was killed between starting a process and noting it."""
        about = self._launcher.found(job)
        if about is not None:
            self._board.has_started(job, **about)
        elif not is_running(self._board.settings.job(job.id)) and time.time() - self._since > _UNNOTED:
            self._conclude(job)

    def _end(self, job: Job) -> None:
        if job.id not in self._told:
            self._told.add(job.id)
            self._launcher.tell_to_stop(job)
        elif job.stop_at is not None and time.time() - job.stop_at > GRACE:
            self._launcher.kill(job)

    def _hold_to_limits(self, job: Job) -> None:
        """Tell a process to stop that takes too long or too much."""
        now = time.time()
        if job.state == "cancelling" or now - self._looked.get(job.id, 0.0) < _LIMITS:
            return
        self._looked[job.id] = now
        seconds, memory = self._limits.seconds, self._limits.memory
        if seconds is not None and job.pid_started is not None and now - job.pid_started > seconds:
            self._board.cancel(job, now, f"it took longer than the {seconds:g} s that a study may take here", "failed")
        elif memory is not None and (used := self._launcher.memory(job)) > memory:
            reason = f"it took {used / 1e9:.2f} GB of the {memory / 1e9:.2f} GB of memory that a study may take here"
            self._board.cancel(job, now, reason, "failed")

    def _conclude(self, job: Job) -> None:
        """The process of a study is gone, and all that it had started."""
        folder = self._board.settings.job(job.id)
        about = self._launcher.found(job)
        if about is not None:  # another process has the study, which the one that was started left to it
            self._board.note(job, **about)
            return
        self._told.discard(job.id)
        self._looked.pop(job.id, None)
        with self._board.lock:
            self._end_state(self._board.get(job.id) or job, folder)

    def _end_state(self, job: Job, folder: Path) -> None:
        """Bring a study whose process is gone into the state that follows."""
        code = (kept(folder, EXIT) or {}).get("code")
        if code == 0:
            self._board.change(job, "finished", (kept(folder, RESULT) or {}).get("reason", ""))
        elif job.state == "cancelling":
            self._board.change(job, job.stop_for or "cancelled", job.reason)
        elif code is None and (reason := self._launcher.final_reason(job)):
            self._board.change(job, "failed", reason)
        elif code is None:
            self._lost(job, "its process was lost")
        else:
            state = _ENDS.get(code, "failed")
            words = last_words(folder) if state != "interrupted" else "its process was told to stop from outside"
            self._board.change(job, state, words or f"its process ended with exit code {code}")

    def _lost(self, job: Job, reason: str) -> Job:
        """Queue a study again whose process was lost, before those that were submitted later."""
        if job.lost >= self._limits.lost:
            return self._board.change(job, "failed", f"{reason}, {job.lost + 1} times", lost=job.lost + 1)
        again = f"{reason}; it is queued again"
        return self._board.change(job, "queued", again, lost=job.lost + 1, pid=None, pid_started=None, slurm=None)

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            (_log.warning if trouble else _log.info)("supervisor: %s", trouble or "goes on")
