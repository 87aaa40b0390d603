"""SQLite files behind database URLs: where they are, and how several processes create one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
