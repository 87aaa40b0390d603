"""One worker process as its parent sees it: started, talked to in lines of JSON, measured, killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotune.execution.threads import THREAD_VARIABLES

_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
requests, answers, life = map(int, sys.argv[2:])
from autotune.execution.orphan_guard import start_guard
guard = start_guard(life)
from autotune.execution.worker import main
main(requests, answers, guard)
"""
_MOST_WORDS = 20_000  # bytes of the log that are looked at
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
"""Signals that a process does not send itself by a mistake."""


class Child:
    """A worker process. Its modules are found where this process finds them, and what it prints goes to ``log``."""

    def __init__(self, log: Path, threads: Mapping[str, str]) -> None:
        """Start it.

        Args:
            log: file that all it prints is added to.
            threads: environment variables that set those of its numerical libraries, instead of this process's own.
        """
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        requests, self._requests = os.pipe()
        self.answers, answers = os.pipe()
        life, self._life = os.pipe()
        left_out = ("AUTOTUNE_STORAGE", *THREAD_VARIABLES)  # the first may hold a secret
        environment = {name: value for name, value in os.environ.items() if name not in left_out} | dict(threads)
        path = json.dumps([str(Path(folder).absolute()) for folder in sys.path])
        with log.open("ab") as printed:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, path, str(requests), str(answers), str(life)],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                env=environment,
                pass_fds=(requests, answers, life),
                start_new_session=True,  # Ctrl-C in the terminal is not for it; and all it starts can be ended
            )
        for descriptor in (requests, answers, life):
            os.close(descriptor)
        os.set_blocking(self.answers, False)
        self._unread = b""
        self._log_start = 0

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message. Where the process is dead, that is found out when its answer is waited for."""
        rest = (json.dumps(message) + "\n").encode()
        with contextlib.suppress(BrokenPipeError):
            while rest:
                rest = rest[os.write(self._requests, rest) :]

    def receive(self) -> tuple[list[dict[str, Any]], bool]:
        """The messages that have come, and whether no more will: it has ended.

        The pipe alone does not tell: a process that it forked and left behind holds the other end open.
        """
        over = self._process.poll() is not None  # asked first, so that what it said before is read
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.answers, 65536):
                self._unread += chunk
            over = True
        *lines, self._unread = self._unread.split(b"\n")
        return [json.loads(line) for line in lines], over

    def memory(self) -> int:
        """Bytes in use by it and all that it has started."""
        import psutil

        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            return sum(_resident(one) for one in (process, *process.children(recursive=True)))
        return 0

    def mark_log(self) -> None:
        """From here on, what it prints is about the next task."""
        self._log_start = self._log_size()

    def last_words(self) -> str:
        """What it printed last, in one line: where it crashed, if it says so, else its last lines."""
        text = ""
        with contextlib.suppress(OSError), self._log.open("rb") as printed:
            printed.seek(max(self._log_start, self._log_size() - _MOST_WORDS))
            text = printed.read().decode(errors="replace")
        crash = re.search(r"most recent call first\):\s*\n\s*File \"(.+)\", line (\d+) in (\w+)", text)
        if crash:
            return f"in {crash[3]} ({Path(crash[1]).name}:{crash[2]})"
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return " | ".join(lines[-3:])[-300:]

    def kill(self) -> int:
        """End it and all that it has started; how it ended, as :attr:`subprocess.Popen.returncode`."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._over()

    def ended(self) -> int:
        """How it ended, once :meth:`receive` says so; what it has started and left behind is killed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5.0)
        return self.kill()

    def dismiss(self) -> None:
        """Let it end by itself, for a moment, then kill it."""
        with contextlib.suppress(OSError):
            os.close(self._requests)
        self._requests = -1
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1.0)
        self.kill()
        if self._log_size() == 0:
            self._log.unlink(missing_ok=True)

    def _log_size(self) -> int:
        with contextlib.suppress(OSError):  # someone has tidied up
            return self._log.stat().st_size
        return 0

    def _over(self) -> int:
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


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"its worker process exited with code {code}"
    words = signal.strsignal(-code) or "unknown"
    return f"its worker process was killed by signal {-code} ({words[0].lower() + words[1:]})"
