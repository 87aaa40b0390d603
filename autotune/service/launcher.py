"""Start, find and end the processes of studies on this machine.

A study's process leads a session of its own, so that it outlives the service. Every process that it starts inherits a
variable that names the study, and is found by it, whoever its parent is by then.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import psutil

from autotune.objective.environment import NEVER, minimal_environment
from autotune.service.event_log import EVENTS
from autotune.service.job_files import EXIT, LOG, PROCESS, is_running, kept
from autotune.service.jobs import Job
from autotune.service.settings import ServiceSettings

_OPERATORS = ("AUTOTUNE_*", "MLFLOW_*", "PG*")
"""Variables that a run needs, beside those that its workers get: where studies are kept and recorded, and how to log in
there. Its workers are not given the secrets among them."""
STUDY_OF = "AUTOTUNE_SERVICE_STUDY"
"""Variable with the folder of the study that a process works for."""
_SAME_START = 0.05
"""Seconds by which two readings of when a process began may differ."""


class Launcher(Protocol):
    """Where the processes of studies run."""

    def start(self, job: Job) -> dict[str, Any]:
        """Start a study's process; returns what the table is to keep of it."""

    def found(self, job: Job) -> dict[str, Any] | None:
        """What the table is to keep of a process that was started, but not noted; None where it is not there."""

    def alive(self, job: Job) -> bool:
        """Whether a study's process lives, or still waits to be started."""

    def tell_to_stop(self, job: Job) -> None:
        """Have it end in order, soon."""

    def kill(self, job: Job) -> None:
        """End it, and all that it has started, at once."""

    def left(self, job: Job) -> bool:
        """Whether something that it started is still there after its end."""

    def memory(self, job: Job) -> int:
        """Memory of its processes together, in bytes; 0 where that is limited elsewhere."""

    def final_reason(self, job: Job) -> str:
        """Why a process that is gone would end the same way again; empty where that is not known."""

    def leave(self) -> None:
        """Leave all processes to themselves: the service ends, and they go on."""


@dataclass
class LocalLauncher:
    """Runs studies as processes of this machine.

    Attributes:
        settings: of the service.
        command: starts a study's process; the study's folder comes behind it.
    """

    settings: ServiceSettings
    command: Sequence[str]

    def __post_init__(self) -> None:
        self._own: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, job: Job) -> dict[str, Any]:
        """See :class:`Launcher`."""
        folder = self.settings.job(job.id)
        for name in (EXIT, PROCESS):
            (folder / name).unlink(missing_ok=True)
        with (folder / EVENTS).open("ab") as events, (folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                [*self.command, str(folder)],
                cwd=folder,
                env=job_environment(self.settings) | {STUDY_OF: str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=events,
                stderr=log,
                start_new_session=True,
            )
        self._own[job.id] = process
        return {"pid": process.pid, "pid_started": _began(process.pid)}

    def found(self, job: Job) -> dict[str, Any] | None:
        """See :class:`Launcher`."""
        folder = self.settings.job(job.id)
        about = kept(folder, PROCESS) if is_running(folder) else None
        return None if about is None else {"pid": about["pid"], "pid_started": about["started"]}

    def alive(self, job: Job) -> bool:
        """See :class:`Launcher`."""
        own = self._own.get(job.id)
        if own is not None and own.pid == job.pid:
            if own.poll() is None:
                return True
            del self._own[job.id]
            return False
        if job.pid is None or job.pid_started is None:
            return False
        began = _began(job.pid)
        return began is not None and abs(began - job.pid_started) < _SAME_START

    def tell_to_stop(self, job: Job) -> None:
        """See :class:`Launcher`."""
        if job.pid is not None and self.alive(job):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(job.pid, signal.SIGTERM)

    def kill(self, job: Job) -> None:
        """See :class:`Launcher`."""
        for pid in self._processes(job):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def left(self, job: Job) -> bool:
        """See :class:`Launcher`."""
        return bool(self._processes(job))

    def memory(self, job: Job) -> int:
        """See :class:`Launcher`."""
        total = 0
        for pid in self._processes(job):
            with suppress(psutil.Error):
                total += psutil.Process(pid).memory_info().rss
        return total

    def final_reason(self, job: Job) -> str:
        """See :class:`Launcher`."""
        return ""

    def leave(self) -> None:
        """See :class:`Launcher`."""
        for process in self._own.values():
            if process.poll() is None:
                process.returncode = 0  # else Popen would complain, at its end, that the process has none
        self._own.clear()

    def _processes(self, job: Job) -> list[int]:
        """The processes of a study that are no zombies."""
        folder, members = str(self.settings.job(job.id)), []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(STUDY_OF) == folder and process.status() != psutil.STATUS_ZOMBIE:
                    members.append(process.pid)
        return members


def job_environment(settings: ServiceSettings) -> dict[str, str]:
    """The variables of a study's process."""
    given = minimal_environment(_OPERATORS) | {"AUTOTUNE_HOME": str(settings.home.folder)}
    if settings.home.storage:
        given[NEVER] = settings.home.storage
    if settings.roots:  # where records of measurements are looked for
        given.setdefault("AUTOTUNE_DATA", str(settings.roots[0]))
    return given


def local_command(module: str) -> list[str]:
    """The command that runs a module in this Python, with this process's own paths."""
    # -P: the folder where it starts holds what studies made, and no modules.
    return [sys.executable, "-P", "-m", module]


def _began(pid: int) -> float | None:
    """When a process began, in seconds since the epoch; None where there is none, or a zombie."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None
