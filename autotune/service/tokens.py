"""Tokens: who may use the service, as what, and until when. A token itself is shown once and kept as its hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import Engine, Row, select, update

from autotune.errors import InputError, Problem
from autotune.service.database import TOKENS

Role = Literal["read", "submit", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
PREFIX = "autotune_"
"""What a token starts with, so that one is recognised where it does not belong."""
_BYTES = 32
_SECONDS_BETWEEN = 60.0
"""Between two notes of when a token was last used."""
_REMEMBERED = 5.0
"""Seconds for which a token is believed without asking the database again: a revoked one is refused after these."""


@dataclass(frozen=True)
class Token:
    """What is known of a token.

    Attributes:
        id: its name for people, such as for revoking it.
        owner: whose it is.
        role: what it may do: read all; submit, too, and cancel its own; or everything.
        created, expires, used, revoked: seconds since the epoch; None for never.
    """

    id: str
    owner: str
    role: Role
    created: float
    expires: float | None
    used: float | None
    revoked: float | None

    def valid(self, now: float) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    def may(self, role: Role) -> bool:
        """Whether it may do what a role may."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Tokens:
    """The tokens of a service."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, tuple[float, Token]] = {}
        self._noted: dict[str, float] = {}
        self._lock = threading.Lock()

    def new(self, owner: str, role: Role, days: float | None) -> tuple[Token, str]:
        """Make a token; the second value is the token itself, which is kept nowhere.

        Raises:
            InputError: the owner or the number of days is no such.
        """
        if not owner.strip() or len(owner) > 100 or not owner.isprintable():
            raise InputError(Problem("--owner", f"{owner!r} is no name", "give 1 to 100 printable characters"))
        if days is not None and not 0 < days <= 36_500:
            raise InputError(Problem("--days", f"{days} is no time to live", "give a number above 0"))
        secret = PREFIX + secrets.token_urlsafe(_BYTES)
        now = time.time()
        expires = None if days is None else now + days * 86_400
        token = Token(secrets.token_hex(4), owner, role, now, expires, None, None)
        with self._engine.begin() as connection:
            connection.execute(
                TOKENS.insert().values(
                    id=token.id, hash=_hash(secret), owner=owner, role=role, created=now, expires=expires
                )
            )
        return token, secret

    def all(self) -> list[Token]:
        """Every token there ever was, the latest last."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(TOKENS).order_by(TOKENS.c.created)).all()
        return [_token(row) for row in rows]

    def revoke(self, identifier: str) -> Token:
        """Revoke a token.

        Raises:
            InputError: there is none of this name.
        """
        with self._engine.begin() as connection:
            done = connection.execute(
                update(TOKENS).where(TOKENS.c.id == identifier, TOKENS.c.revoked.is_(None)).values(revoked=time.time())
            )
        found = next((token for token in self.all() if token.id == identifier), None)
        if found is None:
            raise InputError(Problem("token", f"there is no token {identifier!r}", "autotune token list"))
        if done.rowcount:
            with self._lock:
                self._known.clear()
        return found

    def remembered(self, secret: str) -> Token | None:
        """The valid token, where it was asked for a moment ago; never waits for the database."""
        now = time.time()
        with self._lock:
            asked, token = self._known.get(_hash(secret), (0.0, None))
        fresh = token is not None and now - asked <= _REMEMBERED and token.valid(now)
        return token if fresh else None

    def of(self, secret: str) -> Token | None:
        """The valid token; None where there is none."""
        now, digest = time.time(), _hash(secret)
        token = self._find(digest)
        with self._lock:
            self._known.pop(digest, None)
            if token is not None:
                self._known[digest] = (now, token)
        if token is None or not token.valid(now):
            return None
        self._note(token, now)
        return token

    def _find(self, digest: str) -> Token | None:
        with self._engine.connect() as connection:
            row = connection.execute(select(TOKENS).where(TOKENS.c.hash == digest)).one_or_none()
        # The database has compared; a second time, in constant time, costs nothing.
        return _token(row) if row is not None and hmac.compare_digest(row.hash, digest) else None

    def _note(self, token: Token, now: float) -> None:
        with self._lock:
            if now - self._noted.get(token.id, token.used or 0.0) < _SECONDS_BETWEEN:
                return
            self._noted[token.id] = now
        with self._engine.begin() as connection:
            connection.execute(update(TOKENS).where(TOKENS.c.id == token.id).values(used=now))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _token(row: Row[Any]) -> Token:
    return Token(row.id, row.owner, row.role, row.created, row.expires, row.used, row.revoked)
