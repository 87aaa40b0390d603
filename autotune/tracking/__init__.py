"""The record of a study in MLflow: a projection of the trial store that can be rebuilt at any time.

Importing this imports no MLflow; that happens in the recorder's own thread.
"""

from __future__ import annotations

from autotune.text import without_password
from autotune.tracking.client import one_line, open_client
from autotune.tracking.points import MeasuredData, StudyFacts, study_summary
from autotune.tracking.recorder import (
    Recorder,
    RecorderReport,
    prepare_environment,
    quiet_thread,
    sync,
)
from autotune.tracking.runs import PARENT_STATUS, ParentStatus

__all__ = [
    "PARENT_STATUS",
    "MeasuredData",
    "ParentStatus",
    "Recorder",
    "RecorderReport",
    "StudyFacts",
    "one_line",
    "open_client",
    "prepare_environment",
    "quiet_thread",
    "study_summary",
    "sync",
    "without_password",
]
