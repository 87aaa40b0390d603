"""Errors as problem details (RFC 9457), the one form in which the service reports what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from autotune.errors import MOST_PROBLEMS, Problem

MEDIA_TYPE = "application/problem+json"


class ProblemItem(BaseModel):
    """One thing that is wrong with a study."""

    where: str
    """The place: file, line and key."""
    what: str
    """The value, and why it is wrong."""
    remedy: str
    """What would be right; may be empty."""


class ProblemDetails(BaseModel):
    """What went wrong with a request (RFC 9457)."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str = "about:blank"
    """Kind of the problem; about:blank says no more than the status."""
    title: str
    """The status in words."""
    status: int
    """HTTP status."""
    detail: str
    """What is wrong, in a sentence."""
    problems: list[ProblemItem] = []
    """What is wrong with a study, one by one; at most 50."""


class Refused(Exception):
    """A request that is answered with problem details.

    Attributes:
        status: HTTP status.
        detail: a sentence.
        problems: what is wrong with a study.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        problems: Sequence[Problem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.problems, self.headers = status, detail, problems, headers


def answer(refused: Refused) -> JSONResponse:
    """The response."""
    items = [
        ProblemItem(where=_sendable(problem.where), what=_sendable(problem.what), remedy=_sendable(problem.remedy))
        for problem in refused.problems[:MOST_PROBLEMS]
    ]
    details = ProblemDetails(
        title=HTTPStatus(refused.status).phrase, status=refused.status, detail=refused.detail, problems=items
    )
    return JSONResponse(
        details.model_dump(), status_code=refused.status, headers=refused.headers, media_type=MEDIA_TYPE
    )


def _sendable(text: str) -> str:
    """The text with escapes for what UTF-8 cannot encode."""
    return text.encode("utf-8", "backslashreplace").decode()


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The entry ``responses`` of a path for these statuses, and for those that every path may have."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for status in sorted({*statuses, 400, 401, 403, 421, 429, 500, 503})
    }
