"""Check a study in a process of limited time and memory: measurements can be larger than they look."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Semaphore

from autotune.errors import InputError, Problem
from autotune.files import write_whole
from autotune.service.board import Board, new_identifier
from autotune.service.intake import FILE, accept
from autotune.service.job_files import STUDY
from autotune.service.launcher import job_environment
from autotune.service.problems import Refused
from autotune.service.settings import ServiceSettings

COMMAND = ("-c", "from autotune.cli.main import main; main()")
SECONDS = 60
MEMORY = 8 * 10**9
_LONGEST = 20_000


def check(text: str, board: Board, at_once: Semaphore) -> tuple[str, str]:
    """Check a study; returns its name and what ``autotune check`` prints.

    Args:
        text: the study.
        settings: of the service.
        board: the queue of the service.
        at_once: allows for so many checks at once.

    Raises:
        InputError: it cannot be run here; with what is wrong.
        Refused: too many are being checked, or this one took too long.
    """
    settings, identifier = board.settings, new_identifier()
    accepted = accept(text, identifier, settings, board.study_of)
    if not at_once.acquire(timeout=10):
        raise Refused(503, "too many studies are being checked", headers={"Retry-After": "10"})
    folder = settings.job(identifier)
    try:
        folder.mkdir(parents=True)
        write_whole(folder / STUDY, accepted.text)
        if accepted.simulates:
            _printed("simulate", folder / STUDY, settings)
        return accepted.name, _printed("check", folder / STUDY, settings)
    finally:
        at_once.release()
        shutil.rmtree(folder, ignore_errors=True)


def _printed(what: str, study: Path, settings: ServiceSettings) -> str:
    command = [sys.executable, *COMMAND, what, study.name]
    with subprocess.Popen(
        command,
        cwd=study.parent,
        env=job_environment(settings) | {"COLUMNS": "120", "PYTHONSAFEPATH": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
        errors="replace",
    ) as process:
        _limit(process.pid)
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise Refused(503, f"checking this study took longer than {SECONDS} s") from None
    if process.returncode == 0:
        return out[:_LONGEST]
    folder = f"{study.parent}/"
    lines = [line.replace(folder, "") for line in err.strip().splitlines() if line.strip()]
    if process.returncode != 2 or not lines:
        lines = ["the study cannot be checked: reading its measurement takes more memory than is allowed, or failed"]
    raise InputError([Problem(FILE, line.removeprefix("Error: ")[:1000]) for line in lines])


def _limit(pid: int) -> None:
    """Limit a process that has just begun; where the system cannot, its time is limited alone."""
    if sys.platform != "linux":
        return
    with suppress(ProcessLookupError, PermissionError):
        resource.prlimit(pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
