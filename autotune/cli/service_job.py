"""The process of one study of a service's queue: ``python -m autotune.cli.service_job FOLDER``; not for people.

It makes the measurement where the study simulates one, and runs the study, as the commands of these names do.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from pathlib import Path

from autotune.cli.streams import never_fail
from autotune.errors import InputError

_STORE_SECONDS = 5.0
BUSY = 75
"""Exit code of a process that found another one at the same study."""


def main(folder: Path) -> int:
    """Run the study in a folder; returns the exit code. See :mod:`autotune.service.job_files`."""
    import psutil

    from autotune.files import write_json
    from autotune.service.job_files import EXIT, LOCK, PROCESS

    never_fail()
    lock = (folder / LOCK).open("a")
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of the process, so that no child inherits it
    except OSError:
        return BUSY
    write_json(folder / PROCESS, {"pid": os.getpid(), "started": psutil.Process().create_time()})
    os.chdir(folder)
    code = _run(folder)
    write_json(folder / EXIT, {"code": code, "time": time.time()})
    return code


def _run(folder: Path) -> int:
    from autotune.cli.main import run_command_line
    from autotune.service.job_files import RESULT, STUDY
    from autotune.study import load_study

    made = folder / ".simulated"
    if getattr(load_study(folder / STUDY).settings, "simulate", None) is not None and not made.exists():
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for events
            code = run_command_line(["simulate", STUDY])
        if code:
            return code
        made.touch()
    command = ["run", STUDY, "--progress", "json", "--json", RESULT]
    _wait_for_store()
    code = run_command_line(command)
    if code == InputError.exit_code and not _store_is_here():
        _wait_for_store()  # a server that was restarted in the middle refuses as a bad study is refused
        code = run_command_line(command)
    return code


def _store_is_here() -> bool:
    """Whether the trial store is a file, whose server cannot be away."""
    from autotune.home import Home
    from autotune.store.database import database_file

    return database_file(Home.from_environment().store_url) is not None


def _wait_for_store() -> None:
    """Wait for a database server that does not answer: the study is not at fault."""
    from autotune.home import Home
    from autotune.store.database import database_of

    database = database_of(Home.from_environment().store_url)
    while True:
        try:
            return database.require_reachable()
        except InputError as error:
            print(f"Waiting: {error}", file=sys.stderr, flush=True)
            time.sleep(_STORE_SECONDS)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
