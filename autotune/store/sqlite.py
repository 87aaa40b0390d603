"""SQLite files behind database URLs: where they are, how several processes create one, and how it is kept safe."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

BUSY_SECONDS = 5.0
"""How long a statement waits for another process's write. Signals are not heard meanwhile."""


def sqlite_path(url: str) -> Path | None:
    """The file behind a SQLAlchemy or MLflow URL of SQLite; None for any other store, and for one in memory."""
    if not url.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    database = make_url(url).database
    return Path(database) if database and database != ":memory:" else None


@contextmanager
def first_touch(database: Path | None) -> Iterator[None]:
    """Hold others off while Optuna or MLflow creates its tables: two at once make each other fail.

    Does nothing for None, and for someone who may only read, long after the creation.
    """
    if database is None:
        yield
        return
    from filelock import FileLock

    database.parent.mkdir(parents=True, exist_ok=True)
    if os.access(database.parent, os.W_OK):
        with FileLock(f"{database}.lock"):
            yield
    else:
        yield


def readable_url(url: str, database: Path) -> str:
    """The URL, made fit for someone who may only read: SQLite would create files beside a log that has ended."""
    log = database.with_name(f"{database.name}-wal")
    if os.access(database.parent, os.W_OK) or log.exists():
        return url
    return f"sqlite:///file:{quote(str(database))}?mode=ro&immutable=1&uri=true"


def make_durable(engine: Engine) -> None:
    """Write through a log (WAL): readers and a writer do not wait for each other, and a sudden end at any instruction
    leaves the last whole transaction. Each one is on the disk when it ends (``synchronous=FULL``), so that not even a
    power cut loses a finished trial.
    """
    from sqlalchemy import event

    def prepare(connection: Any, record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    engine.dispose()  # the connections made so far do not know
    event.listen(engine, "connect", prepare)
