"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Small transforms on few cores: threads that wait for a busy core make the suite many times slower. Set before torch
# or numpy is imported, here and (by inheritance) in the commands that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest

from tests.once import do_once


@pytest.fixture(scope="session", autouse=True)
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What comes out the same for every study is done once in each process."""
    with pytest.MonkeyPatch.context() as patch:
        do_once(patch, tmp_path_factory.mktemp("once"))
        yield


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database fresh from its migrations, which take seconds; copy it, do not use it."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="module")
def in_memory() -> Iterator[None]:
    """The trial stores of a module's tests are in memory, where what they test is above the store."""
    from tests.in_memory import stores_in_memory

    with stores_in_memory():
        yield


@pytest.fixture
def on_disk() -> Iterator[None]:
    """The trial stores of one test are SQLite files, among others in memory."""
    from tests.in_memory import stores_on_disk

    with stores_on_disk():
        yield
