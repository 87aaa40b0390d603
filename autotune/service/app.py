"""The service as an ASGI application: the queue with its supervisor behind the paths of ``routes``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Semaphore
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from autotune import __version__
from autotune.errors import Problem
from autotune.service.access import Guard, Rates
from autotune.service.board import Board
from autotune.service.database import JobTable, open_database, place_of
from autotune.service.error_pages import answer_to
from autotune.service.launcher import Launcher
from autotune.service.problems import ProblemDetails, Refused
from autotune.service.routes import files, follow, pages, service, studies
from autotune.service.settings import ServiceSettings
from autotune.service.supervisor import Supervisor
from autotune.service.tokens import Tokens

_CHECKS_AT_ONCE = 2
_log = logging.getLogger(__name__)


def make_app(settings: ServiceSettings, launcher: Launcher) -> FastAPI:
    """The application of a service; studies are moved on while it is served.

    Args:
        settings: of the service.
        launcher: where the studies' processes run.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: its tables cannot be opened.
    """
    engine = open_database(settings.home)
    board = Board(settings, JobTable(engine, place_of(settings.home)))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.ending = asyncio.Event()
        supervisor = Supervisor(board, launcher)
        app.state.supervisor = supervisor
        supervisor.start()
        yield
        app.state.ending.set()
        await asyncio.to_thread(supervisor.stop)
        launcher.leave()
        engine.dispose()

    app = FastAPI(
        title="autotune",
        version=__version__,
        description="Submit studies, follow them, and collect their answers.",
        lifespan=lifespan,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    app.state.settings, app.state.board, app.state.tokens = settings, board, Tokens(engine)
    app.state.streams, app.state.checks = 0, Semaphore(_CHECKS_AT_ONCE)
    app.state.submissions = Rates(settings.limits.submissions / 60, settings.limits.submissions)
    app.state.logins = Rates(1 / 6, 10)
    for part in (studies, follow, files, service, pages):
        app.include_router(part.router)
    app.add_exception_handler(Refused, _answer_refused)
    app.add_exception_handler(follow.NothingMore, _nothing_more)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(SQLAlchemyError, _answer_database)
    app.add_exception_handler(Exception, _answer_unexpected)
    app.add_middleware(Guard, settings=settings)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The schema, with problem details as what every error is."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        details = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= details.pop("$defs", {}) | {"ProblemDetails": details}
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        app.openapi_schema = schema
    return app.openapi_schema


async def _nothing_more(request: Request, error: Exception) -> Response:
    return Response(status_code=204)


async def _answer_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101
    return answer_to(request.headers, error)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    problems = [
        Problem(".".join(str(part) for part in fault.get("loc", ())), str(fault.get("msg", "")))
        for fault in error.errors()
    ]
    return answer_to(request.headers, Refused(422, "the request is not as it should be", problems))


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    return answer_to(request.headers, Refused(error.status_code, str(error.detail), headers=error.headers))


async def _answer_database(request: Request, error: Exception) -> Response:
    _log.warning("database: %s", type(error).__name__)
    return answer_to(
        request.headers, Refused(503, "the database does not answer; try again", headers={"Retry-After": "5"})
    )


async def _answer_unexpected(request: Request, error: Exception) -> Response:
    return answer_to(request.headers, Refused(500, "something went wrong here; the service's log says what"))
