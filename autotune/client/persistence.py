"""Repeating a request while its trouble may pass: a lost connection, a service that is restarted or busy."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from autotune.client.errors import Unreachable, no_answer
from autotune.client.steps import Answer, Call, Pause, Steps

FIRST_WAIT, LONGEST_WAIT = 0.25, 10.0
BUSY = (429, 503)
"""Statuses of a service that has done nothing, and says when to ask again."""
GATEWAY = (502, 504)
"""Statuses of a server before the service, which may have done what it was asked for."""


class Attempts:
    """The attempts at one request: whether there is another one, and when.

    Args:
        call: the request.
        seconds: time for which it is repeated, counted from the first failure.
    """

    def __init__(self, call: Call, seconds: float) -> None:
        self._call, self._seconds = call, seconds
        self._wait = FIRST_WAIT
        self._failed: float | None = None
        self.uncertain = False
        """Whether an attempt may have reached the service and had its effect, although no answer came back."""

    def after_answer(self, status: int, headers: Mapping[str, str]) -> float | None:
        """Seconds to wait for another attempt after an answer; None where this one counts."""
        if status not in (*BUSY, *GATEWAY, *self._call.again):
            return None
        self.uncertain |= status in GATEWAY
        stated = _retry_after(headers.get("retry-after", ""))
        wait = self._next_wait() if stated is None else stated
        return wait if wait <= self._left() else None

    def after_error(self, error: Unreachable) -> float:
        """Seconds to wait for another attempt after one without an answer.

        Raises:
            ServiceError: there is none, since the error does not pass or the time is over.
        """
        self.uncertain |= error.sent
        wait, left = self._next_wait(), self._left()
        if not error.passing or wait > left:
            raise no_answer(self._call, error, self._seconds - left) from error
        return wait

    def renew(self) -> None:
        """Count the time anew: the service has answered in between."""
        self._wait, self._failed = FIRST_WAIT, None

    def _next_wait(self) -> float:
        wait, self._wait = self._wait, min(2 * self._wait, LONGEST_WAIT)
        return wait * random.uniform(0.8, 1.2)  # noqa: S311 - so that many clients do not come back at once

    def _left(self) -> float:
        now = time.monotonic()
        self._failed = now if self._failed is None else self._failed
        return self._seconds - (now - self._failed)


def persistently(call: Call, seconds: float) -> Steps[tuple[Answer, bool]]:
    """Make a request until an answer counts; returns it, and whether an earlier attempt may have had its effect.

    Raises:
        ServiceError: no answer came for so many seconds.
    """
    attempts = Attempts(call, seconds)
    while True:
        try:
            answer = yield call
        except Unreachable as error:
            wait: float | None = attempts.after_error(error)
        else:
            assert answer is not None  # noqa: S101
            wait = attempts.after_answer(answer.status, answer.headers)
            if wait is None:
                return answer, attempts.uncertain
        yield Pause(wait or 0.0)


def _retry_after(text: str) -> float | None:
    """Seconds that a Retry-After states; None where it states none. It may state a date (RFC 9110)."""
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    date = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
