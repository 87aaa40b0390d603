"""The code that runs inside a Dask worker: it evaluates one trial in a worker process of ours on the same machine.

So a trial's limits and crashes are dealt with as on one machine (:mod:`autotune.execution.process`), and the Dask
worker outlives them. Dask carries text (JSON) and the names of this module's functions between the machines. Our
processes are kept for the next trial, and ended when none has come for a minute.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autotune.errors import Problem, StudyFailed
from autotune.execution.executor import Ended, Repetition, Task
from autotune.execution.process import ProcessExecutor
from autotune.store.records import plain_evaluation

_IDLE_SECONDS = 60.0
_LOOK_SECONDS = 0.2  # between two checks that the trial is still wanted, and two messages about its iterations
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_lock = threading.Lock()
_idle: dict[str, list[tuple[ProcessExecutor, threading.Timer]]] = {}
_stopped: set[str] = set()


def plain_task(task: Task) -> dict[str, Any]:
    """The task as JSON data."""
    folder = None if task.folder is None else str(task.folder)
    in_parts = None if task.in_parts is None else dict(task.in_parts)
    return asdict(task) | {"folder": folder, "values": dict(task.values), "in_parts": in_parts}


def task_of(plain: Mapping[str, Any]) -> Task:
    """The task that :func:`plain_task` made plain."""
    folder, repetition = plain["folder"], plain["repetition"]
    return Task(
        plain["number"],
        plain["values"],
        plain["seed"],
        None if folder is None else Path(folder),
        None if repetition is None else Repetition(**repetition),
        plain["examine"],
        plain["in_parts"],
    )


async def stop(key: str) -> None:
    """Stop the trial of a Dask task that runs here after its iteration: it promises nothing.

    Asynchronous because Dask runs no other function without being waited for.
    """
    _stopped.add(key)


def run_remotely(text: str) -> str:
    """Evaluate a task in a process of this machine.

    Args:
        text: JSON: ``task``, ``study`` (text, path, metric, timeout, memory, environment, logs), ``path`` (folders that
            modules are looked up in), ``topic`` (where messages about it go), ``cores`` (whether the trial has all
            cores of the worker).

    Returns:
        JSON: ``number``, ``evaluation``, ``done`` and ``infrastructure`` of :class:`Ended`, or ``refused``: the
        problems for which no trial can be evaluated here.
    """
    from distributed import get_worker

    request, worker = json.loads(text), get_worker()
    key = str(worker.get_current_task())
    study = request["study"]
    if not Path(study["logs"]).parent.is_dir():
        where, advice = f"the worker on {socket.gethostname()}", "put AUTOTUNE_HOME on a disk that all workers share"
        return json.dumps({"refused": [[where, f"sees no folder {Path(study['logs']).parent}", advice]]})
    sys.path += [folder for folder in request["path"] if folder not in sys.path and Path(folder).is_dir()]
    if request["cores"]:  # Dask has told the numerical libraries to use one
        os.environ |= dict.fromkeys(_THREADS, str(worker.state.nthreads))
    reporter = _Reporter(worker, request["topic"], key)
    place = json.dumps(study)
    executor = _take(place) or _make(study)
    try:
        executor.submit(task_of(request["task"]))
        while (ended := executor.wait(reporter, _LOOK_SECONDS)) is None:
            reporter.flush()
            if not _wanted(worker, key):
                raise RuntimeError("the trial is no longer wanted")
        reporter.flush()
    except StudyFailed as error:
        executor.close()
        return json.dumps({"refused": [[p.where, p.what, p.remedy] for p in error.problems]})
    except BaseException:
        executor.close()
        raise
    finally:
        _stopped.discard(key)
    _keep(place, executor)
    return json.dumps(_plain_end(ended))


def _plain_end(ended: Ended) -> dict[str, Any]:
    plain = plain_evaluation(ended.evaluation)
    return {"number": ended.number, "evaluation": plain, "done": ended.done, "infrastructure": ended.infrastructure}


class _Reporter:
    """The listener of a trial here: sends what happens to the run, some times a second."""

    def __init__(self, worker: Any, topic: str, key: str) -> None:
        self._worker, self._topic, self._key = worker, topic, key
        self._iterations: list[tuple[int, int, Mapping[str, float]]] = []
        self._sent = time.monotonic()
        self._send({"began": worker.address})

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        """Report an iteration; returns False once the run has said to stop."""
        self._iterations.append((iteration, iterations, metrics))
        if time.monotonic() - self._sent > _LOOK_SECONDS:
            self.flush()
        return self._key not in _stopped

    def flush(self) -> None:
        """Send the iterations that were not sent yet."""
        if self._iterations:
            self._send({"progress": self._iterations})
        self._iterations, self._sent = [], time.monotonic()

    def paused(self, reason: str) -> None:
        """The trial waits for something that passes."""
        self._send({"paused": f"{reason} ({socket.gethostname()})"})

    def resumed(self) -> None:
        """It goes on."""
        self._send({"resumed": True})

    def _send(self, message: Mapping[str, Any]) -> None:
        self._worker.log_event(self._topic, json.dumps({"key": self._key, **message}))


def _wanted(worker: Any, key: str) -> bool:
    """Whether anybody waits for a task: it was not cancelled, its client lives, and this worker is not to end."""
    task = worker.state.tasks.get(key)
    return task is not None and task.state != "cancelled" and worker.status.name in ("running", "paused")


def _make(study: Mapping[str, Any]) -> ProcessExecutor:
    from autotune.study.blocks.execution import ExecutionSpec
    from autotune.study.file import parse_study

    try:
        file = parse_study(study["text"], Path(study["path"]))
    except Exception as error:  # an objective that is not installed here
        where = f"the worker on {socket.gethostname()}"
        raise StudyFailed(Problem(where, str(error), "install there what is installed here")) from error
    spec = ExecutionSpec(timeout=study["timeout"], memory=study["memory"], environment=tuple(study["environment"]))
    return ProcessExecutor(file, spec, study["metric"], Path(study["logs"]) / socket.gethostname())


def _take(place: str) -> ProcessExecutor | None:
    """An idle executor that was made for this study; None where there is none."""
    with _lock:
        if not _idle.get(place):
            return None
        executor, timer = _idle[place].pop()
    timer.cancel()
    return executor


def _keep(place: str, executor: ProcessExecutor) -> None:
    """Keep an executor for the next trial, for a minute."""
    timer = threading.Timer(_IDLE_SECONDS, _drop, (place, executor))
    timer.daemon = True
    with _lock:
        _idle.setdefault(place, []).append((executor, timer))
    timer.start()


def _drop(place: str, executor: ProcessExecutor) -> None:
    with _lock:
        kept = _idle.get(place, [])
        entry = next((entry for entry in kept if entry[0] is executor), None)
        if entry is None:
            return  # taken in this moment
        kept.remove(entry)
    with suppress(Exception):
        executor.close()
