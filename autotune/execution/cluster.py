"""Run trials on the workers of a Dask cluster: one that exists, or one that is started for the study.

Each trial runs in a process of ours beside a Dask worker (:mod:`autotune.execution.cluster_worker`). Its iterations are
reported some times a second, so that a hopeless trial is stopped a little later than on one machine. Every message
names the submission that it is about (its Dask key), and the answer its trial.
"""

from __future__ import annotations

import json
import logging
import queue
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotune.errors import Problem, StudyFailed
from autotune.execution.cluster_start import TRIAL, connect, start_cluster
from autotune.execution.cluster_worker import plain_task, run_remotely, stop
from autotune.execution.executor import Ended, Executor, Listener, Task
from autotune.home import Home
from autotune.objective import Evaluation, Metric, Objective, Status
from autotune.store.records import evaluation_of
from autotune.study import StudyFile

_RECONNECT_SECONDS = 60.0
_SILENT_SECONDS = 10.0  # before the user is told that there is no worker yet
_REPLACE_SECONDS = 30.0  # between two looks for jobs that have ended and must be replaced


@dataclass
class _Running:
    """A trial that was given to Dask.

    Attributes:
        number: the trial's number.
        future: Dask's future of its answer.
        worker: address of the Dask worker that evaluates it; empty while it waits for one.
        stopped: whether it was told to stop.
    """

    number: int
    future: Any
    worker: str = ""
    stopped: bool = False


