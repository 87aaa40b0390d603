"""A client of MLflow, whichever kind of place holds the record."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from autotune.store.sqlite import first_touch, sqlite_path
from autotune.text import without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient


def open_client(tracking_uri: str) -> MlflowClient:
    """A client of the MLflow at an address. May raise whatever MLflow or SQLAlchemy raise.

    A database is asked once first: MLflow would go on asking one that does not answer for two minutes.
    """
    from mlflow import MlflowClient

    database = sqlite_path(tracking_uri)
    if database is None and urlsplit(tracking_uri).scheme.partition("+")[0] in ("postgresql", "mysql", "mssql"):
        _connect(tracking_uri)
    with first_touch(database):
        return MlflowClient(tracking_uri=tracking_uri)


def one_line(error: Exception) -> str:
    """Kind of error and the first line of its text, at most 300 characters, without a password."""
    text = (str(error).strip() or "no text").splitlines()[0]
    return without_password(f"{type(error).__name__}: {text}")[:300]


def _connect(uri: str) -> None:
    from mlflow.store.db.utils import create_sqlalchemy_engine

    engine = create_sqlalchemy_engine(uri)  # type: ignore[no-untyped-call]
    try:
        engine.connect().close()
    finally:
        engine.dispose()
