"""``/api/v1/studies``: submit, list, look at, cancel, resume and delete studies."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from autotune.errors import InputError
from autotune.service.access import Reader, Submitter, read_body
from autotune.service.jobs import Job, State
from autotune.service.problems import Refused, declared
from autotune.service.routes.resources import (
    PREFIX,
    Identifier,
    StudyList,
    StudyResource,
    board_of,
    find,
    find_own,
    resource,
    resources,
)

router = APIRouter(prefix=f"{PREFIX}/studies", tags=["studies"])
TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "application/json")
"""Media types of a study."""
_SCHEMAS = {kind: {"schema": {"type": "object" if kind.endswith("json") else "string"}} for kind in TYPES}
STUDY_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": _SCHEMAS}}
"""What the schema of the service says of a body that is a study."""
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255, pattern="^[!-~]+$")]


async def study_text(request: Request) -> str:
    """The study in a request's body.

    Raises:
        Refused: it is of another type, or empty.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in TYPES:
        raise Refused(415, f"a study is sent as {', '.join(TYPES)}, not {kind[:100] or 'without a Content-Type'}")
    text = await read_body(request)
    if not text.strip():
        raise Refused(400, "the body is empty: send a study file")
    return text


@router.post(
    "",
    status_code=202,
    response_model=StudyResource,
    responses=declared(409, 413, 415, 422) | {202: {"description": "It is queued; Location is its path."}},
    openapi_extra=STUDY_BODY,
)
async def submit(request: Request, user: Submitter, key: Key = None) -> Response:
    """Queue a study. With an Idempotency-Key that was used before, the same study is returned."""
    if not request.app.state.submissions.allow(user.id):
        raise Refused(429, "too many submissions in a minute", headers={"Retry-After": "10"})
    text, board = await study_text(request), board_of(request)
    try:
        job, _ = await run_in_threadpool(board.submit, text, user.owner, key)
    except InputError as error:
        raise Refused(422, "this study cannot be run here", error.problems) from error
    return _accepted(request, job)


@router.get("", response_model=StudyList, responses=declared(404, 422))
async def list_studies(
    request: Request,
    user: Reader,
    state: Annotated[list[State] | None, Query()] = None,
    after: Annotated[str | None, Query(pattern="^[0-9a-f]{12}$")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> JSONResponse:
    """List studies, the latest first: those in some states, after the one of an id."""
    board = board_of(request)
    jobs = sorted(board.all(state), key=lambda job: -job.number)
    if after is not None:
        last = find(request, after)
        jobs = [job for job in jobs if job.number < last.number]
    page = jobs[:limit]
    states = "".join(f"&state={one}" for one in state or ())
    more = f"{PREFIX}/studies?after={page[-1].id}&limit={limit}{states}" if len(jobs) > limit else None
    studies = StudyList(studies=await resources(board, page), next=more)
    return JSONResponse(studies.model_dump())


@router.get("/{identifier}", response_model=StudyResource, responses=declared(404, 422))
async def look(request: Request, identifier: Identifier, user: Reader) -> JSONResponse:
    """Say how a study is."""
    (about,) = await resources(board_of(request), [find(request, identifier)])
    return JSONResponse(about.model_dump())


@router.post("/{identifier}/cancel", status_code=202, response_model=StudyResource, responses=declared(404, 409, 422))
async def cancel(request: Request, identifier: Identifier, user: Submitter) -> Response:
    """Cancel a study: its process is told to stop, and killed with all that it has started where it does not."""
    job = find_own(request, identifier, user)
    job = await run_in_threadpool(board_of(request).cancel, job, time.time(), f"cancelled by {user.owner}")
    return _accepted(request, job)


@router.post("/{identifier}/resume", status_code=202, response_model=StudyResource, responses=declared(404, 409, 422))
async def resume(request: Request, identifier: Identifier, user: Submitter) -> Response:
    """Queue a study again that has failed, or was cancelled or interrupted: it goes on where it was."""
    job = await run_in_threadpool(board_of(request).resume, find_own(request, identifier, user))
    return _accepted(request, job)


@router.delete(
    "/{identifier}",
    status_code=204,
    responses=declared(404, 409, 422) | {204: {"description": "It is not in the queue any more."}},
)
async def delete(request: Request, identifier: Identifier, user: Submitter) -> Response:
    """Forget a study that has ended. Its trials, report and MLflow run stay where they are kept."""
    await run_in_threadpool(board_of(request).remove, find_own(request, identifier, user))
    return Response(status_code=204)


def _accepted(request: Request, job: Job) -> JSONResponse:
    about = resource(board_of(request), job)
    return JSONResponse(about.model_dump(), status_code=202, headers={"Location": about.links["self"]})
