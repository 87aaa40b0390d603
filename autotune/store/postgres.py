"""PostgreSQL behind database URLs: who connects, and one process at a time by the server's own locks.

A lock belongs to the server session that took it, so it is let go of when its holder dies or the server is restarted.
After a restart another process may have it: the store's connections then refuse to serve a thread that still believes
it holds the lock, whose work is begun anew (:class:`autotune.retrying.Patience`).
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from autotune.errors import InputError, Problem

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, Engine

VARIABLE = "AUTOTUNE_STORAGE"
_EXPECTED = "give postgresql://USER:PASSWORD@HOST/DATABASE or sqlite:///FILE, or leave it unset"
CONNECT: dict[str, Any] = {
    "application_name": "autotune",
    "connect_timeout": 10,
    # A server that went away without a word is noticed within half a minute, not within hours.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""What connections are made with, beside the URL."""
_LOCK_NOT_AVAILABLE = "55P03"
_own = threading.local()  # .session: the connection whose session holds this thread's lock


def server_url(url: str) -> URL:
    """The URL of a PostgreSQL database, with the driver that is used here.

    Raises:
        InputError: it is malformed, of another kind of database, or the driver is not installed. The message has no
            password.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # these may quote the URL, with the password in it
        raise InputError(Problem(VARIABLE, "is not a database URL", _EXPECTED)) from None
    kind = parsed.get_backend_name()
    if kind not in ("postgresql", "postgres"):  # libpq, and with it many a hosting service, knows both
        raise InputError(Problem(VARIABLE, f"{kind} is no kind of store that several processes can share", _EXPECTED))
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise InputError(
            Problem(VARIABLE, f"PostgreSQL needs its driver: {error}", "pip install '.[postgres]' (in the checkout)")
        ) from error
    return parsed.set(drivername="postgresql+psycopg")


def cannot_connect(url: URL, error: Exception) -> InputError:
    """What to tell where the server could not be reached at the start; without user and password."""
    text = " ".join(str(getattr(error, "orig", error)).split())
    what = f"{_address(url)} cannot be opened: {text}"
    return InputError(Problem(VARIABLE, what, "see that the server runs and lets you in"))


def _address(url: URL) -> str:
    """Where a database is, and nothing else of its URL: a password may be among the options of its query too."""
    host = url.host or ", ".join(url.normalized_query.get("host", ())) or "this machine"
    port = url.port or ", ".join(url.normalized_query.get("port", ())) or 5432
    return f"PostgreSQL on {host}, port {port}, database {url.database or 'of the user'}"


@contextmanager
def session_lock(url: URL, name: str, timeout: float = -1) -> Iterator[None]:
    """Hold every other process on the same database off whatever ``name`` stands for.

    Nested only with other names, always in the same order.

    Args:
        url: of the database; the connection must not go through a pool that shares server sessions.
        name: what is locked.
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
    """Connections of their own for locks; one that broke while it was idle is replaced."""
    from sqlalchemy import create_engine

    engine = create_engine(
        url, connect_args=CONNECT, pool_size=1, max_overflow=9, pool_pre_ping=True, isolation_level="AUTOCOMMIT"
    )
    atexit.register(engine.dispose)
    return engine


def refuse_without_lock(engine: Engine) -> None:
    """Have the engine's connections refuse a thread whose lock has been lost since it was taken."""
    from sqlalchemy import event
    from sqlalchemy.exc import OperationalError

    def check(connection: object, record: object, proxy: object) -> None:
        session: Connection | None = getattr(_own, "session", None)
        if session is not None and _was_ended(session):
            raise OperationalError("checkout", {}, ConnectionError("the session that holds the study's lock was ended"))

    event.listen(engine, "checkout", check)


def _was_ended(session: Connection) -> bool:
    """Whether the server has ended an idle session; costs no message to it, which would say nothing otherwise."""
    if session.closed or session.invalidated:
        return True
    found: Any = session.connection.dbapi_connection
    if found is None or found.closed:
        return True
    socket = select.poll()
    socket.register(found.fileno(), select.POLLIN)
    return bool(socket.poll(0))
