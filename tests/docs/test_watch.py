"""The commands and the code of docs/watch.md work, and its table names the keys that answers have."""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from pathlib import Path

import pytest

from autotune.cli.main import run_command_line
from tests.autotune.watching.measured import write_measurement, write_template
from tests.docs.pages import ROOT, text_of

PAGE = text_of(ROOT / "docs" / "watch.md")


def test_the_command_and_the_code_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    write_template(tmp_path)
    Path("incoming").mkdir()
    write_measurement(tmp_path / "scan.part")
    time.sleep(0.05)
    Path("scan.part").rename("incoming/scan.h5")
    commands = re.findall(r"^```sh\nautotune (.*)\n```", PAGE, flags=re.MULTILINE)
    assert len(commands) == 2 and commands[1] == f"{commands[0]} --once"
    assert run_command_line(shlex.split(commands[1])) == 0
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    exec(compile(code, "watch.md", "exec"), {})  # noqa: S102
    assert re.search(r"^scan.h5 finished 0\.\d+ the budget of 3 trials is used$", capsys.readouterr().out, re.MULTILINE)
    answer = json.loads(Path("incoming/scan.result.json").read_text())
    described = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE, flags=re.MULTILINE)))
    assert described == list(answer)
