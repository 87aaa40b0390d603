"""Make MLflow's database file whole or not at all, and replace one whose making was cut short.

MLflow makes it by dozens of migrations, which take seconds; a process that is killed meanwhile leaves a file with which
no later one can do anything. Importing this imports no MLflow.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import uuid
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any
from urllib.parse import quote

_CONTENT = ("runs", "experiments", "registered_models")
_log = logging.getLogger(__name__)


def ensure_whole(file: Path) -> None:
    """Make the database where there is none, or where there is only the beginning of one; no other process does so now.

    The beginning of one is kept under another name. A database that holds anything is left as it is.
    """
    for left in file.parent.glob(f".{file.name}.*.making*"):
        left.unlink(missing_ok=True)
    if file.exists():
        if not _is_beginning(file):
            return
        aside = file.with_name(f"{file.name}.unfinished")
        file.replace(aside)
        for log in ("-wal", "-shm", "-journal"):
            file.with_name(f"{file.name}{log}").unlink(missing_ok=True)
        _log.warning("%s was not made to its end: it is now %s, and a new one is made", file, aside.name)
    making = file.with_name(f".{file.name}.{uuid.uuid4().hex}.making")
    _make(making)
    making.replace(file)


def _make(path: Path) -> None:
    """Have MLflow make its tables in a new file."""
    from mlflow.store.db.utils import _safe_initialize_tables, create_sqlalchemy_engine

    engine = create_sqlalchemy_engine(f"sqlite:///{path}")  # type: ignore[no-untyped-call]
    try:
        _safe_initialize_tables(engine)
    finally:
        engine.dispose()
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _is_beginning(file: Path) -> bool:
    """Whether a file is a database of MLflow in which migrations are missing, and nothing is recorded.

    MLflow adds its first experiment after the last migration.
    """
    from mlflow.store.db.utils import _get_latest_schema_revision

    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables:
                return True
            if not tables & {"experiments", "alembic_version"} or _holds_any(connection, tables, _CONTENT):
                return False
            versions = _holds_any(connection, tables, ("alembic_version",))
            return not versions or versions[0] != _get_latest_schema_revision()  # type: ignore[no-untyped-call]
    except sqlite3.Error:
        return False  # not readable now, or no database: MLflow says so


def _holds_any(connection: sqlite3.Connection, tables: Set[str], names: Sequence[str]) -> tuple[Any, ...] | None:
    """A row of the first of these tables that has one; None where none has."""
    for name in names:
        if name not in tables:
            continue
        row: tuple[Any, ...] | None = connection.execute(f"SELECT * FROM {name} LIMIT 1").fetchone()  # noqa: S608
        if row is not None:
            return row
    return None
