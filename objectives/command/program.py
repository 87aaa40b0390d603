"""Run a program in a working folder, and follow what it says of its progress."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import psutil

from objectives.command.outputs import STREAMS

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 2.0
"""Time that a program has to end itself once it is asked to."""
_LONGEST_LINE = 65536


def run(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], hears: Callable[[str], bool] | None
) -> int | None:
    """Run until the program has ended; its output goes to files of the folder (:data:`STREAMS`).

    Args:
        arguments: the program and its arguments.
        folder: the working folder.
        environment: variables beside those of this process.
        hears: called with every line of its standard output; returns whether it shall go on. None for no one.

    Returns:
        The exit code, negative for a signal; None where it was stopped.

    Raises:
        OSError: it cannot be started.
    """
    out, err = (folder / STREAMS[name] for name in ("stdout", "stderr"))
    with out.open("wb") as to_out, err.open("wb") as to_err:
        process = subprocess.Popen(
            list(arguments),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=to_out,
            stderr=to_err,
            env={**os.environ, **environment},
        )
    try:
        return process.wait() if hears is None else _followed(process, out, hears)
    finally:
        if process.poll() is None:
            _end(process)


def _followed(process: subprocess.Popen[bytes], out: Path, hears: Callable[[str], bool]) -> int | None:
    """The exit code of a process whose lines are passed on; None as soon as it shall not go on."""
    with out.open("rb") as file:
        lines = _Lines(file)
        while True:
            try:
                code = process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                code = None
            # What it wrote last is read before its end is reported.
            if not all(hears(line) for line in lines.new(ended=code is not None)):
                return None
            if code is not None:
                return code


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


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and all that it has started: first kindly."""
    try:
        top = psutil.Process(process.pid)
        family = [*top.children(recursive=True), top]
    except psutil.NoSuchProcess:
        family = []
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for member in family:
            try:
                end(member)
            except psutil.NoSuchProcess:
                continue
        _, family = psutil.wait_procs(family, _GRACE_SECONDS)
        if not family:
            break
    process.wait()
