"""Run a program in a working folder, and follow what it says of its progress."""

from __future__ import annotations

import contextlib
import ctypes
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import psutil

from autotune.objective import child_environment
from objectives.command.outputs import STREAMS

WORKING_FOLDER = "AUTOTUNE_WORKING_FOLDER"
"""Variable of the environment that tells a program, and what it starts, its folder."""
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 2.0
"""Time that a program has to end itself once it is asked to."""
_LONGEST_LINE = 65536
_SET_CHILD_SUBREAPER = 36
"""Of Linux's prctl."""


def run(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], hears: Callable[[str], bool] | None
) -> int | None:
    """Run until the program has ended; its output goes to files of the folder (:data:`STREAMS`).

    Args:
        arguments: the program and its arguments.
        folder: the working folder.
        environment: variables beside those that a worker is given (:func:`autotune.objective.child_environment`).
        hears: called with every line of its standard output; returns whether it shall go on. None for no one.

    Returns:
        The exit code, negative for a signal; None where it was stopped.

    Raises:
        OSError: it cannot be started.
    """
    out, err = (folder / STREAMS[name] for name in ("stdout", "stderr"))
    _adopt_orphans()
    with out.open("wb") as to_out, err.open("wb") as to_err:
        process = subprocess.Popen(
            list(arguments),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=to_out,
            stderr=to_err,
            env={**child_environment(), **environment, WORKING_FOLDER: str(folder)},
        )
    try:
        return process.wait() if hears is None else _followed(process, out, hears)
    finally:
        _end([member for member in psutil.Process().children(recursive=True) if _works_in(member, folder)])
        process.wait()


def _followed(process: subprocess.Popen[bytes], out: Path, hears: Callable[[str], bool]) -> int | None:
    """The exit code of a process whose lines are passed on; None as soon as it shall not go on."""
    with out.open("rb") as file:
        lines = _Lines(file)
        while True:
            try:
                code = process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                code = None
            heard = lines.new(ended=code is not None)
            goes_on = all(hears(line) for line in heard)
            if code is not None:  # what it wrote last is passed on, but to stop it is too late
                return code
            if not goes_on:
                return None


class _Lines:
    """The lines of a growing file, each once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._rest = file, b""

    def new(self, *, ended: bool) -> list[str]:
        """The lines that have come since; at the end the last one, too, even if it is not whole."""
        *whole, self._rest = (self._rest + self._file.read()).split(b"\n")
        if ended or len(self._rest) > _LONGEST_LINE:
            whole, self._rest = [*whole, self._rest], b""
        return [line[-_LONGEST_LINE:].decode("utf-8", errors="replace") for line in whole]


def _adopt_orphans() -> None:
    """Become the parent of what the program leaves behind, so that it can be ended, too (Linux)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _works_in(process: psutil.Process, folder: Path) -> bool:
    """Whether a process is the program of that folder, or was started by it."""
    try:
        return bool(process.environ().get(WORKING_FOLDER) == str(folder))
    except psutil.Error:
        return False


def _end(left: list[psutil.Process]) -> None:
    """End the program and all that it has started: first kindly."""
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for member in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                end(member)
        _, left = psutil.wait_procs(left, _GRACE_SECONDS)
        if not left:
            break
