"""Run trials in worker processes of this machine: what a trial does to its process, it does to no other.

A worker is started when it is first needed and serves all trials that follow, so that torch is imported and the data
are read once. One that dies or is killed is replaced when the next trial needs it; what its death means for the trial
is said in :mod:`autotune.execution.worker_death`. The pipes carry JSON (:mod:`autotune.execution.worker_messages`).
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import selectors
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autotune.errors import Problem, StudyFailed
from autotune.execution.executor import Ended, Executor, Listener, Task
from autotune.execution.threads import worker_threads
from autotune.execution.worker_death import failed, killed_from_outside, reason_of_death
from autotune.execution.worker_environment import worker_environment
from autotune.execution.worker_messages import Subject
from autotune.execution.worker_process import Garbled, WorkerProcess
from autotune.home import Home
from autotune.objective import Evaluation, Metric, Objective
from autotune.retrying import Deadline
from autotune.store.records import evaluation_of
from autotune.study import StudyFile
from autotune.study.blocks.execution import ExecutionSpec

_LOOK_SECONDS = 0.2  # between two looks at a worker's memory
_DISMISS_SECONDS = 1.0  # for idle workers to end by themselves, all together
_DEATH_SECONDS = 1.0  # between two looks for dead workers whose pipe a program that they left behind holds open
_executors = itertools.count()  # the executors of this process, whose logs differ


@dataclass
class _Worker:
    """A worker process, and what it does now.

    Attributes:
        place: its number among the workers that run at once.
        process: the process.
        opened: whether it has opened the objective.
        task: what it evaluates; None while it is idle.
        subject: what its messages must be about now.
        began: when the evaluation began, on the monotonic clock; None before that, and while it waits for the disk.
        used: seconds that the evaluation took before it last waited for the disk.
    """

    place: int
    process: WorkerProcess
    subject: Subject
    opened: bool = False
    task: Task | None = None
    began: float | None = None
    used: float = 0.0

    def begin(self, task: Task, attempt: int) -> None:
        """Have the worker evaluate."""
        self.task, self.used = task, 0.0
        self.subject = Subject(self.process.start, task.number, attempt)
        self.began = time.monotonic() if self.opened else None
        self.process.mark_log()
        self.send(
            {
                "values": dict(task.values),
                "seed": task.seed,
                "folder": None if task.folder is None else str(task.folder),
                "repetition": None if task.repetition is None else asdict(task.repetition),
                "examine": task.examine,
                "in_parts": None if task.in_parts is None else dict(task.in_parts),
            }
        )

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message about what the worker does now."""
        self.process.send(self.subject, message)

    def expects(self, subject: Subject) -> bool:
        """Whether a message about ``subject`` may come now."""
        if not self.opened:
            return subject == Subject(self.process.start)
        return self.task is not None and subject == self.subject

    def seconds(self) -> float:
        """How long its evaluation has taken, less what it waited for the disk."""
        return self.used + (0.0 if self.began is None else time.monotonic() - self.began)


