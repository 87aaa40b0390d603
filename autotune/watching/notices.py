"""When to look at the folder again: when the system says that something has changed there, or every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

FALLBACK = 5.0
"""Seconds between two looks where the system says nothing."""
_ANYWAY = 60.0
"""Seconds after which the folder is looked at although the system says nothing, which may drop notices."""


class Notices(Protocol):
    """Says when to look."""

    def due(self) -> bool:
        """Whether to look now; asking begins anew."""

    def wait(self, seconds: float) -> None:
        """Wait until it is due, for so many seconds at most."""

    def close(self) -> None:
        """End the watching."""


class Polling:
    """Looks every few seconds, as network disks demand.

    Args:
        seconds: between two looks.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._next = seconds, 0.0

    def due(self) -> bool:
        """See :class:`Notices`."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True

    def wait(self, seconds: float) -> None:
        """See :class:`Notices`."""
        time.sleep(max(0.0, min(seconds, self._next - time.monotonic())))

    def close(self) -> None:
        """See :class:`Notices`."""


class Announced:
    """Looks when the system says that something in a folder has changed.

    Args:
        folder: the folder.
        recursive: whether the folders below count, too.
        say: prints a line; is told once where the system can say nothing.

    Raises:
        ImportError: watchfiles is not installed.
    """

    def __init__(self, folder: Path, recursive: bool, say: Callable[[str], None]) -> None:
        import watchfiles  # noqa: F401 - raises here, not in the thread

        self._folder, self._recursive, self._say = folder, recursive, say
        self._changed, self._closed = threading.Event(), threading.Event()
        self._anyway = Polling(_ANYWAY)
        self._thread = threading.Thread(target=self._listen, name="notices", daemon=True)
        self._thread.start()

    def due(self) -> bool:
        """See :class:`Notices`."""
        changed = self._changed.is_set()
        self._changed.clear()
        return self._anyway.due() or changed

    def wait(self, seconds: float) -> None:
        """See :class:`Notices`."""
        self._changed.wait(max(0.0, seconds))

    def close(self) -> None:
        """See :class:`Notices`."""
        self._closed.set()
        self._thread.join()

    def _listen(self) -> None:
        from watchfiles import watch

        try:
            for _ in watch(
                self._folder,
                watch_filter=None,
                debounce=400,
                step=50,
                stop_event=self._closed,
                rust_timeout=500,
                recursive=self._recursive,
            ):
                self._changed.set()
        except Exception as error:  # such as a limit of the system on what may be watched
            self._anyway = Polling(FALLBACK)
            self._changed.set()
            self._say(f"the system does not say what changes ({error}); looks every {FALLBACK:g} s")
