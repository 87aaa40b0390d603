"""Starts ``autotune`` often and quickly: processes that have their imports behind them, one at a time."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.studies import ROOT, Place

_CODE = """
import json, os, sys
import optuna, sqlalchemy.dialects.sqlite
import autotune.events, autotune.cli.progress, autotune.cli.signals, autotune.results.build, autotune.runs.run
from autotune.cli.main import main
print("ready", flush=True)
for line in sys.stdin:
    arguments, output = json.loads(line)
    child = os.fork()
    if child == 0:
        null, printed = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor, own in ((null, 0), (printed, 1), (printed, 2)):
            os.dup2(descriptor, own)
        sys.argv[1:] = arguments
        main()
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Launcher:
    """A process that forks others, which run the command; each is a run of its own, as if started from a shell."""

    def __init__(self, place: Place) -> None:
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.output = place.folder / "launched"
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CODE],
            cwd=place.folder,
            env={**os.environ, "AUTOTUNE_HOME": str(place.home.folder), "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._read() == "ready"
        self._pid = 0

    def start(self, *arguments: str) -> None:
        """Run the command; what it prints goes to :attr:`output`."""
        assert self._process.stdin is not None
        self.output.unlink(missing_ok=True)
        self._process.stdin.write(json.dumps([arguments, str(self.output)]) + "\n")
        self._pid = int(self._read())

    def printed(self) -> str:
        """What the command has printed so far, on either stream."""
        return self.output.read_text() if Path(self.output).exists() else ""

    def over(self) -> bool:
        """Whether the command has ended."""
        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def kill(self) -> None:
        """Kill the command."""
        os.kill(self._pid, signal.SIGKILL)

    def code(self) -> int:
        """The command's exit code, once it has ended."""
        return int(self._read())

    def close(self) -> None:
        """End the launcher; no command may run."""
        self._process.kill()
        self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
