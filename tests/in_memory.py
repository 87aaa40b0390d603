"""Trial stores in memory, in the place of SQLite files: a trial costs a hundredth of the time.

For tests of what is above the store, and in this process. Whatever is kept is plain JSON data, as in a database, and
a study that is opened again is read anew. Tests of the store itself, of what lies on the disk, and of commands in
processes of their own need SQLite.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import optuna
import pytest

from autotune.store.database import DATABASES
from autotune.store.sqlite import SqliteDatabase, sqlite_path


class JsonStorage(optuna.storages.InMemoryStorage):
    """Optuna's storage in memory, which reads attributes from JSON as its databases do."""

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        super().set_study_user_attr(study_id, key, json.loads(json.dumps(value)))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_user_attr(trial_id, key, json.loads(json.dumps(value)))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        super().set_study_system_attr(study_id, key, json.loads(json.dumps(value)))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_system_attr(trial_id, key, json.loads(json.dumps(value)))


class MemoryDatabase:
    """A :class:`autotune.store.database.Database` that lives as long as the tests of a module."""

    example: ClassVar[str] = "sqlite:///FILE"
    storages: ClassVar[dict[str, JsonStorage]] = {}
    locks: ClassVar[dict[tuple[str, str], threading.Lock]] = {}

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def file(self) -> Path | None:
        """None for a trial store; any other URL is that of an MLflow database, which stays on the disk."""
        return None if self._url in self.storages else sqlite_path(self._url)

    def exists(self) -> bool:
        return self._url in self.storages

    def open(self) -> JsonStorage:
        return self.storages.setdefault(self._url, JsonStorage())

    def require_reachable(self) -> None:
        pass

    @contextmanager
    def exclusive(self, study: str, timeout: float) -> Iterator[None]:
        lock = self.locks.setdefault((self._url, study), threading.Lock())
        if not lock.acquire(timeout=max(timeout, -1)):
            raise TimeoutError(study)
        try:
            yield
        finally:
            lock.release()


@contextmanager
def stores_in_memory() -> Iterator[None]:
    """While the block lasts, every ``sqlite:`` URL names a store in memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATABASES, "sqlite", MemoryDatabase)  # type: ignore[arg-type]
        yield
    MemoryDatabase.storages.clear()
    MemoryDatabase.locks.clear()


@contextmanager
def stores_on_disk() -> Iterator[None]:
    """While the block lasts, they are SQLite files once more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATABASES, "sqlite", SqliteDatabase)  # type: ignore[arg-type]
        yield
