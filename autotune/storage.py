"""Opening Optuna's storage: the database behind every study."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from autotune.sqlite import BUSY_SECONDS, first_touch, make_durable, readable_url, sqlite_path

if TYPE_CHECKING:
    from optuna.storages import RDBStorage


def open_storage(url: str) -> RDBStorage:
    """Optuna's storage at ``url``, created where there is none."""
    from optuna.storages import RDBStorage

    path = sqlite_path(url)
    if path is None:
        return RDBStorage(url)
    with first_touch(path):
        # Wait a while for another process's write instead of failing at once.
        waits = {"connect_args": {"timeout": BUSY_SECONDS}}
        storage = RDBStorage(readable_url(url, path), engine_kwargs=waits)
        if os.access(path, os.W_OK):
            make_durable(storage.engine)
        return storage


def existing_storage(url: str) -> RDBStorage | None:
    """Optuna's storage at ``url``; None where its SQLite file does not exist."""
    path = sqlite_path(url)
    return None if path is not None and not path.exists() else open_storage(url)
