"""The way to MLflow, whichever kind of place holds the record: a client, the environment and the quiet that it needs.

Importing this imports no MLflow.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from autotune.store.database import database_file
from autotune.store.sqlite import first_touch
from autotune.text import without_password
from autotune.tracking.creation import ensure_whole

if TYPE_CHECKING:
    from mlflow import MlflowClient

_log = logging.getLogger(__name__)
_CREDENTIALS = (
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_TRACKING_AWS_SIGV4",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
)
_SERVERS = ("http", "https", "databricks", "databricks-uc")
_DATABASE_SERVERS = ("postgresql", "mysql", "mssql")
_ANALYSED_ROWS = 1000  # of each index: enough for the planner, and as quick in a large database as in a small one


def open_client(tracking_uri: str) -> MlflowClient:
    """A client of the MLflow at an address. May raise whatever MLflow or SQLAlchemy raise.

    A database server is asked once first: MLflow would go on asking one that does not answer for two minutes.
    """
    from mlflow import MlflowClient

    _withhold_credentials(tracking_uri)
    if urlsplit(tracking_uri).scheme.partition("+")[0] in _DATABASE_SERVERS:
        _connect(tracking_uri)
    file = record_file(tracking_uri)
    with first_touch(file):
        if file is not None and os.access(file.parent, os.W_OK):
            ensure_whole(file)
        return MlflowClient(tracking_uri=tracking_uri)


def _withhold_credentials(tracking_uri: str) -> None:
    """Take MLflow's credentials out of this process's environment where they are for another server.

    MLflow sends them to whatever server a client is opened for, and a study file may name any. They are for the one
    that the environment names.
    """
    from mlflow.utils import credentials

    if urlsplit(tracking_uri).scheme not in ("http", "https"):  # of Databricks the environment names the host
        return
    if _same_server(tracking_uri, os.environ.get("MLFLOW_TRACKING_URI", "")):
        return
    withheld = [name for name in _CREDENTIALS if os.environ.pop(name, None) is not None]
    if any(credentials._read_mlflow_creds_from_file()):
        withheld.append("the user's MLflow credentials file")
        credentials._read_mlflow_creds_from_file = lambda: (None, None)
    if withheld:
        _log.warning(
            "%s: not sent to %s; to use it there, set MLFLOW_TRACKING_URI to that address",
            ", ".join(withheld),
            without_password(tracking_uri),
        )


def _same_server(one: str, other: str) -> bool:
    """Whether two addresses are on one server, reached the same way."""
    first, second = urlsplit(one), urlsplit(other)
    try:
        return (first.scheme, first.hostname, first.port) == (second.scheme, second.hostname, second.port)
    except ValueError:  # a port that is no number
        return False


def record_file(tracking_uri: str) -> Path | None:
    """The SQLite file of MLflow's own at an address; None where a server, or a database on one, keeps the record."""
    return database_file(tracking_uri)


def is_server(tracking_uri: str) -> bool:
    """Whether an MLflow server is at the address, which has a place of its own for artifacts."""
    return urlsplit(tracking_uri).scheme in _SERVERS


def refresh_statistics(tracking_uri: str) -> None:
    """ANALYZE, without which SQLite takes seconds to sort thousands of runs by a metric in the UI."""
    file = record_file(tracking_uri)
    if file is not None:
        # Only a speed-up: a database that someone else holds locked just goes without.
        with (
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(sqlite3.connect(file, timeout=5)) as connection,
        ):
            connection.execute(f"PRAGMA analysis_limit = {_ANALYSED_ROWS}")
            connection.execute("ANALYZE")
            connection.commit()


def one_line(error: Exception) -> str:
    """Kind of error and the first line of its text, at most 300 characters, without a password."""
    text = (str(error).strip() or "no text").splitlines()[0]
    return without_password(f"{type(error).__name__}: {text}")[:300]


def prepare_environment() -> None:
    """Set MLflow's environment variables where the user has not.

    Instruments often have no outside network, so MLflow's usage telemetry stays off. MLflow itself waits several
    minutes for a silent server, and it prints links to runs in the middle of a progress line.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")


@contextlib.contextmanager
def quiet_thread() -> Iterator[None]:
    """Keep what this thread logs through MLflow, Alembic and urllib3 off the terminal.

    Creating the database and retrying a server print dozens of lines, tracebacks among them; a failure
    reaches the user as one line. Other threads, and handlers on the root logger, are not touched.
    """
    import mlflow  # noqa: F401  (installs its log handlers)

    this_thread = threading.get_ident()

    def from_elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != this_thread

    mutes: list[logging.Filterer] = [logging.getLogger("urllib3.connectionpool")]
    for name in ("mlflow", "alembic"):
        mutes.extend(logging.getLogger(name).handlers)
    for mute in mutes:
        mute.addFilter(from_elsewhere)
    try:
        yield
    finally:
        for mute in mutes:
            mute.removeFilter(from_elsewhere)


def _connect(uri: str) -> None:
    from mlflow.store.db.utils import create_sqlalchemy_engine

    engine = create_sqlalchemy_engine(uri)  # type: ignore[no-untyped-call]
    try:
        engine.connect().close()
    finally:
        engine.dispose()
