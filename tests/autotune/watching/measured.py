"""An objective whose measurement is an HDF5 file, as the watch gives it one, and what makes both.

``tests.autotune.watching.measured:measured`` is the objective type.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydantic import BaseModel, ConfigDict

from autotune.objective import Evaluation, InputError, Problem, Progress, Value, never_stop
from tests.autotune.toy import BareToyType, Toy, ToySettings

TEMPLATE: dict[str, Any] = {
    "name": "template",
    "objective": {"name": "tests.autotune.watching.measured:measured", "data": {"file": "some.h5"}},
    "parameters": {"shift": {}},
    "search": {"sampler": "random", "seed": 1},
    "budget": {"trials": 3},
    "intervals": {"replicates": 0},
    "tracking": {"enabled": False},
    "report": False,
    "execution": {"executor": "inline"},
}
"""A study whose execution and tracking are those of a test; a service decides them."""
FOR_SERVICE = {key: value for key, value in TEMPLATE.items() if key not in ("execution", "tracking")}


class Data(BaseModel):
    """The measurement's file."""

    model_config = ConfigDict(extra="forbid")

    file: Path


class Settings(BaseModel):
    """The ``objective:`` block: ``log`` is a file that gets a line for each evaluation, of so many ``seconds``."""

    model_config = ConfigDict(extra="forbid")

    data: Data
    log: Path | None = None
    seconds: float = 0.0


class Measured(Toy):
    """A toy on a measurement that holds nothing of interest; one that holds ``bad`` is refused."""

    pictures = None  # type: ignore[assignment]

    def __init__(self, settings: Settings) -> None:
        super().__init__(ToySettings(iterations=1))
        self._file, self._log, self._seconds = settings.data.file, settings.log, settings.seconds
        with h5py.File(self._file) as file:
            if "bad" in file:
                raise InputError(Problem("objective.data.file", "holds no patterns", "measure again"))
            if "deadly" in file:
                import os
                import signal

                os.kill(os.getpid(), signal.SIGKILL)

    def summary(self) -> Mapping[str, str]:
        return {"content hash": hashlib.sha256(self._file.read_bytes()).hexdigest()}

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        if self._log is not None:
            with self._log.open("a") as stream:
                stream.write(f"{self._file.name}\n")
        time.sleep(self._seconds)
        return super().evaluate(values, metric=metric, seed=seed, progress=progress)


class MeasuredType(BareToyType):
    """The objective type."""

    settings = Settings

    def open(self, settings: BaseModel, *, folder: Path) -> Measured:
        assert isinstance(settings, Settings)
        return Measured(settings)


measured = MeasuredType()


def write_template(folder: Path, template: Mapping[str, Any] = TEMPLATE, **objective: Any) -> Path:
    """Write a template (JSON is YAML); returns its path."""
    path = folder / "template.yaml"
    path.write_text(json.dumps({**template, "objective": {**template["objective"], **objective}}))
    return path


def write_measurement(path: Path, kind: str = "patterns", number: int = 0) -> bytes:
    """Write a measurement; returns what is in the file."""
    with h5py.File(path, "w") as file:
        file[kind] = np.full(1000, number)
    return path.read_bytes()
