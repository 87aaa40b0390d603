"""What is said of PostgreSQL's URLs; no server is needed."""

from __future__ import annotations

import pytest

from autotune.errors import InputError
from autotune.store.database import database_of
from autotune.store.postgres import cannot_connect, server_url

pytest.importorskip("psycopg", reason="needs the extra postgres")

SECRET = "hush"  # noqa: S105


@pytest.mark.parametrize("kind", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_both_names_of_the_server_are_known(kind: str) -> None:
    url = server_url(f"{kind}://tuner:{SECRET}@db.example:6543/trials?sslmode=require")
    assert url.render_as_string(hide_password=False) == (
        f"postgresql+psycopg://tuner:{SECRET}@db.example:6543/trials?sslmode=require"
    )


def test_another_kind_is_refused_without_its_password() -> None:
    with pytest.raises(InputError, match="mysql is no kind of store") as raised:
        database_of(f"mysql://tuner:{SECRET}@db.example/trials")
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        (f"tuner:{SECRET}@db.example:6543/trials", "PostgreSQL on db.example, port 6543, database trials"),
        (f"tuner@db.example/trials?password={SECRET}", "PostgreSQL on db.example, port 5432, database trials"),
        (f"/trials?host=/run/pg&port=99&password={SECRET}", "PostgreSQL on /run/pg, port 99, database trials"),
        (f"/?password={SECRET}", "PostgreSQL on this machine, port 5432, database of the user"),
    ],
)
def test_where_a_server_was_looked_for_is_said_without_a_password(url: str, where: str) -> None:
    error = cannot_connect(server_url(f"postgresql://{url}"), ConnectionError("refused"))
    assert str(error).startswith(f"AUTOTUNE_STORAGE: {where} cannot be opened: refused")
    assert SECRET not in str(error)
