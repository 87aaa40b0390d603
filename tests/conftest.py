"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from pathlib import Path

# Small transforms on few cores: threads that wait for a busy core make the suite many times slower. Set before torch
# or numpy is imported, here and (by inheritance) in the commands that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database fresh from its migrations, which take seconds; copy it, do not use it."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path
