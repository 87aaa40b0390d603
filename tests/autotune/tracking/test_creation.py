"""MLflow's database is whole or absent, at whatever moment its making is killed."""

from __future__ import annotations

import logging
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autotune.tracking.client import open_client
from autotune.tracking.creation import ensure_whole

MAKE = """
import sys
from pathlib import Path
from autotune.tracking.creation import ensure_whole
ensure_whole(Path(sys.argv[1]))
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def recorded(file: Path) -> int:
    client = open_client(f"sqlite:///{file}")
    client.create_run(client.create_experiment("e"))
    return len(client.search_experiments())


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 0.8, 1.5, 2.5, 4.0, 6.0])
def test_a_killed_making_leaves_none(seconds: float, tmp_path: Path) -> None:
    """The next process makes it anew, and takes away what was left."""
    file = tmp_path / "mlflow.db"
    process = subprocess.Popen([sys.executable, "-c", MAKE, str(file)])
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not file.exists() or recorded(file) == 2
    if not file.exists():
        assert recorded(file) == 2
    assert names(tmp_path) == ["mlflow.db"]


def unfinished(migrated: Path, file: Path, *statements: str) -> None:
    shutil.copy(migrated, file)
    with sqlite3.connect(file) as connection:
        for statement in ("DELETE FROM experiments", *statements):
            connection.execute(statement)


BEGINNINGS = {
    "a table in the middle of a migration": [
        "UPDATE alembic_version SET version_num = 'a'",
        "CREATE TABLE _alembic_tmp_runs (a)",
    ],
    "an earlier version": ["UPDATE alembic_version SET version_num = '451aebb31d03'"],
    "no version yet": ["DROP TABLE alembic_version"],
    "no row of it": ["DELETE FROM alembic_version"],
}


@pytest.mark.parametrize("how", BEGINNINGS)
def test_the_beginning_of_one_is_replaced(
    how: str, migrated: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As versions that made it in place have left it; what it was is kept."""
    from autotune.tracking import creation

    monkeypatch.setattr(creation, "_make", lambda path: shutil.copy(migrated, path))
    unfinished(migrated, tmp_path / "mlflow.db", *BEGINNINGS[how])
    with caplog.at_level(logging.WARNING):
        assert recorded(tmp_path / "mlflow.db") == 2
    assert "was not made to its end" in caplog.text
    assert names(tmp_path) == ["mlflow.db", "mlflow.db.unfinished"]


@pytest.mark.parametrize("statement", ["INSERT INTO experiments (name) VALUES ('mine')", "CREATE TABLE of_mine (a)"])
def test_what_holds_anything_stays(statement: str, migrated: Path, tmp_path: Path) -> None:
    """A database of an earlier MLflow, or of another program, is not this module's to replace."""
    file = tmp_path / "mlflow.db"
    if "of_mine" in statement:
        with sqlite3.connect(file) as connection:
            connection.execute(statement)
    else:
        unfinished(migrated, file, "UPDATE alembic_version SET version_num = '451aebb31d03'", statement)
    before = file.read_bytes()
    ensure_whole(file)
    assert file.read_bytes() == before and names(tmp_path) == ["mlflow.db"]
    (tmp_path / "text.db").write_text("no database")
    ensure_whole(tmp_path / "text.db")
    assert (tmp_path / "text.db").read_text() == "no database"


def test_an_empty_file_becomes_one(migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autotune.tracking import creation

    monkeypatch.setattr(creation, "_make", lambda path: shutil.copy(migrated, path))
    (tmp_path / "mlflow.db").touch()
    assert recorded(tmp_path / "mlflow.db") == 2
