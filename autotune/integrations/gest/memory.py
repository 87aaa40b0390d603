"""A trial store in memory that can be copied and pickled, with everything in it."""

from __future__ import annotations

import threading
from typing import Any

import optuna
from optuna.storages import InMemoryStorage

from autotune.objective import Metric
from autotune.store.trials import TrialStore


class MemoryStorage(InMemoryStorage):
    """Optuna's storage in memory; a copy has all trials and shares nothing with the original.

    A SQLite database in memory would not do: it belongs to one connection, so every thread would see its own.
    """

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()


def create_in_memory(name: str, metric: Metric) -> TrialStore:
    """A new, empty trial store that lives as long as the object."""
    return TrialStore(optuna.create_study(study_name=name, storage=MemoryStorage(), direction=metric.goal))
