"""Neither side of the conversation with a worker takes what is about another evaluation for its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from autotune.execution.executor import Ended, Task
from autotune.execution.process import ProcessExecutor
from autotune.execution.worker_messages import Subject, line_of, message_of
from autotune.execution.worker_process import Garbled, WorkerProcess
from autotune.objective import Status
from autotune.store.records import plain_evaluation
from autotune.study import load_study
from tests.autotune.execution.test_inline import Hears, run
from tests.autotune.execution.test_process import STUDY


def test_a_message_survives_the_way() -> None:
    subject = Subject("a1", 3, 7)
    assert message_of(line_of(subject, {"go": True})) == (subject, {"go": True})
    assert str(subject) == "trial 3, attempt 7" and str(Subject("a1")) == "no trial"


@pytest.mark.parametrize("line", [b"", b"hello", b'{"go": tr', b"[1]", b'{"go": true}', b'{"start": "a", "trial": 1}'])
def test_what_is_no_message(line: bytes) -> None:
    with pytest.raises(ValueError):
        message_of(line)


class Scripted:
    """Stands for a worker process: says what a function makes of the subject of its latest evaluation."""

    script: Callable[[Subject], list[tuple[Subject, dict[str, Any]]]]
    made: list[Scripted]

    def __init__(self, log: Path, threads: Mapping[str, str]) -> None:
        self.start = f"start {len(self.made)}"
        self.answers, self._writes = os.pipe()
        self._opened, self.killed = False, False
        self._subject = Subject(self.start)
        self.sent: list[Any] = []
        self.made.append(self)
        os.write(self._writes, b"x")

    def send(self, subject: Subject, message: Mapping[str, Any]) -> None:
        self._subject = subject
        self.sent.append((subject, message))

    def receive(self) -> tuple[list[tuple[Subject, dict[str, Any]]], bool]:
        if not self._opened:
            self._opened = True
            return [(Subject(self.start), {"opened": True})], False
        return type(self).script(self._subject), False

    def mark_log(self) -> None:
        pass

    def let_go(self) -> None:
        pass

    def kill(self) -> int:
        self.killed = True
        return -9

    def dismiss(self, seconds: float) -> int:
        return self.kill()


GOOD = {"ended": plain_evaluation(run(lambda *a, **k: None)), "done": 1.0}  # any evaluation: it failed
OF_ANOTHER = "its worker process answered for another evaluation (trial 2, attempt 1)"


def garbled(subject: Subject) -> list[tuple[Subject, dict[str, Any]]]:
    raise Garbled("a message is a JSON object")


def ended_by(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Ended, Hears, Scripted]:
    kind = type("Kind", (Scripted,), {"script": staticmethod(script), "made": []})
    monkeypatch.setattr("autotune.execution.process.WorkerProcess", kind)
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps(STUDY))
    file = load_study(path)
    executor, hears = ProcessExecutor(file, file.spec.execution, "consistency", tmp_path / "workers"), Hears()
    executor.submit(Task(3, {"shift": 0.5}, 11, None))
    ended = executor.wait(hears, 10.0)
    assert ended is not None
    worker = kind.made[0]
    killed = worker.killed
    executor.close()
    worker.killed = killed
    return ended, hears, worker


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (lambda s: [(Subject(s.start, 2, 1), GOOD)], OF_ANOTHER),
        (
            lambda s: [(Subject(s.start, 3, s.attempt + 1), GOOD)],
            "answered for another evaluation (trial 3, attempt 2)",
        ),
        (lambda s: [(Subject(s.start), {"opened": True})], "answered for another evaluation (no trial)"),
        (lambda s: [(Subject(s.start, 2, 1), {"progress": [1, 2, {}]})], OF_ANOTHER),
        (garbled, "something else wrote to the pipe of its worker process (a message is a JSON object)"),
    ],
)
def test_a_worker_that_is_out_of_step_is_ended_and_its_trial_tried_again(
    script: Any, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, hears, worker = ended_by(script, tmp_path, monkeypatch)
    assert (ended.number, ended.evaluation.status, ended.infrastructure) == (3, Status.FAILED, True)
    assert ended.evaluation.reason.endswith(reason)
    assert worker.killed and hears.seen == []


def test_the_answer_to_what_was_asked_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = [{"progress": [1, 2, {}]}, GOOD]
    ended, hears, worker = ended_by(lambda s: [(s, message) for message in progress], tmp_path, monkeypatch)
    assert (ended.number, ended.infrastructure, worker.killed) == (3, False, False)
    assert hears.seen == [(3, 1, 2)]
    assert worker.sent[-1] == (Subject(worker.start, 3, 1), {"go": True})
    assert [subject for subject, _ in worker.sent[:2]] == [Subject(worker.start), Subject(worker.start, 3, 1)]


class NoProcess:
    """Stands for :class:`subprocess.Popen`: holds a copy of the end of the pipe that a worker would answer through."""

    def __init__(self, arguments: list[str], *, pass_fds: tuple[int, ...], **named: Any) -> None:
        self.answers = os.dup(pass_fds[1])

    def poll(self) -> None:
        return None


def test_what_another_start_said_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotune.execution.worker_process.subprocess.Popen", NoProcess)
    worker = WorkerProcess(tmp_path / "0.log", {})
    answers = worker._process.answers  # type: ignore[attr-defined]
    own = Subject(worker.start, 3, 1)
    os.write(answers, line_of(Subject("another start", 3, 1), GOOD) + line_of(own, {"opened": True}) + b'{"half')
    assert worker.receive() == ([(own, {"opened": True})], False)
    os.write(answers, b"\n")
    with pytest.raises(Garbled):
        worker.receive()
