"""``/api/v1/studies/ID/...``: the result, the report, the files and the log of a study."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict

from autotune.service.access import Reader
from autotune.service.job_files import LOG, RESULT, STUDY
from autotune.service.jobs import Job
from autotune.service.problems import Refused, declared
from autotune.service.routes.resources import PREFIX, Identifier, board_of, find

router = APIRouter(prefix=f"{PREFIX}/studies/{{identifier}}", tags=["studies"])
_LOG_BYTES = 1_000_000
_MOST_FILES = 10_000
_PAGE = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Content-Security-Policy of a report: it runs no script and loads nothing."""
_KINDS = {
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".html": "text/html; charset=utf-8",
    ".h5": "application/x-hdf5",
    ".txt": "text/plain; charset=utf-8",
}


class Artifact(BaseModel):
    """A file of a study."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """Its name, below the study's folder."""
    bytes: int
    """Its size."""


class Artifacts(BaseModel):
    """The files of a study."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    artifacts: list[Artifact]
    """The files, by name; at most 10,000."""


def folder_of(request: Request, job: Job) -> Path:
    """The folder of a study's trials and results."""
    return board_of(request).settings.home.study(job.study)


@router.get("/result", response_model=dict[str, Any], responses=declared(404, 409, 422))
async def result(request: Request, identifier: Identifier, user: Reader) -> Response:
    """The answer of a study: result.json."""
    job = find(request, identifier)
    return _file(request, job, RESULT, "its result")


@router.get("/report", response_class=Response, responses=declared(404, 409, 422))
async def report(request: Request, identifier: Identifier, user: Reader) -> Response:
    """The report of a study: one HTML page that runs no script."""
    response = _file(request, find(request, identifier), "report.html", "its report")
    response.headers["Content-Security-Policy"] = _PAGE
    return response


@router.get("/artifacts", response_model=Artifacts, responses=declared(404, 422))
async def artifacts(request: Request, identifier: Identifier, user: Reader) -> JSONResponse:
    """Name the files of a study."""
    folder = folder_of(request, find(request, identifier))
    found = await run_in_threadpool(_listed, folder)
    return JSONResponse(Artifacts(artifacts=found).model_dump())


@router.get("/artifacts/{name:path}", response_class=Response, responses=declared(404, 422))
async def artifact(
    request: Request, identifier: Identifier, name: Annotated[str, InPath(max_length=500)], user: Reader
) -> Response:
    """One file of a study, to be saved."""
    folder = folder_of(request, find(request, identifier))
    path = await run_in_threadpool(_below, folder, name)
    if path is None:
        raise Refused(404, "the study has no file of this name")
    kind = _KINDS.get(path.suffix, "application/octet-stream")
    response = FileResponse(path, media_type=kind, filename=path.name, content_disposition_type="attachment")
    response.headers["Content-Security-Policy"] = _PAGE + "; sandbox"
    return response


@router.get("/log", response_class=PlainTextResponse, responses=declared(404, 422))
async def log(request: Request, identifier: Identifier, user: Reader) -> PlainTextResponse:
    """What the study's process has printed on standard error: the last megabyte."""
    path = board_of(request).settings.job(find(request, identifier).id) / LOG
    return PlainTextResponse(await run_in_threadpool(_tail, path))


class StudyFileResponse(PlainTextResponse):
    """A study file."""

    media_type = "application/yaml"


@router.get(
    "/study",
    response_class=StudyFileResponse,
    responses=declared(404, 422) | {200: {"content": {"application/yaml": {"schema": {}}}}},
)
async def study(request: Request, identifier: Identifier, user: Reader) -> StudyFileResponse:
    """The study file that is run, with what the operator has set."""
    path = board_of(request).settings.job(find(request, identifier).id) / STUDY
    return StudyFileResponse(await run_in_threadpool(_tail, path))


def _file(request: Request, job: Job, name: str, what: str) -> FileResponse:
    """A file that a study has once it has ended, or has been reported on."""
    path = folder_of(request, job) / name
    if not path.is_file():
        if job.has_ended:
            raise Refused(404, f"the study has ended without {what}: it is {job.state}")
        raise Refused(409, f"the study is {job.state}; {what} comes later", headers={"Retry-After": "5"})
    return FileResponse(path, media_type=_KINDS[path.suffix])


def _listed(folder: Path) -> list[Artifact]:
    found: list[Artifact] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent) / name
            if name.startswith(".") or path.is_symlink() or not path.is_file():
                continue
            found.append(Artifact(name=path.relative_to(folder).as_posix(), bytes=path.stat().st_size))
            if len(found) == _MOST_FILES:
                return found
    return found


def _below(folder: Path, name: str) -> Path | None:
    """A file below a folder; None where there is none, or a part of its name or a link leads elsewhere."""
    parts = name.split("/")
    if "\0" in name or "\\" in name or any(part in ("", ".", "..") or part.startswith(".") for part in parts):
        return None
    path = folder.joinpath(*parts)
    try:
        resolved, inside = path.resolve(strict=True), folder.resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        return None
    return path if resolved.is_file() and resolved.is_relative_to(inside) and not path.is_symlink() else None


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _LOG_BYTES))
            return stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
