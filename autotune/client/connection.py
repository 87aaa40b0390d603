"""How a client reaches its service: address, token, and httpx's answers and errors as ours."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx

from autotune import __version__
from autotune.client.errors import Unreachable, strange
from autotune.client.event_stream import Following
from autotune.client.resources import Event
from autotune.client.steps import Answer, Call
from autotune.errors import InputError, Problem
from autotune.text import without_password

STREAM_SILENCE = 60.0
"""Seconds without a byte after which a stream of events counts as lost; the service sends one every 15 s."""
_LONGEST_TOKEN = 200


def checked_address(url: str) -> str:
    """The address of a service, without a slash at its end.

    Raises:
        InputError: it is no address of a service. A password in it is not in the message.
    """
    remedy = "give the address that autotune serve prints, such as http://127.0.0.1:8000"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(Problem("url", f"{without_password(str(url))!r:.200} is no address", remedy)) from error
    if parts.username is not None or parts.password is not None:
        raise InputError(Problem("url", "holds a user or a password", "leave it out, and give a token"))
    if parts.scheme not in ("http", "https") or not host or port == 0 or parts.query or parts.fragment:
        raise InputError(Problem("url", f"{without_password(url)!r:.200} is no address of a service", remedy))
    return url.rstrip("/")


def request_headers(token: str | None) -> dict[str, str]:
    """The headers of every request.

    Raises:
        InputError: the token can be none. It is not in the message.
    """
    headers = {"User-Agent": f"autotune/{__version__}", "Accept": "application/json, application/problem+json"}
    if token is None:
        return headers
    if not 1 <= len(token) <= _LONGEST_TOKEN or not all("!" <= character <= "~" for character in token):
        raise InputError(Problem("token", "is none", "give the line that autotune token new printed, without blanks"))
    return headers | {"Authorization": f"Bearer {token}"}


def through_environment(address: str) -> bool:
    """Whether requests heed the environment's proxies: not those to this machine, which a proxy would not find."""
    host = urlsplit(address).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def arguments(call: Call) -> dict[str, Any]:
    """A call as the arguments of httpx's ``build_request``."""
    return {
        "method": call.method,
        "url": call.address,
        "params": list(call.query) or None,
        "headers": dict(call.headers),
        "content": call.body,
    }


def answer_of(response: httpx.Response, body: bytes) -> Answer:
    """httpx's response as ours."""
    return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)


def unreachable(error: httpx.RequestError) -> Unreachable:
    """httpx's error as ours."""
    unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    mistake = isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError | httpx.DecodingError)
    text = str(error) or type(error).__name__
    return Unreachable(text, sent=not unsent, passing=not mistake and "CERTIFICATE_VERIFY_FAILED" not in text)


def stream_timeout(timeout: float) -> httpx.Timeout:
    """The timeouts of a stream of events, in seconds."""
    return httpx.Timeout(timeout, read=max(timeout, STREAM_SILENCE))


def unwritten(call: Call, error: OSError) -> InputError:
    """The error of a download that this machine's disk does not take."""
    return InputError(Problem(str(call.target), f"cannot be written: {error.strerror}", "name another file"))


def require_stream(call: Call, response: httpx.Response) -> None:
    """Raise :class:`ServiceError` where an answer is no stream of events."""
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        raise strange(call, "answers with what is no stream of events")


def parsed(call: Call, following: Following, piece: bytes) -> Iterator[Event]:
    """The new events that are complete with a piece of a stream.

    Raises:
        ServiceError: it is no stream of a study's events.
    """
    try:
        yield from following.feed(piece)
    except ValueError as error:
        raise strange(call, f"answers with a stream that cannot be read: {error}") from error
