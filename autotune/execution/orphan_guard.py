"""A process that ends a worker, and all that the worker has started, when the run that wants its work has ended."""

from __future__ import annotations

import contextlib
import os
import signal


def start_guard(life: int) -> int:
    """Start the guard of this process and of all that it will start. Returns the guard's process number.

    The guard waits for the end of the process at the other end of a pipe, whatever ends that, and then kills this
    process group. A thread could not: a numerical kernel may hold Python's lock for hours. Call it before anything
    starts threads, which a fork does not copy.

    Args:
        life: file descriptor of a pipe that nobody writes to.
    """
    guard = os.fork()
    if guard:
        os.close(life)
        return guard
    os.closerange(0, life)
    os.closerange(life + 1, life + 64)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    with contextlib.suppress(OSError):
        os.read(life, 1)
    os.killpg(0, signal.SIGKILL)
    os._exit(1)