class DaskExecutor:
    """Evaluates ``execution.workers`` trials at once on a Dask cluster, each within the limits of time and memory."""

    def __init__(self, file: StudyFile, metric: str, logs: Path) -> None:
        """Start nothing yet.

        Args:
            file: the study, whose objective the workers open for themselves.
            metric: the tuned metric's name.
            logs: folder of what the workers print; it and the trials' folders must be seen by all workers.
        """
        self._file, self._spec = file, file.spec.execution
        self._study = {
            "text": file.text,
            "path": str(file.path.absolute()),
            "metric": metric,
            "timeout": self._spec.timeout,
            "memory": self._spec.memory,
            "environment": list(self._spec.environment),
            "logs": str(logs.absolute()),
        }
        self._run = uuid.uuid4().hex[:12]
        self._cluster: Any = None
        self._client: Any = None
        self._running: dict[str, _Running] = {}
        self._messages: queue.SimpleQueue[tuple[str, Mapping[str, Any]]] = queue.SimpleQueue()
        self._submitted = 0
        self._heard = self._replaced = time.monotonic()
        self._waiting = False

    @property
    def workers(self) -> int:
        """How many evaluations may run at once."""
        return self._spec.workers

    def submit(self, task: Task) -> None:
        """Give the task to Dask; the first one connects to the scheduler, or starts the cluster.

        Raises:
            InputError: there is no such scheduler, or the cluster cannot be started.
        """
        if self._client is None:
            self._connect()
        self._submitted += 1
        key = f"autotune-{self._run}-{self._submitted}"
        path = [str(Path(folder).absolute()) for folder in sys.path]
        own = self._cluster is not None
        request = {"task": plain_task(task), "study": self._study, "path": path, "topic": self._run, "cores": own}
        future = self._client.submit(
            run_remotely, json.dumps(request), key=key, pure=False, resources=TRIAL if own else None
        )
        self._running[key] = _Running(task.number, future)
        future.add_done_callback(lambda done: self._messages.put((key, {"ended": True})))

    def wait(self, listener: Listener, timeout: float) -> Ended | None:
        """Wait for the end of an evaluation, answering what the workers say meanwhile.

        Raises:
            StudyFailed: the workers cannot evaluate the study's trials, or the scheduler is gone.
        """
        until = time.monotonic() + timeout
        while self._running:
            self._look_after_workers(listener)
            try:
                key, message = self._messages.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return None
            self._heard = time.monotonic()
            if (running := self._running.get(key)) is None:
                continue
            if "ended" in message:
                return self._ended(self._running.pop(key), listener)
            self._act_on(key, running, message, listener)
        return None

    def close(self, seconds: float = 5.0) -> None:
        """Cancel the trials that still run, leave the scheduler, and end the cluster that was started.

        Jobs of a batch system would go on for a minute without their run, so they get some seconds in any case.
        """
        running, self._running = self._running, {}
        client, self._client = self._client, None
        cluster, self._cluster = self._cluster, None
        with suppress(Exception):
            if running:
                client.cancel([each.future for each in running.values()])
        for open_one in (client, cluster):
            with suppress(Exception):
                if open_one is not None:
                    open_one.close(timeout=5)

    def _connect(self) -> None:
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # we report the same in our own words
        if self._spec.cluster is not None:
            self._cluster = start_cluster(self._file, str(self._study["logs"]))
        self._client = connect(self._file, self._cluster)
        if self._cluster is not None:
            from autotune.execution.cluster_plugin import MinimalEnvironment

            self._client.register_plugin(MinimalEnvironment(self._spec.environment))
        self._client.subscribe_topic(self._run, self._hear)
        self._heard = self._replaced = time.monotonic()

    def _hear(self, event: tuple[float, str]) -> None:
        """Queue a message of a worker. Called in Dask's thread."""
        message = json.loads(event[1])
        self._messages.put((message.pop("key"), message))

    def _act_on(self, key: str, running: _Running, message: Mapping[str, Any], listener: Listener) -> None:
        if "began" in message:
            running.worker = message["began"]
            if self._waiting:
                self._waiting = False
                listener.resumed()
        elif "paused" in message:
            listener.paused(message["paused"])
        elif "resumed" in message:
            listener.resumed()
        elif "progress" in message:
            for iteration, iterations, metrics in message["progress"]:
                goes_on = running.stopped or listener.progressed(running.number, iteration, iterations, metrics)
                if not goes_on:
                    running.stopped = True
                    self._client.run(stop, key, workers=[running.worker], wait=False, on_error="ignore")

    def _look_after_workers(self, listener: Listener) -> None:
        """Replace jobs that have ended (a walltime), and tell the user while no worker has come yet."""
        now = time.monotonic()
        if self._cluster is not None and now - self._replaced > _REPLACE_SECONDS:
            self._replaced = now
            self._cluster.scale(n=self.workers)
        nobody = not any(running.worker for running in self._running.values())
        if nobody and not self._waiting and now - self._heard > _SILENT_SECONDS:
            self._waiting = True
            listener.paused("no Dask worker has taken a trial yet")

    def _ended(self, running: _Running, listener: Listener) -> Ended:
        """The end of the evaluation that a Dask task was.

        Raises:
            StudyFailed: the workers cannot run the study's trials.
        """
        from distributed.scheduler import KilledWorker

        if running.future.status == "cancelled":
            self._find_scheduler_again(listener)
            return _lost(running, "the connection to the Dask scheduler was lost")
        try:
            answer = json.loads(running.future.result(timeout=60))
        except KilledWorker as error:
            return _lost(running, f"its Dask worker was lost ({error.last_worker.address})")
        except Exception as error:
            what = f"its workers cannot run trials: {type(error).__name__}: {error}"
            raise StudyFailed(Problem("the Dask cluster", what, "install autotune there as it is here")) from error
        if "refused" in answer:
            raise StudyFailed([Problem(*problem) for problem in answer["refused"]])
        if answer["number"] != running.number:
            return _lost(running, f"its Dask worker answered for another trial ({answer['number']})")
        evaluation = evaluation_of(answer["evaluation"])
        return Ended(running.number, evaluation, answer["done"], answer["infrastructure"])

    def _find_scheduler_again(self, listener: Listener) -> None:
        """Wait for Dask's own attempts to connect again.

        Raises:
            StudyFailed: they had no success.
        """
        listener.paused("the Dask scheduler does not answer")
        until = time.monotonic() + _RECONNECT_SECONDS
        while self._client.status != "running":
            if self._client.status == "closed" or time.monotonic() > until:
                raise StudyFailed(Problem("the Dask scheduler", "was lost", "continue with the same command"))
            time.sleep(0.2)
        listener.resumed()


def _lost(running: _Running, reason: str) -> Ended:
    return Ended(running.number, Evaluation(Status.FAILED, reason=reason), infrastructure=True)


def make_executor(file: StudyFile, objective: Objective, metric: Metric, home: Home) -> Executor:
    """The executor ``dask`` of a study (:mod:`autotune.execution.choose`)."""
    return DaskExecutor(file, metric.name, home.workers(file.spec.name))
