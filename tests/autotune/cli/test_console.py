from __future__ import annotations

import sys

import pytest

from autotune.cli.console import command_name


@pytest.mark.parametrize(
    ("called", "on_the_path", "name"),
    [
        (".venv/bin/autotune", None, ".venv/bin/autotune"),
        (".venv/bin/autotune", "/usr/bin/autotune", "autotune"),
        ("-c", None, "autotune"),
    ],
)
def test_the_command_is_named_so_that_it_can_be_called_again(
    monkeypatch: pytest.MonkeyPatch, called: str, on_the_path: str | None, name: str
) -> None:
    monkeypatch.setattr(sys, "argv", [called, "run", "study.yaml"])
    monkeypatch.setattr("shutil.which", lambda command: on_the_path)
    assert command_name() == name
