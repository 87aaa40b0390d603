"""An objective that keeps the environment variables that it sees, in every process that it runs or starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from autotune.objective import Evaluation, Progress, Value, child_environment, never_stop
from tests.autotune.toy import BareToyType, ToySettings
from tests.end_to_end.studies import Quick

SEEN = "AUTOTUNE_SEEN"
"""Variable that names the folder where they are kept."""


def keep(what: str) -> None:
    (Path(os.environ[SEEN]) / f"{what}-{os.getpid()}.json").write_text(json.dumps(dict(os.environ)), encoding="utf-8")


class Canaries(Quick):
    """Keeps the variables of its process, of a program that it starts, and of a child that it forks."""

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        keep("evaluated")
        code = "import tests.end_to_end.canaries as canaries; canaries.keep('program')"
        subprocess.run([sys.executable, "-c", code], env=child_environment(), check=True)
        if (child := os.fork()) == 0:
            keep("forked")
            os._exit(0)
        os.waitpid(child, 0)
        return super().evaluate(values, metric=metric, seed=seed, progress=progress)


class CanariesType(BareToyType):
    """The objective as a type."""

    def open(self, settings: BaseModel, *, folder: Path) -> Canaries:
        assert isinstance(settings, ToySettings)
        return Canaries(settings)


canaries = CanariesType()
if SEEN in os.environ:
    keep("imported")
