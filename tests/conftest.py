"""Fixtures that several test modules share."""

from __future__ import annotations

import gc
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
        # Python looks for garbage among all that torch, MLflow and Hypothesis imported, half a second at a time, again
        # and again; a tenth as often does.
        young, middle, full = gc.get_threshold()
        gc.set_threshold(young, middle, 10 * full)
        yield
        gc.set_threshold(young, middle, full)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database fresh from its migrations, which take seconds; copy it, do not use it.

    The processes of pytest-xdist share one.
    """
    from filelock import FileLock
    from mlflow import MlflowClient

    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    path = shared / "migrated.db"
    with FileLock(shared / "migrated.lock"):
        if not path.exists():
            making = own / "mlflow.db"
            MlflowClient(tracking_uri=f"sqlite:///{making}").search_experiments()
            making.rename(path)
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
