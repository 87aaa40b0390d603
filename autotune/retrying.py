"""Patience with what passes: a full disk, a locked file, a database server that is being restarted."""

from __future__ import annotations

import errno
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

Result = TypeVar("Result")

FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
_ERRNOS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used",
    errno.EIO: "the disk does not answer",
    errno.ESTALE: "the network disk was lost",
    errno.ETIMEDOUT: "the network disk does not answer",
    errno.ENOLCK: "the network disk gives no locks",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open",
}
# SQLite says "operational" of mistakes too.
_MISTAKES = ("no such table", "no such column", "readonly database", "syntax error")


class Patience:
    """Calls an action until it succeeds, waiting longer and longer while what fails it may pass."""

    def __init__(self, paused: Callable[[str], None], resumed: Callable[[], None]) -> None:
        """``paused`` is told the reason, once; ``resumed`` that the action has succeeded since."""
        self._paused, self._resumed = paused, resumed

    def __call__(self, action: Callable[[], Result]) -> Result:
        """The result of ``action``, which must bear being repeated.

        Raises:
            Exception: what ``action`` raised, where that will not pass.
        """
        wait, told = FIRST_WAIT, False
        while True:
            try:
                result = action()
            except Exception as error:
                reason = passing_trouble(error)
                if not reason:
                    raise
                if not told:
                    self._paused(reason)
                told = True
                time.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                if told:
                    self._resumed()
                return result


def passing_trouble(error: BaseException) -> str:
    """What is the matter, in words, where an error is of a kind that passes by itself; empty where it is not."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and (words := _ERRNOS.get(_errno_of(cause), "")):
            return words
        if _is_of_the_database(cause):
            text = " ".join(str(getattr(cause, "orig", cause)).split())
            return "" if any(words in text for words in _MISTAKES) else f"the trial store does not answer: {text}"
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _errno_of(error: OSError) -> int:
    """HDF5 says it in its text alone."""
    if error.errno is not None:
        return error.errno
    found = re.search(r"errno = (\d+)", str(error))
    return int(found[1]) if found else 0


def _is_of_the_database(error: BaseException) -> bool:
    if "sqlalchemy" not in sys.modules:
        return False
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
    from sqlalchemy.exc import TimeoutError as NoConnection

    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return lost or isinstance(error, OperationalError | InterfaceError | NoConnection)
