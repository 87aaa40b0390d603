"""Tokens: kept as hashes, with roles, an end, and the possibility to revoke them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy import select

from autotune.errors import InputError
from autotune.home import Home
from autotune.service import tokens as module
from autotune.service.database import TOKENS, open_database
from autotune.service.tokens import ROLES, Tokens


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(open_database(Home(tmp_path)))


def test_only_the_hash_is_kept(tokens: Tokens) -> None:
    token, secret = tokens.new("ada", "submit", 1)
    assert len(secret) >= 43 + len(module.PREFIX)
    with tokens._engine.connect() as connection:
        kept = str(connection.execute(select(TOKENS)).all())
    assert secret not in kept and secret.removeprefix(module.PREFIX) not in kept
    found = tokens.of(secret)
    assert found is not None and (found.owner, found.role, found.id) == ("ada", "submit", token.id)
    assert tokens.of(secret + "x") is None and tokens.of("") is None


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_what_lower_ones_may(tokens: Tokens, role: module.Role) -> None:
    token, _ = tokens.new("ada", role, None)
    assert [token.may(other) for other in ROLES] == [ROLES.index(other) <= ROLES.index(role) for other in ROLES]


def test_it_ends_by_itself_and_when_it_is_revoked(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    _, short = tokens.new("ada", "read", 1)
    kept, long = tokens.new("bob", "read", None)
    assert tokens.of(short) and tokens.of(long) and tokens.remembered(short)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_401)
    assert tokens.of(short) is None and tokens.remembered(short) is None and tokens.of(long)
    elsewhere = Tokens(tokens._engine)  # another process
    assert elsewhere.revoke(kept.id).revoked is not None
    monkeypatch.setattr(time, "time", lambda: now + 86_401 + 6)
    assert tokens.remembered(long) is None and tokens.of(long) is None
    with pytest.raises(InputError, match="there is no token"):
        tokens.revoke("nobody")


def test_the_last_use_is_noted(tokens: Tokens) -> None:
    _, secret = tokens.new("ada", "read", None)
    tokens.of(secret)
    assert abs((tokens.all()[0].used or 0) - time.time()) < 10


@pytest.mark.parametrize(
    ("owner", "days"), [("", 1), (" ", 1), ("a" * 101, 1), ("a\nb", 1), ("a", 0), ("a", -1), ("a", 1e9)]
)
def test_mistakes_are_refused(tokens: Tokens, owner: str, days: float) -> None:
    with pytest.raises(InputError):
        tokens.new(owner, "read", days)