class ProcessExecutor:
    """Evaluates in ``spec.workers`` processes at once, each within the limits of time and memory."""

    def __init__(
        self,
        file: StudyFile,
        spec: ExecutionSpec,
        metric: str,
        logs: Path,
        threads: Mapping[str, str] | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            file: the study, whose objective every worker opens for itself.
            spec: how many workers, and their limits.
            metric: the tuned metric's name.
            logs: folder of what the workers print.
            threads: as :func:`autotune.execution.threads.worker_threads` returns; None for what that returns here.
        """
        self._threads = threads
        self._file, self._spec, self._metric = file, spec, metric
        self._logs = logs / f"{os.getpid()}-{next(_executors)}"  # the beginning of their names
        self._alive: list[_Worker] = []
        self._attempts = itertools.count(1)
        self._selector = selectors.DefaultSelector()
        self._ready: deque[Ended] = deque()
        self._looked = self._asked = 0.0

    @property
    def workers(self) -> int:
        """How many evaluations may run at once."""
        return self._spec.workers

    def submit(self, task: Task) -> None:
        """Give the task to an idle worker, which is started where there is none."""
        idle = next((worker for worker in self._alive if worker.task is None), None)
        (idle or self._start()).begin(task, next(self._attempts))

    def wait(self, listener: Listener, timeout: float) -> Ended | None:
        """Wait for the end of an evaluation, answering what workers say meanwhile, and enforcing the limits.

        Raises:
            StudyFailed: a worker could not open the objective, or not write what a trial keeps.
        """
        until = time.monotonic() + timeout
        while not self._ready:
            left = until - time.monotonic()
            if left <= 0 or all(worker.task is None for worker in self._alive):
                return None
            for key, _ in self._selector.select(min(left, self._until_a_limit(), _DEATH_SECONDS)):
                self._hear(key.data, listener)
            self._notice_deaths(listener)
            self._enforce_limits()
        return self._ready.popleft()

    def close(self, seconds: float = 5.0) -> None:
        """End all workers: those that evaluate at once, the others by themselves within a second, or ``seconds``."""
        deadline = Deadline(min(seconds, _DISMISS_SECONDS))
        for worker in self._alive:
            with contextlib.suppress(KeyError):  # interrupted while it was being forgotten
                self._selector.unregister(worker.process.answers)
            if worker.task is None:
                worker.process.let_go()
            else:
                worker.process.kill()
        for worker in self._alive:
            if worker.task is None:
                worker.process.dismiss(deadline.left())
        self._alive.clear()
        self._ready.clear()

    def _start(self) -> _Worker:
        taken = {worker.place for worker in self._alive}
        place = next(number for number in range(self.workers) if number not in taken)
        threads = worker_threads(self.workers) if self._threads is None else self._threads
        environment = worker_environment(self._spec.environment, threads)
        process = WorkerProcess(self._logs.with_name(f"{self._logs.name}-{place}.log"), environment)
        worker = _Worker(place, process, Subject(process.start))
        self._alive.append(worker)
        self._selector.register(process.answers, selectors.EVENT_READ, worker)
        worker.send({"text": self._file.text, "path": str(self._file.path.absolute()), "metric": self._metric})
        return worker

    def _hear(self, worker: _Worker, listener: Listener) -> None:
        """Act on what a worker has said, and notice its death, which ends its evaluation."""
        try:
            messages, over = worker.process.receive()
        except Garbled as error:
            self._dismiss_confused(worker, f"something else wrote to the pipe of its worker process ({error})")
            return
        for subject, message in messages:
            if not worker.expects(subject):
                self._dismiss_confused(worker, f"its worker process answered for another evaluation ({subject})")
                return
            self._act_on(worker, message, listener)
        if not over:
            return
        self._forget(worker)
        code = worker.process.ended()
        if worker.task is not None:
            evaluation = failed(reason_of_death(code, worker.process.log_end()), worker.seconds())
            outside = killed_from_outside(code) or not worker.opened
            self._end(worker, worker.task, evaluation, infrastructure=outside)

    def _notice_deaths(self, listener: Listener) -> None:
        """Notice those deaths too that leave the worker's pipe open."""
        if time.monotonic() - self._asked >= _DEATH_SECONDS:
            self._asked = time.monotonic()
            for worker in list(self._alive):
                self._hear(worker, listener)

    def _act_on(self, worker: _Worker, message: dict[str, Any], listener: Listener) -> None:
        if "opened" in message:
            worker.opened, worker.began = True, time.monotonic()
        elif "refused" in message:
            raise StudyFailed([Problem(*problem) for problem in message["refused"]])
        elif "broken" in message:
            raise StudyFailed(Problem("", f"what a trial keeps cannot be written: {message['broken']}"))
        elif "paused" in message:
            worker.used, worker.began = worker.seconds(), None
            listener.paused(message["paused"])
        elif "resumed" in message:
            worker.began = time.monotonic()
            listener.resumed()
        elif worker.task is not None and "progress" in message:
            worker.send({"go": listener.progressed(worker.task.number, *message["progress"])})
        elif worker.task is not None and "ended" in message:
            self._end(worker, worker.task, evaluation_of(message["ended"]), done=message["done"])

    def _end(
        self, worker: _Worker, task: Task, evaluation: Evaluation, *, done: float = 1.0, infrastructure: bool = False
    ) -> None:
        self._ready.append(Ended(task.number, evaluation, done, infrastructure))
        worker.task, worker.began = None, None

    def _forget(self, worker: _Worker) -> None:
        self._selector.unregister(worker.process.answers)
        self._alive.remove(worker)

    def _until_a_limit(self) -> float:
        """Seconds until a limit may be passed."""
        if self._spec.memory is not None:
            return _LOOK_SECONDS
        if self._spec.timeout is None:
            return math.inf
        left = [self._allowed(w.task, self._spec.timeout) - w.seconds() for w in self._alive if w.began is not None]
        return max(0.0, min(left, default=self._spec.timeout)) + 0.001

    @staticmethod
    def _allowed(task: Task | None, timeout: float) -> float:
        """Seconds that an evaluation may take."""
        return timeout * (1 if task is None else task.reconstructions)

    def _enforce_limits(self) -> None:
        """Kill the workers whose evaluation takes too long or too much."""
        timeout, memory = self._spec.timeout, self._spec.memory_bytes
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            memory = None
        else:
            self._looked = time.monotonic()
        for worker in list(self._alive):
            if worker.task is None:
                continue
            if timeout is not None and worker.seconds() > (allowed := self._allowed(worker.task, timeout)):
                self._kill(worker, f"took longer than {allowed:g} s")
            elif memory is not None and worker.process.memory() > memory:
                self._kill(worker, f"used more than {self._spec.memory}")

    def _dismiss_confused(self, worker: _Worker, reason: str) -> None:
        """Kill a worker whose answers cannot be trusted; its evaluation may be tried again by another."""
        self._kill(worker, reason, infrastructure=True)

    def _kill(self, worker: _Worker, reason: str, *, infrastructure: bool = False) -> None:
        self._forget(worker)
        worker.process.kill()
        if worker.task is not None:
            self._end(worker, worker.task, failed(reason, worker.seconds()), infrastructure=infrastructure)


def make_executor(file: StudyFile, objective: Objective, metric: Metric, home: Home) -> Executor:
    """The executor ``process`` of a study (:mod:`autotune.execution.choose`)."""
    return ProcessExecutor(file, file.spec.execution, metric.name, home.workers(file.spec.name))
