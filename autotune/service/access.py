"""Who may do what: the address that a request is for, where it comes from, its token, and how many there are.

A page of another site can have a browser send requests to this machine. It cannot read the answers, but what it sends
must not count: a request that changes something is refused where it says that it comes from elsewhere, and any is that
is for another host name (DNS rebinding).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autotune.service.error_pages import answer_to
from autotune.service.problems import Refused
from autotune.service.settings import MOST_BYTES, ServiceSettings, is_loopback
from autotune.service.tokens import Role, Token, Tokens

COOKIE = "autotune_token"
_SAFE = ("GET", "HEAD", "OPTIONS")
_ADDRESSES = 10_000
"""Addresses whose requests are counted; the one that was quiet longest is forgotten first."""
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # with no-referrer, browsers send forms with the origin "null"
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
LOCAL = Token("local", "local", "admin", 0.0, None, None, None)
"""Who uses a service without tokens."""


@dataclass
class Rates:
    """Counts what each of many does, and says when it is too much (token bucket).

    Attributes:
        per_second: how often each may, in the long run.
        burst: how often at once.
    """

    per_second: float
    burst: float
    _left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def allow(self, who: str) -> bool:
        """Whether it may once more."""
        now = time.monotonic()
        left, before = self._left.pop(who, (self.burst, now))
        left = min(self.burst, left + (now - before) * self.per_second)
        self._left[who] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > _ADDRESSES:
            self._left.popitem(last=False)
        return left >= 1


class Guard:
    """The outermost layer: refuses what is for another host or from another site, too large, or too much.

    Args:
        app: what it guards.
        settings: of the service.
    """

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app, self._settings = app, settings
        self._rates = Rates(settings.limits.requests, 2.0 * settings.limits.requests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        refused = self._refused(scope)
        app = self._app if refused is None else answer_to(Headers(scope=scope), refused)
        await app(scope, receive, send_with_headers)

    def _refused(self, scope: Scope) -> Refused | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_own(host):
            return Refused(421, "this service does not answer for that host name (--name adds one)")
        if scope["method"] not in _SAFE and origin is not None and urlsplit(origin).netloc != host:
            return Refused(403, "requests from pages of other sites are refused")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > MOST_BYTES:
            return Refused(413, f"a request has at most {MOST_BYTES} bytes")
        client = scope.get("client")
        if not self._rates.allow(client[0] if client else ""):
            return Refused(429, "too many requests", headers={"Retry-After": "1"})
        return None

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return is_loopback(name) or name in (self._settings.host, *self._settings.names)


async def read_body(request: Request) -> str:
    """The body as text.

    Raises:
        Refused: it is too large, or not UTF-8.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            raise Refused(413, f"a request has at most {MOST_BYTES} bytes")
        parts.append(part)
    try:
        return b"".join(parts).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(400, "the body is not UTF-8 text") from error


def user_with(role: Role) -> Callable[[Request], object]:
    """A dependency: the token of a request, which may do what a role may.

    It raises :class:`Refused` with 401 without a valid token, and with 403 where that may not.
    """

    async def user(request: Request) -> Token:
        token = await token_of(request)
        if token is None:
            raise Refused(401, "a valid token is needed", headers={"WWW-Authenticate": "Bearer"})
        if not token.may(role):
            raise Refused(403, f"this token may not: it is for {token.role}, and {role} is needed")
        return token

    return user


async def token_of(request: Request) -> Token | None:
    """The valid token of a request, in its header or, of a browser, in its cookie; None without one."""
    settings: ServiceSettings = request.app.state.settings
    if not settings.tokens:
        return LOCAL
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    secret = secret.strip() if kind.lower() == "bearer" else request.cookies.get(COOKIE, "")
    if not secret or len(secret) > 200:
        return None
    tokens: Tokens = request.app.state.tokens
    return tokens.remembered(secret) or await run_in_threadpool(tokens.of, secret)


Reader = Annotated[Token, Depends(user_with("read"))]
Submitter = Annotated[Token, Depends(user_with("submit"))]
