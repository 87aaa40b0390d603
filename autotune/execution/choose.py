"""Which executor a study asks for."""

from __future__ import annotations

from autotune.execution.cluster import DaskExecutor
from autotune.execution.executor import Executor
from autotune.execution.inline import InlineExecutor
from autotune.execution.process import ProcessExecutor
from autotune.home import Home
from autotune.objective import Metric, Objective
from autotune.study import StudyFile


def make_executor(file: StudyFile, objective: Objective, metric: Metric, home: Home) -> Executor:
    """What evaluates where the study says so.

    Args:
        file: the study.
        objective: opened; worker processes open it for themselves.
        metric: what is tuned.
        home: where the workers' logs go.
    """
    spec = file.spec.execution
    if spec.executor == "inline":
        return InlineExecutor(objective, metric.name)
    if spec.executor == "dask":
        return DaskExecutor(file, metric.name, home.workers(file.spec.name))
    return ProcessExecutor(file, spec, metric.name, home.workers(file.spec.name))
