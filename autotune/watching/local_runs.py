"""Runs the studies of measurements here, one after the other, each as its own ``autotune run``.

A run outlives a watch that is killed. It has inherited a lock, by which the next watch knows that it still runs: two
runs of a study would share it, but also the memory of this machine.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from autotune.errors import INTERRUPTED
from autotune.home import Home
from autotune.watching.records import Record, Records
from autotune.watching.runs import End
from autotune.watching.template import Template

COMMAND = (sys.executable, "-P", "-c", "from autotune.cli.main import main; main()")
_STATUS = {0: "finished", 2: "rejected"}
_LONGEST = 1000
_SECONDS_TO_STOP = 60.0


class LocalRuns:
    """Runs studies on this machine.

    Args:
        home: where studies are kept.
        records: the records of the folder.
        template: what studies are made from.
        say: prints a line.
    """

    where = ""
    pace = 0.2

    def __init__(self, home: Home, records: Records, template: Template, say: Callable[[str], None]) -> None:
        self._home, self._records, self._template, self._say = home, records, template, say
        self._process: subprocess.Popen[bytes] | None = None
        self._told = False

    def has_room(self) -> bool:
        """See :class:`autotune.watching.runs.Runs`."""
        if self._process is not None:
            return False
        lock = self._lock()
        if lock is None:
            if not self._told:
                self._say("waits for the run that an earlier watch has started")
            self._told = True
            return False
        os.close(lock)
        self._told = False
        return True

    def begin(self, record: Record) -> str | End:
        """See :class:`autotune.watching.runs.Runs`."""
        result, log = self._records.file(record, "json"), self._records.file(record, "log")
        result.unlink(missing_ok=True)
        overrides = self._template.overrides(record.measurement.path, record.study)
        options = [word for override in overrides for word in ("--set", override)]
        command = [*COMMAND, "run", str(self._template.path), "--quiet", "--json", str(result), *options]
        lock = self._lock()
        try:
            with log.open("wb") as printed:
                self._process = subprocess.Popen(
                    command,
                    env=_environment(self._home),
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=printed,
                    start_new_session=True,  # Ctrl-C is told to it once, by the watch
                    pass_fds=() if lock is None else (lock,),
                )
        except OSError as error:
            return End("lost", f"its process cannot be started: {error.strerror}")
        finally:
            if lock is not None:
                os.close(lock)
        return ""

    def end(self, record: Record) -> End | None:
        """See :class:`autotune.watching.runs.Runs`."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return None
        self._process = None
        if code < 0 or code == INTERRUPTED:
            how = "was told to stop from outside" if code > 0 else f"was ended by {_signal(-code)}"
            return End("lost", f"its process {how}")
        result = self._records.result(record) if code != 2 else None
        stated = str((result or {}).get("reason") or "")
        words = _last_words(self._records.file(record, "log"))
        return End(_STATUS.get(code, "failed"), stated or (words if code else ""))

    def stop(self) -> None:
        """See :class:`autotune.watching.runs.Runs`."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        self._say("ends the run in order; a second Ctrl-C ends it at once")
        try:
            process.send_signal(signal.SIGINT)
            process.wait(_SECONDS_TO_STOP)
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            process.kill()
            process.wait()

    def _lock(self) -> int | None:
        """A descriptor that holds the lock of the run; None where a run of an earlier watch has it."""
        self._records.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._records.folder / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:  # a disk without locks: a run that still goes on is shared
            pass
        return descriptor


def _environment(home: Home) -> dict[str, str]:
    """The environment of a run; the service's token is not for it."""
    given = {name: value for name, value in os.environ.items() if name != "AUTOTUNE_TOKEN"}
    return given | {"AUTOTUNE_HOME": str(home.folder)}


def _signal(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _last_words(log: Path) -> str:
    """The errors that a run has printed, else its last line."""
    try:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return ""
    errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    return "; ".join(errors or [line for line in lines if line][-1:])[:_LONGEST]
