"""Standard output and error that never end a command: what cannot be written is dropped."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Dropping(io.RawIOBase):
    """Writes to a descriptor, and drops what it does not take: its reader has gone, its disk is full, it is closed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: ReadableBuffer, /) -> int:
        """Write bytes; returns how many are done with."""
        size = memoryview(data).nbytes
        try:
            return os.write(self._descriptor, data)
        except OSError:
            return size

    def writable(self) -> bool:
        """Whether one can write: always."""
        return True

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        try:
            return os.isatty(self._descriptor)
        except OSError:
            return False


def never_fail() -> None:
    """Have the standard streams drop what cannot be written, and write what their encoding lacks as escapes.

    Descriptors that are closed are opened to nowhere first: else the next file, perhaps a database, would get their
    number, and what any library prints would go into it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    sys.stdout = _forgiving(sys.stdout, 1)
    sys.stderr = _forgiving(sys.stderr, 2)


def _forgiving(stream: TextIO | None, descriptor: int) -> TextIO:
    """The stream over the same descriptor; one that leads nowhere where Python found the descriptor closed."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
    raw = _Dropping(descriptor)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=descriptor == 2 or raw.isatty(),
    )
