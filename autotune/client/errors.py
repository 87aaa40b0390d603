"""What goes wrong between a client and its service, as errors that a user sees."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from autotune.client.steps import Answer, Call
from autotune.errors import AutotuneError, Problem
from autotune.text import without_password

_LONGEST = 1000
_REMEDIES = {
    401: "give a valid token (Client(url, token=...), or AUTOTUNE_TOKEN for autotune watch)",
    403: "ask the operator for a token with another role",
    404: "see that the address is that of an autotune service, and that the study is in its list",
    421: "ask the operator to start the service with --name for this host name",
}
_PASSING = (408, 429)
"""Statuses below 500 that are not the user's mistake."""


class ServiceError(AutotuneError):
    """The service refuses a request, fails, or cannot be reached.

    Attributes:
        status: HTTP status of the answer; None where there was no answer.
        detail: what the service says in a sentence; empty where there was no answer.
    """

    def __init__(self, problems: Problem | Sequence[Problem], status: int | None = None, detail: str = "") -> None:
        super().__init__(problems)
        self.status, self.detail = status, detail
        self.exit_code = 2 if status is not None and 400 <= status < 500 and status not in _PASSING else 3


class Unreachable(Exception):
    """A request got no answer.

    Attributes:
        sent: whether it may have reached the service, which may have done what it asks for.
        passing: whether it may succeed later.
    """

    def __init__(self, text: str, *, sent: bool, passing: bool = True) -> None:
        super().__init__(text)
        self.sent, self.passing = sent, passing


def refusal(call: Call, answer: Answer) -> ServiceError:
    """The error of an answer that is not what a call asks for."""
    details = _details(answer)
    detail = one_line(str(details.get("detail") or ""))
    stated = details.get("problems")
    problems = [_problem(item) for item in stated if isinstance(item, Mapping)] if isinstance(stated, list) else []
    if not problems:
        what = f"the service answers {answer.status} {_phrase(answer.status)}"
        location = answer.headers.get("location", "")
        if 300 <= answer.status < 400 and location:
            problems = [Problem(call.where, what, f"use the address that it names: {one_line(location)}")]
        else:
            what += f": {detail}" if detail else ""
            problems = [Problem(call.where, what, _REMEDIES.get(answer.status, ""))]
    return ServiceError(problems, answer.status, detail)


def no_answer(call: Call, error: Unreachable, seconds: float) -> ServiceError:
    """The error of a call that got no answer, although it was tried again for some seconds."""
    tried = f" (tried for {seconds:.0f} s)" if seconds >= 1 else ""
    what = f"the service cannot be reached{tried}: {one_line(str(error))}"
    return ServiceError(Problem(call.where, what, "see that it runs at this address"))


def strange(call: Call, what: str) -> ServiceError:
    """The error of an answer that no autotune service gives."""
    return ServiceError(Problem(call.where, what, "see that the address is that of an autotune service"))


def one_line(text: str) -> str:
    """A text from elsewhere, fit for a terminal: in one line, of limited length, without passwords of addresses."""
    printable = "".join(character if character.isprintable() else " " for character in text[: 2 * _LONGEST])
    return without_password(" ".join(printable.split()))[:_LONGEST]


def _details(answer: Answer) -> Mapping[str, Any]:
    try:
        details = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return details if isinstance(details, Mapping) else {}


def _problem(item: Mapping[str, Any]) -> Problem:
    where, what, remedy = (one_line(str(item.get(key) or "")) for key in ("where", "what", "remedy"))
    return Problem(where, what, remedy)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(no known status)"
