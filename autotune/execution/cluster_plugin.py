"""What each Dask worker of a cluster that a run has started does first: it forgets the credentials of the run.

A batch system may start its jobs with the environment of whoever submits them, and a local cluster always does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from distributed import WorkerPlugin

from autotune.objective.environment import minimal_environment


class MinimalEnvironment(WorkerPlugin):
    """Leaves a Dask worker the environment variables that trials are given."""

    name = "autotune-minimal-environment"

    def __init__(self, further: Sequence[str]) -> None:
        """Give the variables that ``further`` names, too."""
        self._further = tuple(further)

    def setup(self, worker: Any) -> None:
        """Forget the others, before the worker takes a task."""
        for name in os.environ.keys() - minimal_environment(self._further).keys():
            del os.environ[name]
