"""One process at a time: what must not be done to a study by two at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from autotune.store.sqlite import sqlite_path


@contextmanager
def exclusive(url: str, study: str, timeout: float = -1) -> Iterator[None]:
    """Hold every other process on the same store off a study, for as long as the block lasts.

    The operating system, or the database server, lets go of the lock when its holder dies. Not to be nested.

    Args:
        url: of the store. A lock file beside it keeps an SQLite file, and PostgreSQL has locks of its own; a store in
            memory has one process anyway.
        study: the study's name.
        timeout: seconds to wait for another process; negative for as long as it takes.

    Raises:
        InputError: the store is none of these.
        TimeoutError: another process holds the study for longer.
    """
    if not url.startswith("sqlite"):
        from autotune.store.postgres import server_url, session_lock

        with session_lock(server_url(url), f"autotune: study {study}", timeout):
            yield
        return
    path = sqlite_path(url)
    if path is None:
        yield
        return
    from filelock import FileLock

    folder = path.parent / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{hashlib.sha256(study.encode()).hexdigest()[:16]}.lock", timeout=timeout):
        yield
