"""A worker process: opens the study's objective once, then evaluates one task after the other.

It is started by :mod:`autotune.execution.process` and talks with it in lines of JSON over two pipes of their own; what
a backend prints goes to the worker's log. Nothing is pickled.

    to the worker                             from the worker
    {"text", "path", "metric"}                {"opened": true} or {"refused": [[where, what, remedy], ...]}
    {"number", "values", "seed", "folder",    {"progress": [iteration, iterations, metrics]}, answered by {"go": bool}
     "repetition", "examine"}                 {"paused": reason}, {"resumed": true}
                                              {"ended": evaluation, "done": share} or {"broken": reason}
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from autotune.execution.evaluate import run_task
from autotune.execution.executor import Repetition, Task
from autotune.objective import InputError, Objective
from autotune.retrying import Patience
from autotune.store.records import plain_evaluation


def main(requests: int, answers: int, guard: int) -> None:
    """Work until no more requests come.

    Args:
        requests: file descriptor to read from.
        answers: file descriptor to write to.
        guard: process number of this process's guard (:mod:`autotune.execution.orphan_guard`).
    """
    for descriptor in (requests, answers):
        os.set_inheritable(descriptor, False)  # a program that a backend starts must not hold them open
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that wants the work
    faulthandler.enable()
    _offer_to_the_killer()
    with open(requests, encoding="utf-8") as incoming, open(answers, "w", encoding="utf-8") as outgoing:
        _Worker(incoming, outgoing).work()
    os.kill(guard, signal.SIGKILL)
    os.waitpid(guard, 0)


def _offer_to_the_killer() -> None:
    """Where the machine runs out of memory, Linux is to end this process rather than the study's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


class _Worker:
    def __init__(self, incoming: IO[str], outgoing: IO[str]) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._metric = ""

    def work(self) -> None:
        """Open the objective, then make evaluations, until the other side closes the pipe."""
        first = self._receive()
        if first is None:
            return
        self._metric = first["metric"]
        try:
            objective = _open(first["text"], Path(first["path"]))
        except InputError as error:
            self._send({"refused": [[p.where, p.what, p.remedy] for p in error.problems]})
            return
        except Exception as error:
            self._send({"refused": [["objective", f"cannot be opened: {type(error).__name__}: {error}", ""]]})
            return
        self._send({"opened": True})
        while (request := self._receive()) is not None:
            self._evaluate(objective, request)

    def _evaluate(self, objective: Objective, request: Mapping[str, Any]) -> None:
        folder, repetition = request["folder"], request["repetition"]
        task = Task(
            request["number"],
            request["values"],
            request["seed"],
            None if folder is None else Path(folder),
            None if repetition is None else Repetition(**repetition),
            request["examine"],
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
        self._outgoing.write(json.dumps(message) + "\n")
        self._outgoing.flush()

    def _receive(self) -> dict[str, Any] | None:
        """The next message; None once the other side has closed the pipe."""
        line = self._incoming.readline()
        message: dict[str, Any] | None = json.loads(line) if line else None
        return message


def _open(text: str, path: Path) -> Objective:
    from autotune.study.file import parse_study

    return parse_study(text, path).open()
