"""SQLite, the default database of studies: a file, which several processes of one machine may share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from autotune.errors import InputError, Problem

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from sqlalchemy.engine import Engine

BUSY_SECONDS = 5.0
"""Seconds that a statement waits for another process's write. Signals are not handled meanwhile."""
_compatible: set[tuple[int, int]] = set()
"""Device and inode of the files whose tables this process has made or found fit for its Optuna. The check loads all
of Optuna's migrations, which takes four fifths of the time of opening a file."""


class SqliteDatabase:
    """The SQLite database at a URL, in a file or in memory; a :class:`autotune.store.database.Database`."""

    example: ClassVar[str] = "sqlite:///FILE"

    def __init__(self, url: str) -> None:
        self._url = url
        self.file = sqlite_path(url)

    def exists(self) -> bool:
        """Whether its file is there; True for one in memory."""
        return self.file is None or self.file.exists()

    def open(self) -> RDBStorage:
        """Optuna's storage in it, created where there is none.

        Raises:
            InputError: the file is damaged, or no SQLite database.
        """
        from optuna.storages import RDBStorage
        from sqlalchemy.exc import DatabaseError

        if self.file is None:
            return RDBStorage(self._url)
        with first_touch(self.file):
            # Wait a while for another process's write instead of failing at once.
            waits = {"connect_args": {"timeout": BUSY_SECONDS}}
            identity = self._identity()
            try:
                storage = RDBStorage(
                    readable_url(self._url, self.file),
                    engine_kwargs=waits,
                    skip_compatibility_check=identity is None or identity in _compatible,
                )
            except DatabaseError as error:
                if getattr(error.orig, "sqlite_errorname", "") not in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
                    raise
                what = f"is no SQLite database, or a damaged one ({error.orig})"
                raise InputError(Problem(str(self.file), what, "restore it, or move it away to begin anew")) from error
            if os.access(self.file, os.W_OK):
                make_durable(storage.engine)
            if (identity := self._identity()) is not None:
                _compatible.add(identity)
            return storage

    def _identity(self) -> tuple[int, int] | None:
        """Device and inode of the file; None where there is none yet."""
        if self.file is None or not self.file.exists():
            return None
        status = self.file.stat()
        return status.st_dev, status.st_ino

    def require_reachable(self) -> None:
        """Do nothing: there is no server that could refuse."""

    @contextmanager
    def exclusive(self, study: str, timeout: float) -> Iterator[None]:
        """Lock a file in the folder ``locks`` beside the database; one in memory has one process anyway."""
        if self.file is None:
            yield
            return
        from filelock import FileLock

        folder = self.file.parent / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{hashlib.sha256(study.encode()).hexdigest()[:16]}.lock", timeout=timeout):
            yield


def sqlite_path(url: str) -> Path | None:
    """The file behind a SQLAlchemy or MLflow URL of SQLite; None for any other store, and for one in memory."""
    if not url.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    database = make_url(url).database
    return Path(database) if database and database != ":memory:" else None


@contextmanager
def first_touch(database: Path | None) -> Iterator[None]:
    """Keep other processes away while Optuna or MLflow creates its tables: two at once make each other fail.

    Does nothing for None, and where this process may only read, which is long after the creation.
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
    """The URL, changed where this process may only read the folder: SQLite would create files beside the database."""
    log = database.with_name(f"{database.name}-wal")
    if os.access(database.parent, os.W_OK) or log.exists():
        return url
    return f"sqlite:///file:{quote(str(database))}?mode=ro&immutable=1&uri=true"


def make_durable(engine: Engine) -> None:
    """Write through a log (WAL), and each transaction to the disk before it ends (``synchronous=FULL``).

    Readers and a writer then do not wait for each other, a process that ends at any instruction leaves the last whole
    transaction, and not even a power cut loses a finished trial.
    """
    from sqlalchemy import event

    def prepare(connection: Any, record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    engine.dispose()  # the connections made so far lack the setting
    event.listen(engine, "connect", prepare)
