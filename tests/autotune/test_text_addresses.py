"""What of an address others may see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.text import without_password

SECRET = st.text(st.characters(codec="ascii", categories=("L", "N", "P"), exclude_characters="&#"), min_size=1)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://u:secret@db/x", "postgresql://u:***@db/x"),
        ("https://user:p/w@h/db", "https://user:***@h/db"),
        ("https://u:p@ss@h", "https://u:***@h"),
        ("https://dapi123token@h/db", "https://***@h/db"),
        (
            "postgresql://db/x?user=u&password=secret&sslmode=require",
            "postgresql://db/x?user=u&password=***&sslmode=require",
        ),
        ("cannot open https://u:secret@h: refused", "cannot open https://u:***@h: refused"),
        ("sqlite:////home/me/mlflow.db", "sqlite:////home/me/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("postgresql://user@db/x", "postgresql://user@db/x"),
    ],
)
def test_what_is_shown(address: str, shown: str) -> None:
    assert without_password(address) == shown
    assert without_password(shown) == shown


@given(secret=SECRET)
def test_no_password_is_left(secret: str) -> None:
    marked = f"SECRET{secret}SECRET"
    for address in (f"https://u:{marked}@h/x", f"postgresql://h/x?password={marked}"):
        assert "SECRET" not in without_password(address)
