"""The record of a study in MLflow: a projection of the trial store that can be rebuilt at any time.

    record    what one run of a study adds to its record; lead: which run keeps the study's run
    recorder  the thread of a run that records it; writer: brings MLflow up to date, once
    runs      the study's run; trial_runs: the runs of its trials; points, limits: their numbers and texts
    tags      what every tag is called and means
    place     where a study is recorded; client: the way there
    registry  a study's answer under a name

Importing this imports no MLflow; that happens in the recorder's own thread.
"""

from __future__ import annotations

from autotune.tracking.points import study_summary
from autotune.tracking.recorder import Recorder
from autotune.tracking.runs import PARENT_STATUS, Destination
from autotune.tracking.study_facts import MeasuredData, StudyFacts
from autotune.tracking.writer import Closing, RecorderReport, sync

__all__ = [
    "PARENT_STATUS",
    "Closing",
    "Destination",
    "MeasuredData",
    "Recorder",
    "RecorderReport",
    "StudyFacts",
    "study_summary",
    "sync",
]
