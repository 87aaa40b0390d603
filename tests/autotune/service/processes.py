"""Find and end what the studies of a service have started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from autotune.service.launcher import STUDY_OF


def of_studies(home: Path) -> Iterator[psutil.Process]:
    """The processes of all studies of a home that are no zombies."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            own = process.environ().get(STUDY_OF, "").startswith(str(home))
            if own and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def end_studies(home: Path) -> None:
    """Kill them."""
    for process in of_studies(home):
        with suppress(psutil.Error):
            process.kill()
