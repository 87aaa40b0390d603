"""PostgreSQL, a database of studies that several machines may share; its advisory locks keep processes apart.

A lock belongs to the server session that took it, so it is released when its holder dies or the server is restarted.
After a restart another process may have it: the store's connections then refuse to serve a thread that still believes
it holds the lock, whose work is begun anew (:class:`autotune.retrying.Patience`).
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import select
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from autotune.errors import InputError, Problem
from autotune.home import STORAGE_VARIABLE

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from sqlalchemy.engine import URL, Connection, Engine

CONNECT: dict[str, Any] = {
    "application_name": "autotune",
    "connect_timeout": 10,
    # A server that vanished without closing the connection is noticed within half a minute, not within hours.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Options of every connection, beside those in the URL."""
_LOCK_NOT_AVAILABLE = "55P03"
_own = threading.local()  # .session: the connection whose session holds this thread's lock


class PostgresDatabase:
    """The PostgreSQL database at a URL; a :class:`autotune.store.database.Database`."""

    example: ClassVar[str] = "postgresql://USER:PASSWORD@HOST/DATABASE"
    file = None

    def __init__(self, url: str) -> None:
        self._url = url

    def exists(self) -> bool:
        """Return True: only the server can tell, and :meth:`open` asks it."""
        return True

    def open(self) -> RDBStorage:
        """Optuna's storage in it, with tables that are created where there are none.

        Raises:
            InputError: the driver is not installed, or the server cannot be reached.
        """
        from optuna.storages import RDBStorage
        from sqlalchemy.exc import OperationalError

        url = server_url(self._url)
        try:
            with session_lock(url, "autotune: tables"):  # two that create them at once make each other fail
                storage = RDBStorage(url.render_as_string(hide_password=False), engine_kwargs={"connect_args": CONNECT})
        except OperationalError as error:
            raise cannot_connect(url, error) from error
        refuse_without_lock(storage.engine)
        weakref.finalize(storage, storage.engine.dispose)
        return storage

    def require_reachable(self) -> None:
        """See that the server accepts a connection.

        Raises:
            InputError: the driver is not installed, or the server cannot be reached.
        """
        from sqlalchemy.exc import OperationalError

        url = server_url(self._url)
        try:
            with session_lock(url, "autotune: nothing"):
                pass
        except OperationalError as error:
            raise cannot_connect(url, error) from error

    def exclusive(self, study: str, timeout: float) -> AbstractContextManager[None]:
        """Hold an advisory lock of the server, named after the study."""
        return session_lock(server_url(self._url), f"autotune: study {study}", timeout)


def server_url(url: str) -> URL:
    """The URL of a PostgreSQL database, with the driver that is used here.

    Raises:
        InputError: the driver is not installed.
    """
    from sqlalchemy.engine import make_url

    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        what, remedy = f"PostgreSQL needs its driver: {error}", "pip install '.[postgres]' (in the checkout)"
        raise InputError(Problem(STORAGE_VARIABLE, what, remedy)) from error
    return make_url(url).set(drivername="postgresql+psycopg")


def cannot_connect(url: URL, error: Exception) -> InputError:
    """The error for a server that could not be reached at the start; its message has neither user nor password."""
    text = " ".join(str(getattr(error, "orig", error)).split())
    what = f"{_address(url)} cannot be opened: {text}"
    return InputError(Problem(STORAGE_VARIABLE, what, "see that the server runs and lets you in"))


def _address(url: URL) -> str:
    """Host, port and database, and nothing else of the URL: a password may be among the options of its query too."""
    host = url.host or ", ".join(url.normalized_query.get("host", ())) or "this machine"
    port = url.port or ", ".join(url.normalized_query.get("port", ())) or 5432
    return f"PostgreSQL on {host}, port {port}, database {url.database or 'of the user'}"


@contextmanager
def session_lock(url: URL, name: str, timeout: float = -1) -> Iterator[None]:
    """Hold the lock called ``name``, which one process on the database can hold at a time.

    Nested only with other names, always in the same order.

    Args:
        url: URL of the database; the connection must not go through a pool that shares server sessions.
        name: name of the lock.
        timeout: seconds to wait for another process; negative for as long as it takes.

    Raises:
        TimeoutError: another process holds it for longer.
        sqlalchemy.exc.OperationalError: the server does not answer.
    """
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    outer = getattr(_own, "session", None)
    with _lock_engine(url).connect() as connection:
        try:
            _take(connection, number, timeout)
            _own.session = connection
            yield
            connection.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (number,))
        except BaseException:
            connection.invalidate()  # ends the session, and with it the lock, wherever it was left
            raise
        finally:
            _own.session = outer


def _take(connection: Connection, number: int, timeout: float) -> None:
    from sqlalchemy.exc import OperationalError

    milliseconds = 0 if timeout < 0 else max(1, round(1000 * timeout))  # 0 waits for ever
    connection.exec_driver_sql(f"SET lock_timeout = {milliseconds}")
    try:
        connection.exec_driver_sql("SELECT pg_advisory_lock(%s)", (number,))
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise TimeoutError(f"another process holds the study for more than {timeout:g} s") from error
        raise


@functools.cache
def _lock_engine(url: URL) -> Engine:
    """The connections that locks are held on, and nothing else; one that broke while it was idle is replaced."""
    from sqlalchemy import create_engine

    engine = create_engine(
        url, connect_args=CONNECT, pool_size=1, max_overflow=9, pool_pre_ping=True, isolation_level="AUTOCOMMIT"
    )
    atexit.register(engine.dispose)
    return engine


def refuse_without_lock(engine: Engine) -> None:
    """Make the engine's connections refuse a thread that has lost its lock since it took it."""
    from sqlalchemy import event
    from sqlalchemy.exc import OperationalError

    def check(connection: object, record: object, proxy: object) -> None:
        session: Connection | None = getattr(_own, "session", None)
        if session is not None and _was_ended(session):
            raise OperationalError("checkout", {}, ConnectionError("the session that holds the study's lock was ended"))

    event.listen(engine, "checkout", check)


def _was_ended(session: Connection) -> bool:
    """Whether the server has ended an idle session: its socket can then be read, without a message to the server."""
    if session.closed or session.invalidated:
        return True
    driver: Any = session.connection.dbapi_connection
    if driver is None or driver.closed:
        return True
    socket = select.poll()
    socket.register(driver.fileno(), select.POLLIN)
    return bool(socket.poll(0))
