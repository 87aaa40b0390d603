"""Evaluations under way on an executor, each tried again where it failed through no fault of its own.

A worker that was killed from outside, or a machine that was lost, says nothing about the trial: the same evaluation is
made again, up to ``execution.retries`` times. Whoever evaluates - the search, the repeated measurements, a
confirmation - does it through :class:`Pool`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from autotune.execution.executor import Ended, Executor, Listener, Task

Job = TypeVar("Job")


@dataclass(frozen=True)
class _Running(Generic[Job]):
    """An evaluation that was begun ``attempts`` times."""

    job: Job
    task: Task
    attempts: int = 1


class Pool(Generic[Job], Mapping[int, Job]):
    """The evaluations that run on an executor: task number -> the job that it was begun for.

    Args:
        executor: evaluates; idle.
        retries: how often an evaluation is tried again that failed through no fault of its own.
    """

    def __init__(self, executor: Executor, retries: int) -> None:
        self._executor, self._retries = executor, retries
        self._running: dict[int, _Running[Job]] = {}

    def __getitem__(self, number: int) -> Job:
        return self._running[number].job

    def __iter__(self) -> Iterator[int]:
        return iter(self._running)

    def __len__(self) -> int:
        return len(self._running)

    @property
    def free(self) -> bool:
        """Whether another evaluation may be begun."""
        return len(self._running) < self._executor.workers

    def begin(self, task: Task, job: Job) -> None:
        """Begin an evaluation; only where there is a free worker. Returns at once.

        Args:
            task: the evaluation, whose number no other one that runs has.
            job: what comes back with its end.
        """
        self._executor.submit(task)
        self._running[task.number] = _Running(job, task)

    def wait(self, listener: Listener, timeout: float) -> tuple[Job, Ended] | None:
        """Wait until an evaluation has ended for good; None where none has within about ``timeout`` seconds.

        Raises:
            AutotuneError: as :meth:`autotune.execution.executor.Executor.wait` does.
        """
        ended = self._executor.wait(listener, timeout)
        if ended is None:
            return None
        running = self._running.pop(ended.number)
        if ended.infrastructure and running.attempts <= self._retries:
            self._executor.submit(running.task)
            self._running[ended.number] = replace(running, attempts=running.attempts + 1)
            return None
        if ended.infrastructure and running.attempts > 1:
            reason = f"{ended.evaluation.reason}; tried {running.attempts} times"
            ended = replace(ended, evaluation=replace(ended.evaluation, reason=reason))
        return running.job, ended
