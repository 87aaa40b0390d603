"""SIGTERM and SIGHUP during ``autotune run``, from its first line to its last."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autotune.cli.main import run_command_line
from autotune.cli.signals import terminated_as_interrupted
from autotune.errors import Problem, StudyFailed
from tests.autotune.runs.test_run import STUDY


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
