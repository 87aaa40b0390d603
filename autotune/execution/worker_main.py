"""A worker process from within: it opens the study's objective once, then makes one evaluation after the other.

:class:`autotune.execution.worker_process.WorkerProcess` starts it and is what it talks with, over two pipes of their
own (:mod:`autotune.execution.worker_messages`); what a backend prints goes to the worker's log.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotune.execution.evaluate import run_task
from autotune.execution.executor import Repetition, Task
from autotune.execution.forked_children import ThisProcessOnly
from autotune.execution.worker_messages import Subject, line_of, message_of
from autotune.objective import InputError, Objective
from autotune.objective.environment import environment_is_minimal
from autotune.retrying import Patience
from autotune.store.records import plain_evaluation


def main(requests: int, answers: int, guard: int, start: str) -> None:
    """Work until no more requests come.

    Args:
        requests: file descriptor to read from.
        answers: file descriptor to write to.
        guard: process number of this process's guard (:mod:`autotune.execution.orphan_guard`).
        start: name of this start, which every message names.
    """
    for descriptor in (requests, answers):
        os.set_inheritable(descriptor, False)  # a program that a backend starts must not hold them open
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that wants the work
    environment_is_minimal()
    faulthandler.enable()
    _offer_to_the_killer()
    _Worker(_Channel(requests, answers), start).work()
    os.kill(guard, signal.SIGKILL)
    os.waitpid(guard, 0)


def _offer_to_the_killer() -> None:
    """Where the machine runs out of memory, Linux is to end this process rather than the study's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


class _Channel:
    """The worker's ends of the two pipes. They belong to this process alone: no child that it forks can use them.

    Python closes them in a child at once. A child that another library forked, past Python, ends when it tries.
    """

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = requests, answers
        self._process = ThisProcessOnly()
        self._unread = b""
        os.register_at_fork(after_in_child=self._close)

    def send(self, subject: Subject, message: Mapping[str, Any]) -> None:
        """Send a message."""
        self._write(line_of(subject, message))

    def receive(self) -> tuple[Subject, dict[str, Any]] | None:
        """The next message; None once the other side has closed the pipe."""
        line = self._read_line()
        return message_of(line) if line else None

    def _write(self, rest: bytes) -> None:
        with self._process:
            while self._process.here and rest:
                rest = rest[os.write(self._answers, rest) :]

    def _read_line(self) -> bytes:
        """The next line; empty at the end."""
        with self._process:
            while self._process.here and b"\n" not in self._unread:
                chunk = os.read(self._requests, 65536)
                if not chunk:
                    return b""
                self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _close(self) -> None:
        for descriptor in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                os.close(descriptor)


class _Worker:
    def __init__(self, channel: _Channel, start: str) -> None:
        self._channel, self._subject = channel, Subject(start)
        self._metric = ""

    def work(self) -> None:
        """Open the objective, then make evaluations, until the other side closes the pipe."""
        first = self._receive()
        if first is None:
            return
        self._metric = first["metric"]
        try:
            with ThisProcessOnly():
                objective = _open(first["text"], Path(first["path"]))
        except InputError as error:
            self._send({"refused": [[p.where, p.what, p.remedy] for p in error.problems]})
            return
        except Exception as error:
            self._send({"refused": [["objective", f"cannot be opened: {type(error).__name__}: {error}", ""]]})
            return
        self._send({"opened": True})
        while (request := self._channel.receive()) is not None:
            self._subject, content = request
            self._evaluate(objective, content)

    def _evaluate(self, objective: Objective, request: Mapping[str, Any]) -> None:
        folder, repetition = request["folder"], request["repetition"]
        assert self._subject.trial is not None  # noqa: S101
        task = Task(
            self._subject.trial,
            request["values"],
            request["seed"],
            None if folder is None else Path(folder),
            None if repetition is None else Repetition(**repetition),
            request["examine"],
            request["in_parts"],
        )
        patience = Patience(lambda reason: self._send({"paused": reason}), lambda: self._send({"resumed": True}))
        try:
            ended = run_task(objective, task, self._metric, self._progress, patience)
        except OSError as error:
            self._send({"broken": f"{type(error).__name__}: {error}"})
            return
        sys.stdout.flush()
        self._send({"ended": plain_evaluation(ended.evaluation), "done": ended.done})

    def _progress(self, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        plain = {name: float(value) for name, value in metrics.items()}
        self._send({"progress": [int(iteration), int(iterations), plain]})
        answer = self._receive()
        return answer is not None and bool(answer["go"])

    def _send(self, message: Mapping[str, Any]) -> None:
        """Send a message about what this worker is busy with."""
        self._channel.send(self._subject, message)

    def _receive(self) -> dict[str, Any] | None:
        """The next message about what this worker is busy with; None once the other side has closed the pipe."""
        while (received := self._channel.receive()) is not None:
            subject, message = received
            if subject == self._subject:
                return message
        return None


def _open(text: str, path: Path) -> Objective:
    from autotune.study.file import parse_study

    # What opening imports stays; to look through all of it for garbage many times takes as long as half the imports.
    before = gc.get_threshold()
    gc.set_threshold(*before[:2], 1000)
    try:
        return parse_study(text, path).open()
    finally:
        gc.set_threshold(*before)
