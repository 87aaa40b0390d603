"""Try again while a trouble may pass by itself: a full disk, a locked file, a database server that is restarted."""

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
# SQLite reports these mistakes as operational errors, too.
_MISTAKES = ("no such table", "no such column", "readonly database", "syntax error")


class Deadline:
    """A moment by which something is to be over: each wait takes what the waits before it have left.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that are left; at least 0."""
        return max(0.0, self._at - time.monotonic())


class Patience:
    """Calls an action until it succeeds, with longer and longer waits, while its error is one that may pass.

    Args:
        paused: is called once, with the reason, when the wait begins.
        resumed: is called when the action has succeeded after a wait.
    """

    def __init__(self, paused: Callable[[str], None], resumed: Callable[[], None]) -> None:
        self._paused, self._resumed = paused, resumed

    def __call__(self, action: Callable[[], Result]) -> Result:
        """The result of ``action``, which may be called several times.

        Raises:
            Exception: an error of ``action`` that will not pass.
        """
        wait, waiting = FIRST_WAIT, False
        while True:
            try:
                result = action()
            except Exception as error:
                reason = passing_trouble(error)
                if not reason:
                    raise
                if not waiting:
                    self._paused(reason)
                waiting = True
                time.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                if waiting:
                    self._resumed()
                return result


def passing_trouble(error: BaseException) -> str:
    """The trouble behind an error, in words, where it is of a kind that passes by itself; empty where it is not."""
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
    """The error number; HDF5 gives it only in the text of its exceptions."""
    if error.errno is not None:
        return error.errno
    in_text = re.search(r"errno = (\d+)", str(error))
    return int(in_text[1]) if in_text else 0


def _is_of_the_database(error: BaseException) -> bool:
    if "sqlalchemy" not in sys.modules:
        return False
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
    from sqlalchemy.exc import TimeoutError as NoConnection

    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return lost or isinstance(error, OperationalError | InterfaceError | NoConnection)
