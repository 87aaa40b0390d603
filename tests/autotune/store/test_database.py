"""Which database a URL names, and what every kind of database offers."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.errors import InputError
from autotune.objective import Metric
from autotune.store.database import DATABASES, database_file, database_of
from autotune.store.locks import exclusive
from autotune.store.postgres import PostgresDatabase
from autotune.store.sqlite import SqliteDatabase
from autotune.store.trials import TrialStore, study_names

SECRET = "hush"  # noqa: S105
EXPECTED = "give postgresql://USER:PASSWORD@HOST/DATABASE or sqlite:///FILE, or leave it unset"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("sqlite:////data/trials.db", SqliteDatabase),
        ("sqlite+pysqlite:////data/trials.db", SqliteDatabase),
        ("postgresql://tuner@db.example/trials", PostgresDatabase),
        ("postgres://tuner@db.example/trials", PostgresDatabase),
        ("postgresql+psycopg://tuner@db.example/trials", PostgresDatabase),
    ],
)
def test_the_scheme_tells_the_kind(url: str, kind: type[object]) -> None:
    assert type(database_of(url)) is kind


@pytest.mark.parametrize(
    ("url", "what"),
    [
        (f"mysql://tuner:{SECRET}@db.example/trials", "mysql is no kind of store that several processes can share"),
        (f"postgresql://tuner:{SECRET}@db.example:port/trials", "is not a database URL"),
        (SECRET, "is not a database URL"),
    ],
)
def test_any_other_url_is_refused_with_what_would_be_right(url: str, what: str) -> None:
    for refused in (database_of, study_names, lambda url: exclusive(url, "s")):
        with pytest.raises(InputError) as raised:
            refused(url)
        assert str(raised.value) == f"AUTOTUNE_STORAGE: {what}; {EXPECTED}"


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:////data/my trials.db", Path("/data/my trials.db")),
        ("sqlite:///trials.db", Path("trials.db")),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("postgresql://tuner@db.example/trials", None),
        ("http://127.0.0.1:5000", None),  # an MLflow server
        ("mysql://tuner@db.example/mlflow", None),
        ("/data/mlruns", None),
    ],
)
def test_the_file_of_a_database(url: str, file: Path | None) -> None:
    assert database_file(url) == file


def test_a_database_in_memory_needs_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with exclusive("sqlite://", "s"), exclusive("sqlite://", "s", timeout=0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_one_process_at_a_time_holds_a_study(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    with exclusive(url, "s"):
        with pytest.raises(TimeoutError), exclusive(url, "s", timeout=0.01):
            pass
        with exclusive(url, "t", timeout=0):
            pass
    with exclusive(url, "s", timeout=0):
        pass


def test_another_kind_of_database_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(SqliteDatabase):
        """Stands for a database of another kind."""

        example = "oracle://HOST"

        def __init__(self, url: str) -> None:
            super().__init__(f"sqlite:///{tmp_path / 'elsewhere.db'}")

    monkeypatch.setattr("autotune.store.database.DATABASES", {**DATABASES, "oracle": Elsewhere})
    TrialStore.create("oracle://host", "s", Metric("c", "maximize"), {})
    assert study_names("oracle://host") == ["s"]
    with exclusive("oracle://host", "s"):
        pass
    with pytest.raises(InputError, match=r"or oracle://HOST, or leave"):
        database_of("mysql://host")
