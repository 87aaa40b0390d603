"""A quick objective that makes MLflow slow in the process that opens it: ``SLOW_MLFLOW`` seconds for a parent run."""

from __future__ import annotations

import os
import time
from typing import Any

from pydantic import BaseModel

from tests.autotune.toy import BareToyType, ToySettings
from tests.end_to_end.studies import Quick


class SlowMlflowType(BareToyType):
    """The quick toy as an objective type."""

    def open(self, settings: BaseModel, *, folder: Any) -> Quick:
        assert isinstance(settings, ToySettings)
        if seconds := float(os.environ.get("SLOW_MLFLOW", "0")):
            _slow_down(seconds)
        return Quick(settings)


def _slow_down(seconds: float) -> None:
    from mlflow import MlflowClient

    original = MlflowClient.create_run

    def create_run(client: Any, experiment: str, start: int, tags: dict[str, str], **named: Any) -> Any:
        if "autotune.trial" not in tags:
            time.sleep(seconds)
        return original(client, experiment, start, tags, **named)

    MlflowClient.create_run = create_run  # type: ignore[method-assign, assignment]


slow = SlowMlflowType()
