"""Output that cannot be written is dropped: no study ends by it, and no command's exit code changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.studies import COMMAND, STUDY, Place

SLOW = {"name": "tests.end_to_end.studies:quick", "iterations": 4, "seconds_per_iteration": 0.02}


def run_by_shell(place: Place, redirected: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command line whose streams a shell has redirected."""
    line = f'"$0" -c "{COMMAND}" "$@" {redirected}'
    return subprocess.run(
        ["/bin/sh", "-c", line, sys.executable, *arguments],
        cwd=place.folder, env=place.environment(), capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("progress", ["json", "line"])
def test_a_reader_that_goes_away_does_not_end_the_study(place: Place, progress: str) -> None:
    place.write(STUDY, objective=SLOW, budget={"trials": 6})
    process = place.start("run", "study.yaml", "--progress", progress)
    assert process.stdout is not None and process.stderr is not None
    first = process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=100) == 0, process.stderr.read()
    process.stderr.close()
    assert json.loads(first)["event"] == "started" if progress == "json" else first.startswith("Study toy begun")
    assert place.result()["status"] == "finished" and len(place.trials()) == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    "redirected", [">/dev/full", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"]
)
def test_streams_that_take_nothing(place: Place, redirected: str) -> None:
    """A database that got the number of a closed stream would be written over by what libraries print."""
    place.write(STUDY, budget={"trials": 2})
    assert run_by_shell(place, redirected, "run", "study.yaml").returncode == 0
    assert place.result()["status"] == "finished"
    assert run_by_shell(place, redirected, "status").returncode == 0
    assert run_by_shell(place, redirected, "run", "nowhere.yaml").returncode == 2


def test_what_an_encoding_lacks_is_escaped(tmp_path: Path) -> None:
    program = (
        "from autotune.cli.streams import never_fail; never_fail(); print('5 \\u00e5ngstr\\u00f6m \\udc80', flush=True)"
    )
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", program], env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout == b"5 \\xe5ngstr\\xf6m \\udc80\n"
