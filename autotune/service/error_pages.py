"""Errors in the form that who asks can read: a page for a browser, problem details for programs."""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import Response

from autotune.errors import MOST_PROBLEMS
from autotune.service.problems import Refused, answer
from autotune.service.rendering import page


def answer_to(headers: Headers, refused: Refused) -> Response:
    """The response to a request that is refused.

    Args:
        headers: of the request. A browser that opens an address names text/html in Accept; its scripts and other
            programs do not.
        refused: why.
    """
    if "text/html" not in headers.get("accept", ""):
        return answer(refused)
    response = page(
        "error.html",
        refused.status,
        user=None,
        title=HTTPStatus(refused.status).phrase,
        status=refused.status,
        detail=sentence(refused.detail),
        problems=[str(problem) for problem in refused.problems[:MOST_PROBLEMS]],
    )
    response.headers.update(refused.headers or {})
    return response


def sentence(text: str) -> str:
    """A text that begins with a capital and ends with a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!", ")")) or not text else ".")
