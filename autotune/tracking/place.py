"""The place of a study's record: the address of MLflow, the places of artifacts, and the files that are kept there."""

from __future__ import annotations

import os
from pathlib import Path

from autotune.errors import InputError, Problem
from autotune.home import Home
from autotune.provenance.environment import FILE as ENVIRONMENT
from autotune.results.best_files import STUDY
from autotune.store.trials import TrialStore
from autotune.tracking.client import record_file
from autotune.tracking.runs import Destination

_VARIABLE = "MLFLOW_TRACKING_URI"
_FILES = (STUDY, ENVIRONMENT, "report.html", "figures")


def default_address(home: Home) -> str:
    """Tracking URI where none is given: the one in MLFLOW_TRACKING_URI, otherwise the database in the home."""
    return os.environ.get(_VARIABLE) or home.tracking_uri


def record_address(store: TrialStore) -> str:
    """Tracking URI of a study's record.

    The study file comes first, then MLFLOW_TRACKING_URI, as when the study runs.

    Raises:
        InputError: the URI needs a password, which is not kept.
    """
    place = store.facts.mlflow
    if place is None:
        raise ValueError(f"study {store.study.study_name} has not been recorded")
    uri = (None if place.stated else os.environ.get(_VARIABLE)) or place.tracking_uri
    if "***" in uri:
        raise InputError(Problem(uri, "needs its password again", f"set {_VARIABLE} to the whole address"))
    return uri


def destination_of(uri: str, home: Home, study: str) -> Destination:
    """The destination of a study's record.

    Artifacts of a new experiment lie beside MLflow's database, if that is a file.

    Args:
        uri: the tracking URI.
        home: where studies live.
        study: the study's name.
    """
    database = record_file(uri)
    root = home.mlflow_artifacts if database is None else database.parent / home.mlflow_artifacts.name
    return Destination(uri, root, lambda number: home.trial(study, number))


def artifacts_of(folder: Path) -> list[Path]:
    """The files and folders of a study's folder that are kept with its run in MLflow when it ends."""
    return [folder / name for name in _FILES if (folder / name).exists()]
