"""What the service says of a study, as it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Path as InPath
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict

from autotune.service.board import Board
from autotune.service.jobs import IN_WORDS, Job, State
from autotune.service.problems import Refused
from autotune.service.progress import Progress
from autotune.service.tokens import Token

PREFIX = "/api/v1"
Identifier = Annotated[str, InPath(pattern="^[0-9a-f]{12}$", description="The study's id.")]


class StudyResource(BaseModel):
    """A study of the queue."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str
    """Its identifier here."""
    name: str
    """Its name, as its user stated it."""
    study: str
    """Its name in the trial store, in MLflow and in the home's folders."""
    state: State
    """queued, starting, running, cancelling; or how it ended."""
    state_in_words: str
    """The same in words."""
    reason: str
    """Why it is in this state; may be empty."""
    position: int | None
    """Place in the queue, from 1; null where it does not wait."""
    owner: str
    """Who submitted it."""
    data: str
    """The measurement that it names; may be empty."""
    created: str
    """When it was submitted, UTC, ISO 8601."""
    started: str | None
    """When its process was last started; null before."""
    ended: str | None
    """When it ended; null before."""
    attempts: int
    """How often its process was started."""
    progress: Progress
    """How far it is."""
    links: dict[str, str]
    """Paths of what belongs to it, by what they are."""


class StudyList(BaseModel):
    """Studies, the latest first."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    studies: list[StudyResource]
    """The studies."""
    next: str | None
    """Path of those that come after these; null where there are none."""


def board_of(request: Request) -> Board:
    """The queue."""
    board: Board = request.app.state.board
    return board


def find(request: Request, identifier: str) -> Job:
    """The study of this id.

    Raises:
        Refused: there is none.
    """
    job = board_of(request).get(identifier)
    if job is None:
        raise Refused(404, "there is no study of this id")
    return job


def find_own(request: Request, identifier: str, user: Token) -> Job:
    """The study of this id, which a user may change.

    Raises:
        Refused: it is another's, or there is none.
    """
    job = find(request, identifier)
    if not is_own(job, user):
        raise Refused(403, "this study is another user's")
    return job


def is_own(job: Job, user: Token) -> bool:
    """Whether a user may change a study: his own, or any for an admin."""
    return user.may("admin") or (user.may("submit") and job.owner == user.owner)


async def resources(board: Board, jobs: Sequence[Job]) -> list[StudyResource]:
    """What is said of some studies; long events are read in another thread, so that no other request waits."""
    behind = [job for job in jobs if board.is_far_behind(job)]
    if behind:
        await run_in_threadpool(lambda: [board.progress(job) for job in behind])
    return [resource(board, job) for job in jobs]


def resource(board: Board, job: Job) -> StudyResource:
    """What is said of a study."""
    own = f"{PREFIX}/studies/{job.id}"
    parts = ("events", "result", "report", "artifacts", "log", "cancel", "resume")
    return StudyResource(
        id=job.id,
        name=job.name,
        study=job.study,
        state=job.state,
        state_in_words=IN_WORDS[job.state],
        reason=job.reason,
        position=board.position(job),
        owner=job.owner,
        data=job.data,
        created=job.created,
        started=job.started,
        ended=job.ended,
        attempts=job.attempts,
        progress=board.progress(job),
        links={"self": own, "page": f"/studies/{job.id}"} | {part: f"{own}/{part}" for part in parts},
    )
