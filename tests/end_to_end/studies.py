"""What the tests of ``autotune run`` and ``autotune result`` share: study files, places, and special objectives."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from autotune.cli.main import run_command_line
from autotune.home import Home
from autotune.objective import Evaluation, Progress, Value, never_stop
from autotune.store.records import TrialRecord
from autotune.store.trials import TrialStore
from tests.autotune.toy import BareToyType, Toy, ToySettings

ROOT = Path(__file__).parents[2]
COMMAND = "from autotune.cli.main import main; main()"
"""What the console script does."""
STUDY: dict[str, Any] = {
    "name": "toy",
    "objective": {"name": "tests.end_to_end.studies:quick"},
    "parameters": {"shift": {"low": -1, "high": 1}, "rate": {}, "passes": 4},
    "search": {"sampler": "random", "seed": 3},
    "budget": {"trials": 4},
    "tracking": {"enabled": False},
    "report": False,
    "execution": {"executor": "inline"},  # quicker
}
GATED: dict[str, Any] = STUDY | {
    "objective": {"name": "tests.end_to_end.studies:gated", "data": "gate"},
    "execution": {"executor": "process"},
}


def _content(path: Path) -> bytes | None:
    if not path.is_file():
        return None
    if path.suffix != ".db":
        return path.read_bytes()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump()).encode()


@dataclass(frozen=True)
class Place:
    """A working folder of one user, with a home of its own."""

    folder: Path

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    def write(self, study: Mapping[str, Any] = STUDY, **changes: Any) -> str:
        """Write study.yaml (JSON is YAML) and return its path."""
        path = self.folder / "study.yaml"
        path.write_text(json.dumps({**study, **changes}), encoding="utf-8")
        return str(path)

    def trials(self, name: str = "toy") -> list[TrialRecord]:
        store = TrialStore.open(self.home.store_url, name)
        return [] if store is None else store.trials()

    def values(self, name: str = "toy") -> list[dict[str, Value]]:
        """Values of the trials that count, in order."""
        return [dict(trial.values) for trial in self.trials(name) if trial.state != "interrupted"]

    def result(self, name: str = "toy") -> dict[str, Any]:
        """The content of result.json."""
        document: dict[str, Any] = json.loads((self.home.study(name) / "result.json").read_text(encoding="utf-8"))
        return document

    def files(self) -> dict[str, bytes | None]:
        """All files and folders, for "nothing was changed".

        Of an SQLite file what it holds: when its log moves into it is SQLite's own business.
        """
        return {
            str(path.relative_to(self.folder)): _content(path)
            for path in self.folder.rglob("*")
            if not path.name.endswith(("-shm", "-wal"))
        }

    def environment(self) -> dict[str, str]:
        """The environment of a process of its own."""
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        return {**os.environ, "AUTOTUNE_HOME": str(self.home.folder), "PYTHONPATH": path}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def make_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A new place, and the one that commands run in this process use from now on."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    place = Place(folder)
    monkeypatch.setenv("AUTOTUNE_HOME", str(place.home.folder))
    return place


def autotune(*arguments: object) -> int:
    """Run the command in this process; its exit code."""
    return run_command_line([str(argument) for argument in arguments])


class Quick(Toy):
    """A toy that draws no pictures."""

    pictures = None  # type: ignore[assignment]


class QuickType(BareToyType):
    """The quick toy as an objective type."""

    def open(self, settings: BaseModel, *, folder: Path) -> Quick:
        assert isinstance(settings, ToySettings)
        return Quick(settings)


class Gated(Quick):
    """A quick toy that adds a line to ``data/began`` at every evaluation, and waits while ``data/hold-LINE`` exists."""

    def __init__(self, settings: ToySettings, folder: Path) -> None:
        super().__init__(settings)
        assert settings.data is not None
        self.gate = folder / settings.data

    def summary(self) -> Mapping[str, str]:
        files = sorted(self.gate.glob("scan-*"))
        return {"content hash": hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()}

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        began = self.gate / "began"
        with began.open("a") as stream:
            stream.write("evaluation\n")
        hold = self.gate / f"hold-{began.read_text().count('evaluation')}"
        while hold.exists():
            time.sleep(0.01)
        return super().evaluate(values, metric=metric, seed=seed, progress=progress)


class GatedType(BareToyType):
    """The gated toy as an objective type; ``data`` is the folder of the gate."""

    def open(self, settings: BaseModel, *, folder: Path) -> Gated:
        assert isinstance(settings, ToySettings)
        return Gated(settings, folder)


quick = QuickType()
gated = GatedType()


def make_gate(place: Place, *holds: int) -> Path:
    """The gate's folder, with evaluations ``holds`` (from 1) held."""
    gate = place.folder / "gate"
    gate.mkdir()
    for number in holds:
        (gate / f"hold-{number}").touch()
    return gate


def wait_for_evaluation(gate: Path, number: int, process: subprocess.Popen[str]) -> None:
    """Wait until evaluation ``number`` has begun."""
    began = gate / "began"
    deadline = time.monotonic() + 60
    while not began.exists() or began.read_text().count("evaluation") < number:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
