"""Run the studies of a service as jobs of SLURM, one for each. The home must be on a disk that all its nodes see."""

from __future__ import annotations

import math
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from autotune.errors import AutotuneError, InputError, Problem
from autotune.service.event_log import EVENTS
from autotune.service.job_files import EXIT, LOG, PROCESS
from autotune.service.jobs import Job
from autotune.service.launcher import STUDY_OF, job_environment
from autotune.service.settings import ServiceSettings

_SECONDS = 30.0
_LOOK = 2.0
"""Seconds for which a state is believed."""
_LIMITS = {
    "TIMEOUT": "it took longer than its job of SLURM may",
    "DEADLINE": "it could not end before the deadline of its job of SLURM",
    "OUT_OF_MEMORY": "it took more memory than its job of SLURM may",
}
_GONE = {"", "BOOT_FAIL", "CANCELLED", "COMPLETED", "FAILED", "NODE_FAIL", "PREEMPTED", *_LIMITS}
"""States of a job that is over; SLURM forgets one after some minutes."""


@dataclass
class SlurmLauncher:
    """Runs studies as jobs of SLURM; see :class:`autotune.service.launcher.Launcher`.

    Attributes:
        settings: of the service.
        command: starts a study's process; the study's folder comes behind it.
    """

    settings: ServiceSettings
    command: Sequence[str]
    _states: dict[str, str] = field(default_factory=dict)
    _asked: float = -math.inf

    def start(self, job: Job) -> dict[str, Any]:
        """Submit the job; it waits for its turn in SLURM."""
        folder = self.settings.job(job.id)
        for name in (EXIT, PROCESS):
            (folder / name).unlink(missing_ok=True)
        script = f"#!/bin/sh\nexec {shlex.join([*self.command, str(folder)])}\n"
        options = [
            "--parsable",
            f"--job-name={_name(job)}",
            f"--output={folder / EVENTS}",
            f"--error={folder / LOG}",
            "--open-mode=append",
            f"--chdir={folder}",
            "--export=ALL",  # of the environment that sbatch is given here
            "--no-requeue",  # the service does that, and counts it
            *self._limits(),
            *self.settings.slurm_options,
        ]
        printed = _run(["sbatch", *options], job_environment(self.settings) | {STUDY_OF: str(folder)}, script)
        return {"slurm": printed.strip().partition(";")[0]}

    def found(self, job: Job) -> dict[str, Any] | None:
        """The job of this name that waits or runs."""
        numbers = _run(["squeue", "--noheader", "--format=%i", f"--name={_name(job)}", "--me"]).split()
        return {"slurm": numbers[-1]} if numbers else None

    def alive(self, job: Job) -> bool:
        """Whether the job waits or runs."""
        return self._state(job) not in _GONE

    def tell_to_stop(self, job: Job) -> None:
        """Send SIGTERM to the process, or take a job that waits out of SLURM's queue."""
        if job.slurm is None:
            return
        if self._state(job) == "PENDING":
            _run(["scancel", job.slurm])
        else:
            _run(["scancel", "--signal=TERM", "--batch", job.slurm])

    def kill(self, job: Job) -> None:
        """Have SLURM end the job and all its processes."""
        if job.slurm is not None and self.alive(job):
            _run(["scancel", job.slurm])

    def left(self, job: Job) -> bool:
        """Whether the job is still ending."""
        return self.alive(job)

    def final_reason(self, job: Job) -> str:
        """What limit of SLURM ended the job; empty for none."""
        return _LIMITS.get(self._state(job), "")

    def _limits(self) -> list[str]:
        """The service's limits as options of a job."""
        seconds, memory = self.settings.limits.seconds, self.settings.limits.memory
        options = [] if seconds is None else [f"--time={math.ceil(seconds / 60)}"]
        return options + ([] if memory is None else [f"--mem={math.ceil(memory / 2**20)}M"])

    def memory(self, job: Job) -> int:
        """Return 0: SLURM limits what a job may have."""
        return 0

    def leave(self) -> None:
        """Do nothing: SLURM has the jobs."""

    def _state(self, job: Job) -> str:
        """The job's state in SLURM's words; empty where it knows none of this number.

        One question for all jobs, now and then: its controller serves the whole cluster.
        """
        if job.slurm is None:
            return ""
        if job.slurm not in self._states or time.monotonic() - self._asked > _LOOK:
            printed = _run(["squeue", "--noheader", "--me", "--states=all", "--format=%i %T"])
            self._states = dict(line.split(maxsplit=1) for line in printed.split("\n") if line.strip())
            self._asked = time.monotonic()
        return self._states.get(job.slurm, "").strip()


def require_slurm() -> None:
    """See that SLURM's commands are here and its controller answers.

    Raises:
        InputError: they are not, or it does not.
    """
    try:
        _run(["squeue", "--noheader", "--me"])
    except AutotuneError as error:
        raise InputError(Problem("--launcher slurm", str(error), "run the service where sbatch can be used")) from error


def _name(job: Job) -> str:
    return f"autotune-{job.id}"


def _run(command: list[str], environment: dict[str, str] | None = None, text: str = "") -> str:
    """What a command of SLURM prints.

    Raises:
        AutotuneError: it is not installed, fails, or does not end; what it says is in the message.
    """
    try:
        done = subprocess.run(
            command, env=environment, input=text, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise AutotuneError(Problem(command[0], "is not installed")) from error
    except subprocess.TimeoutExpired as error:
        raise AutotuneError(Problem(command[0], f"has not answered for {_SECONDS:g} s")) from error
    if done.returncode:
        raise AutotuneError(Problem(command[0], done.stderr.strip()[:500] or f"exit code {done.returncode}"))
    return done.stdout
