"""Signals that end a command: at once while it starts, by an exception while it runs, within seconds in any case."""

from __future__ import annotations

import _thread
import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from autotune.errors import INTERRUPTED

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GIVEN_UP = "Interrupted; every finished trial is kept. Continue with the same command.\n"

_command = 0  # the process that is a command; 0 where this is a library in somebody else's
_longest_ending = 2.5  # seconds
_ending = False
_start = contextlib.ExitStack()


def this_process_is_the_command() -> None:
    """State that this process belongs to the command: it may be ended from here, and at once while it starts."""
    global _command
    _command = os.getpid()
    _start.enter_context(ended_at_once())


def command_begins() -> None:
    """State that the imports and the command line are done with: from here on signals do what the command wants."""
    _start.close()


def allow_for_ending(seconds: float) -> None:
    """Let the command take so long to end once it is interrupted, before the process is ended whatever it does."""
    global _longest_ending
    _longest_ending = seconds


@contextmanager
def ended_at_once() -> Iterator[None]:
    """Within the block, Ctrl-C, SIGTERM and SIGHUP end the process of the command at once, silently.

    For imports and other work that leaves nothing behind. An exception would not do: it is swallowed where it is raised
    in a callback, of which imports make many.
    """
    with _handled(lambda number, frame: os._exit(INTERRUPTED)) if _is_command() else contextlib.nullcontext():
        yield


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Within the block, SIGTERM and SIGHUP act like Ctrl-C.

    Batch systems announce by the first that they want the machine, terminals by the second that they go away. A command
    that is to survive its terminal (``nohup``) ignores that, and goes on to.

    The process of a command ends within seconds, even where a database does not answer, or a callback of some library
    swallows the exception: nothing that matters is lost when it dies at any instruction.
    """
    with _handled(_interrupt):
        yield


def leave(code: int, *, at_once: bool) -> None:
    """End the process of a command without the second that Python takes to take itself apart, object by object.

    Args:
        code: its exit code.
        at_once: whether to wait for no thread, such as MLflow's.
    """
    with ended_at_once():
        if not at_once:
            threading._shutdown()  # type: ignore[attr-defined]  # what Python does first, too
        with contextlib.suppress(Exception):
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have the signals handled so that are not ignored."""
    if threading.current_thread() is not threading.main_thread():  # only there may handlers be set
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    handled = [number for number, earlier in before.items() if earlier is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _ending
    if _is_command() and not _ending:
        _ending = True
        # Not by threading: its locks may be held by what the signal has interrupted.
        _thread.start_new_thread(_give_up, ())
    raise KeyboardInterrupt


def _give_up() -> None:
    time.sleep(_longest_ending)
    with contextlib.suppress(OSError):
        os.write(2, _GIVEN_UP.encode())
    os._exit(INTERRUPTED)


def _is_command() -> bool:
    """Whether this process is the command's, and no child that an objective has forked from it."""
    return os.getpid() == _command
