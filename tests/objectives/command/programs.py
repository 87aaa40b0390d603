"""Small programs as users have them, and the blocks of studies that run them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from autotune.objective import Objective
from objectives.command.plugin import command
from objectives.command.settings import CommandSettings

PARABOLA = """
import json, sys
with open(sys.argv[1]) as file:
    given = json.load(file)
error = (given["shift"] - 0.3) ** 2 + 0.1 * (given["power"] - 2) ** 2 + (given["way"] == "slow")
for i in range(1, 4):
    print(f"pass {i}/3 error={error + 1 / i}", flush=True)
result = {"metrics": {"error": error}, "gradient": {"shift": 2 * (given["shift"] - 0.3)}}
with open("result.json", "w") as file:
    json.dump(result, file)
"""
SLOWLY = PARABOLA.replace("flush=True)", "flush=True); import time; time.sleep(0.3)")
"""It can be stopped before it ends."""
TEMPLATE = '{"shift": {{shift}}, "power": {{ power }}, "way": "{{way}}"}'
PARAMETERS: dict[str, Any] = {
    "shift": {"default": 0.0, "low": -1, "high": 1, "minimum": -5, "maximum": 5, "differentiable": True},
    "power": {"type": "int", "kind": "solver", "default": 1, "low": 1, "high": 4, "minimum": 0, "maximum": 9},
    "way": {"type": "categorical", "kind": "solver", "default": "fast", "choices": ["fast", "slow"]},
}


def block(folder: Path, program: str = PARABOLA, **changes: Any) -> dict[str, Any]:
    """The block of a study in ``folder``, less its name; ``None`` takes a key away."""
    (folder / "program.py").write_text(program, encoding="utf-8")
    (folder / "template.json").write_text(TEMPLATE, encoding="utf-8")
    stated: dict[str, Any] = {
        "run": [sys.executable, "{{study}}/program.py", "given.json"],
        "files": {"given.json": "template.json"},
        "parameters": PARAMETERS,
        "metrics": {"error": {"goal": "minimize", "json": "result.json", "pointer": "/metrics/error"}},
        "gradient": {"json": "result.json", "pointer": "/gradient"},
        "progress": {"regex": r"pass (?P<iteration>\d+)/(?P<iterations>\d+) error=(?P<error>\S+)"},
        "work": "runs",
    }
    return {key: value for key, value in {**stated, **changes}.items() if value is not None}


def opened(folder: Path, program: str = PARABOLA, **changes: Any) -> Objective:
    """The objective of :func:`block`."""
    return command.open(CommandSettings.model_validate(block(folder, program, **changes)), folder=folder)
