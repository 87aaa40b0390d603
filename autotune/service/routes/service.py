"""Checking a study, calibrations, and how the service itself is."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict

from autotune.errors import AutotuneError, InputError
from autotune.service.access import Reader, Submitter
from autotune.service.checking import check
from autotune.service.problems import Refused, declared
from autotune.service.routes.resources import PREFIX, board_of
from autotune.service.routes.studies import STUDY_BODY, study_text

router = APIRouter(tags=["service"])


class Checked(BaseModel):
    """What a study would do."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """The study's name."""
    plan: str
    """What is tuned, how and on what: as autotune check prints it."""


class Health(BaseModel):
    """How the service is."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    status: str
    """ok, or what is wrong."""


@router.post(f"{PREFIX}/check", response_model=Checked, responses=declared(413, 415, 422), openapi_extra=STUDY_BODY)
async def check_study(request: Request, user: Submitter) -> JSONResponse:
    """Read a study and its measurement, in a process of limited means, and say what would be run. Runs nothing."""
    if not request.app.state.submissions.allow(user.id):
        raise Refused(429, "too many submissions in a minute", headers={"Retry-After": "10"})
    text = await study_text(request)
    board = board_of(request)
    try:
        name, plan = await run_in_threadpool(check, text, board, request.app.state.checks)
    except InputError as error:
        raise Refused(422, "this study cannot be run here", error.problems) from error
    return JSONResponse(Checked(name=name, plan=plan).model_dump())


@router.get(f"{PREFIX}/calibrations/{{name}}", response_model=dict[str, Any], responses=declared(404, 422))
async def calibration(
    request: Request,
    name: Annotated[str, InPath(min_length=1, max_length=200, pattern="^[A-Za-z0-9][A-Za-z0-9 ._-]*$")],
    user: Reader,
    alias: Annotated[str, Query(min_length=1, max_length=100, pattern="^[A-Za-z0-9_-]+$")] = "champion",
) -> JSONResponse:
    """The answer that is registered under a name in MLflow: each parameter with its interval."""
    from autotune.tracking.registry import calibration as registered

    uri = board_of(request).settings.tracking_uri
    try:
        found = await run_in_threadpool(registered, name, alias, uri)
    except InputError as error:
        raise Refused(404, "there is no such calibration", error.problems) from error
    except AutotuneError as error:
        raise Refused(503, "MLflow does not answer", error.problems) from error
    return JSONResponse(json.loads(json.dumps(asdict(found), default=str)))


@router.get("/healthz", response_model=Health, responses=declared())
async def healthz() -> JSONResponse:
    """Say that the service answers."""
    return JSONResponse(Health(status="ok").model_dump())


@router.get("/readyz", response_model=Health, responses=declared())
async def readyz(request: Request) -> JSONResponse:
    """Say whether studies are moved on: 503 where the database does not answer."""
    trouble = request.app.state.supervisor.trouble
    health = Health(status="studies wait: the service's log says why" if trouble else "ok")
    return JSONResponse(health.model_dump(), status_code=503 if trouble else 200)


@router.get("/metrics", response_class=PlainTextResponse, responses=declared())
async def metrics(request: Request, user: Reader) -> PlainTextResponse:
    """Numbers for Prometheus."""
    board = board_of(request)
    lines = ["# HELP autotune_studies Studies of the queue, by state.", "# TYPE autotune_studies gauge"]
    lines += [f'autotune_studies{{state="{state}"}} {count}' for state, count in board.counts()]
    lines += ["# HELP autotune_event_streams Event streams that are open.", "# TYPE autotune_event_streams gauge"]
    lines += [f"autotune_event_streams {request.app.state.streams}"]
    lost = sum(job.lost for job in board.all())
    lines += ["# HELP autotune_lost_processes Processes of studies that were lost.",
              "# TYPE autotune_lost_processes counter", f"autotune_lost_processes {lost}"]  # fmt: skip
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4; charset=utf-8")
