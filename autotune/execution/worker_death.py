"""The death of a worker process: the reason it gives its trial, and whether the trial is at fault or is tried again.

A worker that was killed from outside (out of memory, an operator, a batch system) says nothing about the trial, which
is tried again (:mod:`autotune.execution.retries`). One that died of what its trial did fails that trial.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

from autotune.objective import Evaluation, Status

FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
"""Signals that a process does not send itself by mistake."""
_CRASH = re.compile(r"most recent call first\):\s*\n\s*File \"(.+)\", line (\d+) in (\w+)")


def killed_from_outside(code: int) -> bool:
    """Whether a worker with this exit code (as :attr:`subprocess.Popen.returncode`) was killed from outside."""
    return -code in FROM_OUTSIDE


def reason_of_death(code: int, log: str) -> str:
    """How a worker ended, in words, with what it printed last.

    Args:
        code: its exit code, as :attr:`subprocess.Popen.returncode`.
        log: the end of its log.
    """
    words = last_words(log)
    return how_it_ended(code) + (f": {words}" if words else "")


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"its worker process exited with code {code}"
    words = signal.strsignal(-code) or "unknown"
    return f"its worker process was killed by signal {-code} ({words[0].lower() + words[1:]})"


def last_words(log: str) -> str:
    """One line of a log's end: the place of the crash where ``faulthandler`` reported one, else the last lines."""
    if crash := _CRASH.search(log):
        return f"in {crash[3]} ({Path(crash[1]).name}:{crash[2]})"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return " | ".join(lines[-3:])[-300:]


def failed(reason: str, seconds: float) -> Evaluation:
    """The evaluation that a worker did not finish."""
    return Evaluation(Status.FAILED, reason=reason, seconds=seconds)
