"""The tests of the store make its tables anew, as their users do."""

from __future__ import annotations

import pytest

from autotune.store.sqlite import SqliteDatabase


@pytest.fixture(autouse=True)
def own_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo :func:`tests.once.do_once` for the tables."""
    monkeypatch.setattr(SqliteDatabase, "open", SqliteDatabase.open.__wrapped__)  # type: ignore[attr-defined]
