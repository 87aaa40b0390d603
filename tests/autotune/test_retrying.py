"""Patience with what passes, and none with what does not."""

from __future__ import annotations

import errno
import sqlite3

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from autotune.retrying import Patience, passing_trouble


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr("autotune.retrying.time.sleep", waited.append)
    return waited


def database_error(text: str) -> Exception:
    """As Optuna passes it on."""
    error = RuntimeError("An exception is raised during the commit.")
    error.__cause__ = OperationalError("INSERT", {}, sqlite3.OperationalError(text))
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError("Can't write data (file write failed: errno = 28, error message = 'No space')"), "the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk quota is used"),
        (database_error("database is locked"), "the trial store does not answer: database is locked"),
        (database_error("database or disk is full"), "the trial store does not answer: database or disk is full"),
        (database_error("no such table: trials"), ""),
        (IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE")), ""),
        (PermissionError(errno.EACCES, "Permission denied"), ""),
        (FileNotFoundError(errno.ENOENT, "No such file"), ""),
        (ValueError("errno = 28"), ""),
    ],
)
def test_what_passes(error: Exception, words: str) -> None:
    assert passing_trouble(error) == words


def test_it_waits_longer_and_longer_and_says_so_once(waits: list[float]) -> None:
    heard: list[str] = []
    left = [OSError(errno.ENOSPC, "full")] * 9

    def action() -> int:
        if left:
            raise left.pop()
        return 42

    patience = Patience(heard.append, lambda: heard.append("resumed"))
    assert patience(action) == 42
    assert heard == ["the disk is full", "resumed"]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert patience(lambda: 7) == 7
    assert heard == ["the disk is full", "resumed"]


def test_what_does_not_pass_is_raised_at_once(waits: list[float]) -> None:
    def action() -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(PermissionError):
        Patience(lambda reason: None, lambda: None)(action)
    assert waits == []
