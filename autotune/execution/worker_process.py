"""One worker process as the run sees it: started, sent messages, measured, killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotune.execution.worker_messages import Subject, line_of, message_of

_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
start = sys.argv[2]
requests, answers, life = map(int, sys.argv[3:])
from autotune.execution.orphan_guard import start_guard
guard = start_guard(life)
from autotune.execution.worker_main import main
main(requests, answers, guard, start)
"""
_LOG_BYTES = 20_000  # so much of the log's end is looked at


class Garbled(Exception):
    """Something that is no message came from a worker, and perhaps instead of one."""


class WorkerProcess:
    """A worker process. It finds modules where this process finds them, and what it prints goes to a log.

    Attributes:
        start: random name of this start, which every message names.
        answers: file descriptor that becomes readable when the worker has said something.
    """

    def __init__(self, log: Path, environment: Mapping[str, str]) -> None:
        """Start the process.

        Args:
            log: file that everything the process prints is appended to.
            environment: all its environment variables
                (:func:`autotune.execution.worker_environment.worker_environment`).
        """
        self.start = uuid.uuid4().hex
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        requests, self._requests = os.pipe()
        self.answers, answers = os.pipe()
        life, self._life = os.pipe()
        path = json.dumps([str(Path(folder).absolute()) for folder in sys.path])
        with log.open("ab") as printed:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, path, self.start, str(requests), str(answers), str(life)],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                env=dict(environment),
                pass_fds=(requests, answers, life),
                start_new_session=True,  # Ctrl-C in the terminal does not reach it; and all that it starts can be ended
            )
        for descriptor in (requests, answers, life):
            os.close(descriptor)
        os.set_blocking(self.answers, False)
        self._unread = b""
        self._log_start = 0

    def send(self, subject: Subject, message: Mapping[str, Any]) -> None:
        """Send a message. The death of the process shows only when its answer is waited for."""
        rest = line_of(subject, message)
        with contextlib.suppress(BrokenPipeError):
            while rest:
                rest = rest[os.write(self._requests, rest) :]

    def receive(self) -> tuple[list[tuple[Subject, dict[str, Any]]], bool]:
        """The messages of this start that have come, and whether the process has ended, so that no more will come.

        The end of the pipe alone does not show that: a program that the process left behind may hold the pipe open.

        Raises:
            Garbled: a line came that is no message. Part of it may have been one.
        """
        over = self._process.poll() is not None  # first, so that everything written before the end is read
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.answers, 65536):
                self._unread += chunk
            over = True
        *lines, self._unread = self._unread.split(b"\n")
        try:
            messages = [message_of(line) for line in lines]
        except ValueError as error:
            raise Garbled(str(error)) from error
        return [(subject, message) for subject, message in messages if subject.start == self.start], over

    def memory(self) -> int:
        """Bytes in use by the process and all that it has started."""
        import psutil

        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            return sum(_resident(each) for each in (process, *process.children(recursive=True)))
        return 0

    def mark_log(self) -> None:
        """Note the present end of the log: what is printed from here on is about the next evaluation."""
        self._log_start = self._log_size()

    def log_end(self) -> str:
        """The end of what the process has printed since :meth:`mark_log`."""
        with contextlib.suppress(OSError), self._log.open("rb") as printed:
            printed.seek(max(self._log_start, self._log_size() - _LOG_BYTES))
            return printed.read().decode(errors="replace")
        return ""

    def kill(self) -> int:
        """Kill the process and all that it has started; its exit code, as :attr:`subprocess.Popen.returncode`."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._reap()

    def ended(self) -> int:
        """The exit code, once :meth:`receive` says that the process has ended; what it left behind is killed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5.0)
        return self.kill()

    def let_go(self) -> None:
        """Tell the process that no more requests come, so that it ends; returns at once."""
        with contextlib.suppress(OSError):
            os.close(self._requests)
        self._requests = -1

    def dismiss(self, seconds: float = 1.0) -> None:
        """Let the process end by itself within so many seconds, else kill it; an empty log is deleted."""
        self.let_go()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=seconds)
        self.kill()
        if self._log_size() == 0:
            self._log.unlink(missing_ok=True)

    def _log_size(self) -> int:
        with contextlib.suppress(OSError):  # someone has tidied up
            return self._log.stat().st_size
        return 0

    def _reap(self) -> int:
        code = self._process.wait()
        for descriptor in (self._requests, self.answers, self._life):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        return code


def _resident(process: Any) -> int:
    import psutil

    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0
