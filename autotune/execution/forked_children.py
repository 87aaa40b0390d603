"""Child processes that an objective forks: they may work for it, but none of them continues our code.

A fork copies the whole process, and with it the loop that called the objective. A child that returned from the
objective would go on with that loop: it would answer for its parent, take the next request from the pipe that both
share, or, where trials run in the run's own process, search the whole study a second time.
"""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType


class ThisProcessOnly:
    """A context around a call into an objective: a child process forked within it ends instead of leaving it.

    The child runs no exit handlers and flushes no buffers: both are copies of what its parent will do itself. Its exit
    code is 0 where it returned, as stated where it called :func:`sys.exit`, and 1 after an exception, whose traceback
    goes to the standard error.
    """

    def __init__(self) -> None:
        self._owner = os.getpid()

    def __enter__(self) -> ThisProcessOnly:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.here:
            os._exit(_exit_code(error))

    @property
    def here(self) -> bool:
        """Whether this is the process that made the context, and no child that it has forked since."""
        return os.getpid() == self._owner


def _exit_code(error: BaseException | None) -> int:
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        code = error.code
        return code & 0xFF if isinstance(code, int) else int(code is not None)
    if not isinstance(error, KeyboardInterrupt):
        traceback.print_exception(error, file=sys.stderr)
    return 1
