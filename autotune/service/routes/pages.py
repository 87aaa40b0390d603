"""The pages for people: the queue, one study, submitting, cancelling, logging in."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from autotune.errors import InputError, Problem
from autotune.service.access import COOKIE, token_of
from autotune.service.chart import chart
from autotune.service.error_pages import sentence
from autotune.service.event_log import size_of
from autotune.service.forms import read_form
from autotune.service.job_files import RESULT
from autotune.service.jobs import RESUMABLE, Job
from autotune.service.problems import Refused
from autotune.service.rendering import STATIC, page, static_file
from autotune.service.routes.files import folder_of
from autotune.service.routes.resources import board_of, find, find_own, is_own, resource, resources
from autotune.service.tokens import Token

router = APIRouter(include_in_schema=False)
_SHOWN = 50


@router.get("/")
async def index(request: Request, after: Annotated[str | None, Query(pattern="^[0-9a-f]{12}$")] = None) -> Response:
    """The queue, and a form to submit a study."""
    user = await token_of(request)
    if user is None:
        return RedirectResponse("/login", 303)
    return await _index(request, user, after)


@router.post("/submit")
async def submit(request: Request) -> Response:
    """Submit what the form holds; the form again, with what is wrong, where it cannot be run."""
    user, board = await _user(request, "submit"), board_of(request)
    if not request.app.state.submissions.allow(user.id):
        raise Refused(429, "too many submissions in a minute")
    fields = await read_form(request)
    text = fields.get("file", "") or fields.get("study", "")  # without a script, the file itself is sent
    try:
        if not text.strip():
            raise Refused(422, "the study is empty: choose a file, or write its text")
        job, _ = await run_in_threadpool(board.submit, text, user.owner, None)
    except InputError as error:
        return await _index(request, user, None, text, "This study cannot be run here.", error.problems, 422)
    except Refused as refused:
        return await _index(request, user, None, text, sentence(refused.detail), refused.problems, refused.status)
    return RedirectResponse(f"/studies/{job.id}", 303)


@router.get("/studies/{identifier}")
async def study(request: Request, identifier: str) -> Response:
    """One study: how it goes, and its answer."""
    user = await token_of(request)
    if user is None:
        return RedirectResponse("/login", 303)
    job, board = find(request, identifier), board_of(request)
    after = size_of(board.events(job))  # before all else is read: what is added meanwhile is told to the page
    (about,) = await resources(board, [job])
    result = await run_in_threadpool(_result, request, job)
    return page(
        "study.html",
        user=user,
        study=about,
        ended=job.has_ended,
        after=after,
        chart=chart(about.progress, board.steps(job)),
        may_cancel=is_own(job, user) and not job.has_ended,
        may_resume=is_own(job, user) and job.state in RESUMABLE,
        parameters=_parameters(result),
        has_report=(folder_of(request, job) / "report.html").is_file(),
        run=_run_in_mlflow(result),
    )


@router.get("/studies/{identifier}/cancel")
async def ask_to_cancel(request: Request, identifier: str) -> Response:
    """Ask whether a study is to be cancelled, where no script shows the dialog."""
    job, user = await _own(request, identifier)
    if job.has_ended:
        return RedirectResponse(f"/studies/{job.id}", 303)
    return page("cancel.html", user=user, study=resource(board_of(request), job))


@router.post("/studies/{identifier}/cancel")
async def cancel(request: Request, identifier: str) -> Response:
    """Cancel a study, and show it."""
    job, user = await _own(request, identifier)
    await run_in_threadpool(board_of(request).cancel, job, time.time(), f"cancelled by {user.owner}")
    return RedirectResponse(f"/studies/{job.id}", 303)


@router.post("/studies/{identifier}/resume")
async def resume(request: Request, identifier: str) -> Response:
    """Queue a study again, and show it."""
    job, _ = await _own(request, identifier)
    await run_in_threadpool(board_of(request).resume, job)
    return RedirectResponse(f"/studies/{job.id}", 303)


@router.get("/login")
async def login_form(request: Request) -> Response:
    """The form for a token."""
    return page("login.html", user=None, wrong="")


@router.post("/login")
async def login(request: Request) -> Response:
    """Keep a valid token in a cookie that scripts cannot read and other sites do not send."""
    if not request.app.state.logins.allow(request.client.host if request.client else ""):
        return page("login.html", 429, user=None, wrong="Too many attempts; wait a minute.")
    secret = (await read_form(request)).get("token", "").strip()
    token = await run_in_threadpool(request.app.state.tokens.of, secret) if len(secret) <= 200 else None
    if token is None:
        return page("login.html", 401, user=None, wrong="This token is not valid.")
    response = RedirectResponse("/", 303)
    response.set_cookie(COOKIE, secret, httponly=True, samesite="lax", secure=request.url.scheme == "https")
    return response


@router.post("/logout")
async def logout() -> Response:
    """Forget the cookie."""
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE)
    return response


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """The style and the script of the pages."""
    if name not in STATIC:
        raise Refused(404, "there is no such file")
    return Response(static_file(name), media_type=STATIC[name], headers={"Cache-Control": "no-cache"})


async def _index(
    request: Request,
    user: Token,
    after: str | None,
    text: str = "",
    detail: str = "",
    problems: Sequence[Problem] = (),
    status: int = 200,
) -> Response:
    board = board_of(request)
    jobs = sorted(board.all(), key=lambda job: -job.number)
    if after is not None:
        last = find(request, after)
        jobs = [job for job in jobs if job.number < last.number]
    shown = jobs[:_SHOWN]
    roots = board.settings.roots
    return page(
        "index.html",
        status,
        user=user,
        page="/" if after is None else f"/?after={after}",
        latest=after is None,
        studies=await resources(board, shown),
        cancellable={job.id for job in shown if is_own(job, user) and not job.has_ended and job.state != "cancelling"},
        more=f"/?after={shown[-1].id}" if len(jobs) > _SHOWN else "",
        summary=", ".join(f"{count} {state}" for state, count in board.counts() if count) or "Nothing is running.",
        text=text,
        detail=detail,
        problems=[str(problem) for problem in problems] or ([detail] if detail else []),
        roots=", ".join(root.name or str(root) for root in roots),
    )


async def _user(request: Request, role: Any) -> Token:
    user = await token_of(request)
    if user is None:
        raise Refused(401, "log in first")
    if not user.may(role):
        raise Refused(403, f"this token may not: it is for {user.role}")
    return user


async def _own(request: Request, identifier: str) -> tuple[Job, Token]:
    user = await _user(request, "submit")
    return find_own(request, identifier, user), user


def _result(request: Request, job: Job) -> dict[str, Any]:
    try:
        found = json.loads((folder_of(request, job) / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _parameters(result: dict[str, Any]) -> list[dict[str, str]]:
    """Rows of the answer, as text."""
    rows = []
    for name, found in result.get("parameters", {}).items():
        best, interval, unit = found["best"], found["interval"], found["unit"]
        rows.append(
            {
                "name": name,
                "best": "-" if best is None else f"{best:.6g}" if isinstance(best, float) else str(best),
                "interval": "" if interval is None else f"{interval[0]:.6g} .. {interval[1]:.6g}",
                "unit": "" if unit == "1" else unit,
                "verdict": ": ".join(text for text in (_words(found["verdict"]), found["note"]) if text),
            }
        )
    return rows


def _words(verdict: str | None) -> str:
    return (verdict or "").replace("_", " ")


def _run_in_mlflow(result: dict[str, Any]) -> dict[str, str]:
    """Id of the study's run in MLflow, and its address where it is recorded by a server; empty where there is none."""
    record = result.get("mlflow") or {}
    uri, run = record.get("tracking_uri") or "", record.get("run_id") or ""
    on_server = run and uri.startswith(("http://", "https://"))
    return {"id": run, "address": f"{uri.rstrip('/')}/#/runs/{quote(run)}" if on_server else ""}
