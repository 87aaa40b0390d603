"""SIGTERM and SIGHUP during ``autotune run``, from its first line to its last."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autotune.cli.main import run_command_line
from autotune.cli.signals import terminated_as_interrupted
from autotune.errors import Problem, StudyFailed
from tests.autotune.runs.test_run import STUDY
from tests.end_to_end.studies import ROOT


def ignored(*arguments: Any) -> None:
    raise AssertionError("the signal was not taken for Ctrl-C")


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """Without it, a failing test would end all tests."""
    before = [(number, signal.signal(number, ignored)) for number in (signal.SIGTERM, signal.SIGHUP)]
    yield
    for number, handler in before:
        signal.signal(number, handler)


def fail(*arguments: Any, **named: Any) -> None:
    raise StudyFailed(Problem("study toy", "failed"))


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("at", ["load", "_report_bad_end"])
def test_a_signal_is_ctrl_c_from_the_first_line_to_the_last(
    at: str, sent: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(*arguments: Any, **named: Any) -> None:
        os.kill(os.getpid(), sent)

    path = tmp_path / "study.yaml"
    path.write_text(json.dumps(STUDY))
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("autotune.runs.run.run_study", fail)
    monkeypatch.setattr(f"autotune.cli.run.{at}", send)
    assert run_command_line(["run", str(path)]) == 130
    assert signal.getsignal(sent) is ignored


def test_a_command_that_shall_survive_its_terminal_does() -> None:
    """As ``nohup`` starts it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with terminated_as_interrupted():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


AT_THE_START = """
import os, signal, sys
class Sends:
    def find_spec(self, name, *arguments):
        if name == {module!r}:
            os.kill(os.getpid(), signal.{sent})
sys.meta_path.insert(0, Sends())
from autotune.cli.main import main
main()
"""
IN_A_CALLBACK = """
import os, signal, time, weakref
from autotune.cli.signals import terminated_as_interrupted, this_process_is_the_command
this_process_is_the_command()
class Thing: pass
with terminated_as_interrupted():
    thing = Thing()
    kept = weakref.ref(thing, lambda _: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(0)))
    del thing  # Python prints that the exception is ignored
    time.sleep(60)
"""
IN_A_CHILD = """
import os, signal, time
from autotune.cli.signals import terminated_as_interrupted, this_process_is_the_command
this_process_is_the_command()
with terminated_as_interrupted():
    if os.fork() == 0:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            time.sleep(4)
        os._exit(7)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
AT_THE_END = """
import sys, threading
from autotune.cli.signals import leave
threading.Thread(target=threading.Event().wait).start()
print("said")
leave(130, at_once=True)
"""


def python(code: str, *arguments: str, folder: Path) -> tuple[int, str, str, float]:
    """Run code in a process of its own: its exit code, what it printed on both streams, and the seconds it took."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr, time.monotonic() - began


@pytest.mark.parametrize("sent", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("module", ["autotune.cli.app", "typer", "autotune.study", "optuna", "autotune.runs.run"])
def test_a_signal_while_the_command_starts_ends_it_silently(module: str, sent: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(json.dumps(STUDY))
    code = AT_THE_START.format(module=module, sent=sent)
    assert python(code, "run", "study.yaml", folder=tmp_path)[:3] == (130, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_a_command_ends_even_where_the_exception_is_swallowed(tmp_path: Path) -> None:
    code, _, error, seconds = python(IN_A_CALLBACK, folder=tmp_path)
    assert code == 130 and seconds < 4
    assert error.endswith("Interrupted; every finished trial is kept. Continue with the same command.\n")


def test_a_child_that_an_objective_forks_is_not_ended_so(tmp_path: Path) -> None:
    assert python(IN_A_CHILD, folder=tmp_path)[:3] == (0, "7\n", "")


def test_an_interrupted_command_waits_for_no_thread(tmp_path: Path) -> None:
    assert python(AT_THE_END, folder=tmp_path)[:3] == (130, "said\n", "")


@pytest.mark.parametrize("sent", ["SIGINT", "SIGTERM"])
def test_a_signal_while_the_command_line_is_read_ends_it_silently(sent: str, tmp_path: Path) -> None:
    code = f"""
import os, signal, typer
from typer import main as reading
read = reading.get_command
reading.get_command = lambda app: (os.kill(os.getpid(), signal.{sent}), read(app))[1]
from autotune.cli.main import main
main()
"""
    assert python(code, "run", "study.yaml", folder=tmp_path)[:3] == (130, "", "")


AT_A_GOOD_END = """
import sys, threading, time, atexit
from concurrent.futures import ThreadPoolExecutor
from autotune.cli.signals import leave
atexit.register(lambda: print("atexit"))
threading.Thread(target=lambda: (time.sleep(0.5), print("thread"))).start()
pool = ThreadPoolExecutor(1)
pool.submit(lambda: (time.sleep(0.7), print("pool")))
leave(4, at_once=False)
"""


def test_a_command_that_has_finished_waits_for_its_threads(tmp_path: Path) -> None:
    assert python(AT_A_GOOD_END, folder=tmp_path)[:3] == (4, "thread\npool\natexit\n", "")
