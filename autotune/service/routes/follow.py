"""``/api/v1/studies/ID/events``: the events of a study as they come (server-sent events)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent

from autotune.service.access import Reader, token_of
from autotune.service.event_log import read_events, size_of
from autotune.service.jobs import Job
from autotune.service.problems import Refused, declared
from autotune.service.routes.resources import PREFIX, Identifier, board_of, find

router = APIRouter(prefix=f"{PREFIX}/studies", tags=["studies"])
_LOOK = 0.2
_TOKEN_SECONDS = 5.0
"""Between two looks whether the token of an open stream is still valid."""
_LARGEST = 2**53
_AT_ONCE = 200
"""Events that are read before they are sent."""


class NothingMore(Exception):
    """The study has ended and all its events were read: a browser that gets 204 does not ask again."""


async def _followed(
    request: Request,
    identifier: Identifier,
    user: Reader,
    last: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)] = None,
    after: Annotated[int, Query(ge=0, le=_LARGEST)] = 0,
) -> tuple[Job, int]:
    """The study, and the place after which its events are sent. Errors are raised here, before anything is sent."""
    job = find(request, identifier)
    place = int(last) if last is not None and last.isascii() and last.isdecimal() else after
    if job.has_ended and not await run_in_threadpool(_some, board_of(request).events(job), place, 1):
        raise NothingMore
    if request.app.state.streams >= board_of(request).settings.limits.streams:
        raise Refused(503, "too many event streams are open", headers={"Retry-After": "10"})
    return job, place


@router.get(
    "/{identifier}/events",
    response_class=EventSourceResponse,
    responses=declared(404, 422) | {204: {"description": "The study has ended, and all its events were read."}},
)
async def events(
    request: Request, followed: Annotated[tuple[Job, int], Depends(_followed)]
) -> AsyncIterator[ServerSentEvent]:
    """Send each event once, the earlier ones first, until the study has ended.

    An event's id is where to go on: a browser sends it as Last-Event-ID when it connects again, others as ``after``.
    """
    (job, place), board = followed, board_of(request)
    path = board.events(job)
    request.app.state.streams += 1
    asked = time.monotonic()
    try:
        while not request.app.state.ending.is_set():
            if time.monotonic() - asked > _TOKEN_SECONDS:
                asked = time.monotonic()
                if await token_of(request) is None:  # it was revoked, or has expired
                    return
            current = board.get(job.id)
            ended = current is None or current.has_ended  # asked first: nothing is added after that
            while size_of(path) > place:
                read = await run_in_threadpool(_some, path, place)
                if not read:
                    break
                for after, event in read:
                    yield ServerSentEvent(data=event, event=event["event"], id=str(after))
                    place = after
            if ended:
                return
            await asyncio.sleep(_LOOK)
    finally:
        request.app.state.streams -= 1


def _some(path: Path, place: int, most: int = _AT_ONCE) -> list[tuple[int, dict[str, Any]]]:
    """The next events, a limited number of them, each with the place after it."""
    return list(islice(read_events(path, place), most))
