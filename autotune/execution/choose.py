"""Make the executor that a study asks for, out of the table :data:`autotune.study.executors.KINDS`."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from autotune.execution.executor import Executor
from autotune.home import Home
from autotune.objective import Metric, Objective
from autotune.study import StudyFile
from autotune.study.executors import KINDS


class MakesExecutor(Protocol):
    """A function that makes an executor for a study; it starts no evaluation."""

    def __call__(self, file: StudyFile, objective: Objective, metric: Metric, home: Home) -> Executor:
        """Make the executor; the arguments are those of :func:`make_executor`."""


class ChecksExecutor(Protocol):
    """A function that sees whether a study's executor can be used here; it starts nothing."""

    def __call__(self, file: StudyFile) -> None:
        """Check.

        Raises:
            InputError: a package is missing, or an option is wrong.
        """


def make_executor(file: StudyFile, objective: Objective, metric: Metric, home: Home) -> Executor:
    """The executor that the study names.

    Args:
        file: the study.
        objective: opened; worker processes open it for themselves.
        metric: the tuned metric.
        home: where the workers' logs go.
    """
    make: MakesExecutor = _function(KINDS[file.spec.execution.executor].make)
    return make(file, objective, metric, home)


def check_execution(file: StudyFile) -> None:
    """See that the study's executor can be used here, and that its options are right. Starts nothing.

    Raises:
        InputError: it cannot, or they are not.
    """
    if path := KINDS[file.spec.execution.executor].check:
        check: ChecksExecutor = _function(path)
        check(file)


def _function(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
