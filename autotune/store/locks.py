"""One process at a time: the lock that keeps two processes from changing a study at once."""

from __future__ import annotations

from contextlib import AbstractContextManager

from autotune.store.database import database_of


def exclusive(url: str, study: str, timeout: float = -1) -> AbstractContextManager[None]:
    """Keep every other process on the same store away from a study while the block lasts.

    The operating system, or the database server, releases the lock when its holder dies. Not to be nested.

    Args:
        url: URL of the store. A store in memory needs no lock: it has one process anyway.
        study: the study's name.
        timeout: seconds to wait for another process; negative for as long as it takes.

    Raises:
        InputError: there is no such kind of store.
        TimeoutError: another process holds the study for longer.
    """
    return database_of(url).exclusive(study, timeout)
