"""The environment variables of a worker process: no credentials, and its own number of threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autotune.execution.threads import THREAD_VARIABLES
from autotune.objective.environment import minimal_environment


def worker_environment(further: Sequence[str], threads: Mapping[str, str]) -> dict[str, str]:
    """All variables of a worker that this process starts.

    Args:
        further: names and patterns of variables that the study gives its workers (``execution.environment``).
        threads: the variables that set the threads of its numerical libraries, instead of this process's own.
    """
    given = minimal_environment(further)
    return {name: value for name, value in given.items() if name not in THREAD_VARIABLES} | dict(threads)
