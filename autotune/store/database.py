"""The databases that can hold studies: what each must offer, and the table that finds one by the scheme of its URL.

Another kind of database is a file beside this one with a class that is a :class:`Database`, and a row in
:data:`DATABASES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from autotune.errors import InputError, Problem
from autotune.home import STORAGE_VARIABLE
from autotune.store.postgres import PostgresDatabase
from autotune.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from optuna.storages import RDBStorage


class Database(Protocol):
    """The database at one SQLAlchemy URL, of a kind that is in :data:`DATABASES`. Making one touches nothing.

    Attributes:
        example: what the URL of such a database looks like, for messages.
    """

    example: ClassVar[str]

    def __init__(self, url: str) -> None: ...

    @property
    def file(self) -> Path | None:
        """The file on this machine that holds it; None where it is on a server or in memory."""

    def exists(self) -> bool:
        """Whether :meth:`open` would find it rather than create it; True where only the server can tell."""

    def open(self) -> RDBStorage:
        """Optuna's storage in it, with tables that are created where there are none.

        Raises:
            InputError: it is damaged, or cannot be reached.
        """

    def require_reachable(self) -> None:
        """See that it can be reached before work begins that needs it.

        Raises:
            InputError: it cannot be.
        """

    def exclusive(self, study: str, timeout: float) -> AbstractContextManager[None]:
        """Keep every other process away from a study while the block lasts, until this process dies at the latest.

        Args:
            study: the study's name.
            timeout: seconds to wait for another process; negative for as long as it takes.

        Raises:
            TimeoutError: another process holds the study for longer.
        """


DATABASES: Mapping[str, type[Database]] = {
    "postgresql": PostgresDatabase,
    "postgres": PostgresDatabase,  # libpq knows both names, and so do many hosting services
    "sqlite": SqliteDatabase,
}
"""Scheme of a URL, less its driver -> the database at such a URL."""


def database_of(url: str) -> Database:
    """The database at a SQLAlchemy URL.

    Raises:
        InputError: the URL is malformed, or of a kind of database that is not in :data:`DATABASES`. The message has no
            password.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        kind = make_url(url).get_backend_name()
    except (ArgumentError, ValueError):  # these may quote the URL, with the password in it
        raise InputError(Problem(STORAGE_VARIABLE, "is not a database URL", _expected())) from None
    if kind not in DATABASES:
        what = f"{kind} is no kind of store that several processes can share"
        raise InputError(Problem(STORAGE_VARIABLE, what, _expected()))
    return DATABASES[kind](url)


def database_file(url: str) -> Path | None:
    """The file on this machine that a database URL names.

    None for a database on a server or in memory, and for any other address, such as that of an MLflow server.
    """
    scheme = url.partition(":")[0].partition("+")[0]
    return DATABASES[scheme](url).file if scheme in DATABASES else None


def _expected() -> str:
    examples = dict.fromkeys(database.example for database in DATABASES.values())
    return f"give {' or '.join(examples)}, or leave it unset"
