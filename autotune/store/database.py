"""Opening Optuna's storage: the database behind every study."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

from autotune.errors import InputError, Problem
from autotune.store.sqlite import BUSY_SECONDS, first_touch, make_durable, readable_url, sqlite_path

if TYPE_CHECKING:
    from optuna.storages import RDBStorage


def open_storage(url: str) -> RDBStorage:
    """Optuna's storage at ``url``, created where there is none.

    Raises:
        InputError: it is neither SQLite nor PostgreSQL, the file is damaged, or the server cannot be reached.
    """
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import DatabaseError

    if not url.startswith("sqlite"):
        return _open_on_server(url)
    path = sqlite_path(url)
    if path is None:
        return RDBStorage(url)
    with first_touch(path):
        # Wait a while for another process's write instead of failing at once.
        waits = {"connect_args": {"timeout": BUSY_SECONDS}}
        try:
            storage = RDBStorage(readable_url(url, path), engine_kwargs=waits)
        except DatabaseError as error:
            if getattr(error.orig, "sqlite_errorname", "") not in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
                raise
            what = f"is no SQLite database, or a damaged one ({error.orig})"
            raise InputError(Problem(str(path), what, "restore it, or move it away to begin anew")) from error
        if os.access(path, os.W_OK):
            make_durable(storage.engine)
        return storage


def require_reachable(url: str) -> None:
    """See that the database server behind ``url``, if there is one, lets us in.

    Raises:
        InputError: it does not.
    """
    if url.startswith("sqlite"):
        return
    from sqlalchemy.exc import OperationalError

    from autotune.store.postgres import cannot_connect, server_url, session_lock

    server = server_url(url)
    try:
        with session_lock(server, "autotune: nothing"):
            pass
    except OperationalError as error:
        raise cannot_connect(server, error) from error


def _open_on_server(url: str) -> RDBStorage:
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import OperationalError

    from autotune.store.postgres import CONNECT, cannot_connect, refuse_without_lock, server_url, session_lock

    server = server_url(url)
    try:
        with session_lock(server, "autotune: tables"):  # two that create them at once make each other fail
            storage = RDBStorage(server.render_as_string(hide_password=False), engine_kwargs={"connect_args": CONNECT})
    except OperationalError as error:
        raise cannot_connect(server, error) from error
    refuse_without_lock(storage.engine)
    weakref.finalize(storage, storage.engine.dispose)
    return storage


def existing_storage(url: str) -> RDBStorage | None:
    """Optuna's storage at ``url``; None where its SQLite file does not exist."""
    path = sqlite_path(url)
    return None if path is not None and not path.exists() else open_storage(url)
