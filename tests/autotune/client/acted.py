"""A service that answers as a test says, without a network: a transport of httpx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx

from autotune.client import Client

ABOUT: dict[str, Any] = {
    "id": "0123456789ab",
    "name": "toy",
    "study": "toy-0123456789ab",
    "state": "queued",
    "state_in_words": "waits",
    "reason": "",
    "position": 1,
    "owner": "local",
    "data": "",
    "created": "2026-01-01T00:00:00.000+00:00",
    "started": None,
    "ended": None,
    "attempts": 0,
    "progress": {
        "doing": "",
        "trials": 0,
        "budget": None,
        "metric": None,
        "goal": None,
        "best": None,
        "best_trial": None,
        "noise_ceiling": None,
        "seconds_left": None,
        "a key of a newer service": 1,
    },
    "links": {"self": "/api/v1/studies/0123456789ab"},
    "a key of a newer service": [1],
}


def answers(status: int, document: object = None, **headers: str) -> httpx.Response:
    """A response with a document as JSON."""
    return httpx.Response(status, headers=headers, content=json.dumps(document).encode())


def problem(status: int, detail: str, **headers: str) -> httpx.Response:
    """A response with problem details."""
    return answers(status, {"title": "", "status": status, "detail": detail, "problems": []}, **headers)


class Acted(httpx.BaseTransport):
    """Gives prepared responses, or raises prepared errors, one for each request; keeps the requests."""

    def __init__(self, *prepared: httpx.Response | Exception) -> None:
        self._prepared: Iterator[httpx.Response | Exception] = iter(prepared)
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        prepared = next(self._prepared)
        if isinstance(prepared, Exception):
            raise prepared
        return prepared

    def client(self, **options: Any) -> Client:
        return Client("http://service.test/prefix/", transport=self, **options)


class Broken(httpx.SyncByteStream):
    """A body that is cut off."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")
