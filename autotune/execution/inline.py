"""Run trials in this process, one after the other: for debugging, and where no other process can be started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autotune.execution.evaluate import run_task
from autotune.execution.executor import Ended, Executor, Listener, Task
from autotune.home import Home
from autotune.objective import Metric, Objective
from autotune.objective.environment import giving
from autotune.retrying import Patience
from autotune.study import StudyFile


class InlineExecutor:
    """Evaluates while it waits. An error in the objective fails the trial; its crash ends this process."""

    workers = 1

    def __init__(self, objective: Objective, metric: str, environment: Sequence[str] = ()) -> None:
        """Evaluate ``objective``, with the gradient of ``metric``.

        Args:
            objective: opened.
            metric: the tuned metric's name.
            environment: names and patterns of further environment variables for programs that the objective starts.
        """
        self._objective, self._metric, self._environment = objective, metric, environment
        self._task: Task | None = None

    def submit(self, task: Task) -> None:
        """Remember what to evaluate."""
        self._task = task

    def wait(self, listener: Listener, timeout: float) -> Ended | None:
        """Evaluate the submitted task, however long that takes."""
        if self._task is None:
            return None
        task, self._task = self._task, None
        broken: list[Exception] = []  # errors of the listener, which must not fail the trial

        def progress(iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
            try:
                return not broken and listener.progressed(task.number, iteration, iterations, metrics)
            except Exception as error:
                broken.append(error)
                return False

        patience = Patience(listener.paused, listener.resumed)
        with giving(self._environment):
            ended = run_task(self._objective, task, self._metric, progress, patience)
        if broken:
            raise broken[0]
        return ended

    def close(self, seconds: float = 0.0) -> None:
        """Forget what was submitted."""
        self._task = None


def make_executor(file: StudyFile, objective: Objective, metric: Metric, home: Home) -> Executor:
    """The executor ``inline`` of a study (:mod:`autotune.execution.choose`)."""
    return InlineExecutor(objective, metric.name, file.spec.execution.environment)
