"""SIGTERM during ``autotune run``, from its first line to its last."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autotune.cli.main import run_command_line
from autotune.errors import Problem, StudyFailed
from tests.autotune.runs.test_run import STUDY


def ignored(*arguments: Any) -> None:
    raise AssertionError("SIGTERM was not taken for Ctrl-C")


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """Without it, a failing test would end all tests."""
    before = signal.signal(signal.SIGTERM, ignored)
    yield
    signal.signal(signal.SIGTERM, before)


def terminate(*arguments: Any, **named: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def fail(*arguments: Any, **named: Any) -> None:
    raise StudyFailed(Problem("study toy", "failed"))


@pytest.mark.parametrize("at", ["load", "_report_bad_end"])
def test_sigterm_is_ctrl_c_from_the_first_line_to_the_last(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps(STUDY))
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("autotune.runs.run.run_study", fail)
    monkeypatch.setattr(f"autotune.cli.run.{at}", terminate)
    assert run_command_line(["run", str(path)]) == 130
    assert signal.getsignal(signal.SIGTERM) is ignored
