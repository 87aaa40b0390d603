"""The executor of worker processes, driven by hand."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from autotune.errors import StudyFailed
from autotune.execution.executor import AGAIN, TO_LEARN, Ended, Repetition, Task
from autotune.execution.process import ProcessExecutor
from autotune.execution.threads import THREAD_VARIABLES
from autotune.objective import Status
from autotune.study import load_study
from tests.autotune.execution.test_inline import Hears

STUDY: dict[str, Any] = {
    "name": "toy",
    "objective": {"name": "tests.autotune.toy:bare", "iterations": 3},
    "parameters": {"shift": {"low": -1, "high": 1}},
}


@pytest.fixture
def executors(tmp_path: Path) -> Iterator[Any]:
    """Makes executors of a study, and closes them."""
    made: list[ProcessExecutor] = []

    def make(objective: dict[str, Any] | None = None, **execution: Any) -> ProcessExecutor:
        path = tmp_path / "study.yaml"
        path.write_text(json.dumps({**STUDY, "objective": STUDY["objective"] | (objective or {})}))
        file = load_study(path, [f"execution.{key}={value}" for key, value in execution.items()])
        made.append(ProcessExecutor(file, file.spec.execution, "consistency", tmp_path / "workers"))
        return made[-1]

    yield make
    for executor in made:
        executor.close()


def task(folder: Path, number: int, **values: Any) -> Task:
    return Task(number, values or {"shift": 0.5}, 11, folder / f"{number:05d}")


def finish(executor: ProcessExecutor, hears: Hears, count: int = 1) -> list[Ended]:
    """Wait for so many ends, in the order of their numbers."""
    ended: list[Ended] = []
    deadline = time.monotonic() + 60
    while len(ended) < count:
        assert time.monotonic() < deadline
        if (one := executor.wait(hears, 1.0)) is not None:
            ended.append(one)
    return sorted(ended, key=lambda e: e.number)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}


def test_a_worker_serves_one_trial_after_the_other(executors: Any, tmp_path: Path) -> None:
    executor, hears, before = executors(), Hears(), children()
    assert executor.wait(hears, 10) is None  # nothing runs
    seen = set()
    for number in range(3):
        executor.submit(task(tmp_path, number))
        (ended,) = finish(executor, hears)
        assert (ended.number, ended.done, ended.infrastructure) == (number, 1.0, False)
        assert ended.evaluation.status is Status.COMPLETE and set(ended.evaluation.metrics) == {"consistency", "error"}
        assert ended.evaluation.gradient and len(ended.evaluation.curve["error"]) == 3
        assert (tmp_path / f"{number:05d}" / "reconstruction.h5").is_file()
        seen |= children() - before
    assert len(seen) == 1
    assert hears.seen == [(number, iteration, 3) for number in range(3) for iteration in (1, 2, 3)]
    executor.close()
    assert children() == before


def test_so_many_at_once(executors: Any, tmp_path: Path) -> None:
    executor, before = executors({"seconds_per_iteration": 0.3}, workers=2), children()
    executor.submit(task(tmp_path, 0))
    executor.submit(task(tmp_path, 1))
    assert len(children() - before) == 2
    hears = Hears()
    first, second = finish(executor, hears, 2)
    assert (first.number, second.number) == (0, 1)
    order = [number for number, _, _ in hears.seen]
    assert order.index(1) < len(order) - 1 - order[::-1].index(0)  # the second began before the first ended


def test_a_listener_stops_an_evaluation_where_it_says(executors: Any, tmp_path: Path) -> None:
    executor, hears = executors(), Hears(most=2)
    executor.submit(task(tmp_path, 0))
    (ended,) = finish(executor, hears)
    assert ended.evaluation.status is Status.STOPPED
    assert ended.done == pytest.approx(2 / 3)
    assert len(hears.seen) == 2


def test_a_failure_has_its_reason_and_the_worker_goes_on(executors: Any, tmp_path: Path) -> None:
    executor, hears = executors({"crash_above": 0.0}), Hears()
    executor.submit(task(tmp_path, 0, shift=0.5))
    (ended,) = finish(executor, hears)
    worker = children()
    assert ended.evaluation.reason.startswith("RuntimeError: the toy crashed at shift 0.5 (toy.py:")
    assert not ended.infrastructure
    executor.submit(task(tmp_path, 1, shift=-0.5))
    assert finish(executor, hears)[0].evaluation.status is Status.COMPLETE
    assert children() == worker


@pytest.mark.parametrize(
    ("sent", "words", "infrastructure"),
    [
        (signal.SIGKILL, "its worker process was killed by signal 9 (killed)", True),
        (signal.SIGTERM, "its worker process was killed by signal 15 (terminated)", True),
        (signal.SIGABRT, "its worker process was killed by signal 6 (aborted): in _", False),  # send or receive
    ],
)
def test_the_death_of_a_worker_is_the_end_of_its_trial_alone(
    sent: int, words: str, infrastructure: bool, executors: Any, tmp_path: Path
) -> None:
    executor, before = executors({"seconds_per_iteration": 0.2}), children()

    class Kills(Hears):
        def progressed(self, *arguments: Any) -> bool:
            (worker,) = children() - before
            os.kill(worker, sent)
            return True

    executor.submit(task(tmp_path, 0))
    (ended,) = finish(executor, Kills())
    assert ended.evaluation.status is Status.FAILED
    assert ended.evaluation.reason.startswith(words), ended.evaluation.reason
    assert ended.infrastructure is infrastructure
    executor.submit(task(tmp_path, 1))
    assert finish(executor, Hears())[0].evaluation.status is Status.COMPLETE


def test_the_death_of_a_worker_that_has_forked_is_noticed(executors: Any, tmp_path: Path) -> None:
    """The process that it leaves behind holds its pipe open, and is ended with it."""
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate" / "do-1").write_text("fork and segfault")
    executor = executors({"name": "tests.end_to_end.misbehaving:misbehaving", "data": "gate"})
    before = children()
    executor.submit(task(tmp_path, 0))
    (worker,) = children() - before
    (ended,) = finish(executor, Hears())
    assert ended.evaluation.reason.startswith("its worker process was killed by signal 11 (segmentation fault): in st")
    assert not ended.infrastructure
    assert no_process_in_group(worker)
    executor.submit(task(tmp_path, 1))
    assert finish(executor, Hears())[0].evaluation.status is Status.COMPLETE


def no_process_in_group(group: int) -> bool:
    """Whether none is left of a group of processes, within some seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            living = [p for p in psutil.process_iter(["status"]) if p.info["status"] != psutil.STATUS_ZOMBIE]
            if group not in [os.getpgid(process.pid) for process in living]:
                return True
        except ProcessLookupError:  # it ended just now
            pass
        time.sleep(0.05)
    return False


def test_executors_of_one_process_have_logs_of_their_own(executors: Any, tmp_path: Path) -> None:
    first, second, hears = executors(), executors(), Hears()
    for number, executor in enumerate((first, second)):
        executor.submit(task(tmp_path, number))
        finish(executor, hears)
    assert len(list((tmp_path / "workers").glob(f"{os.getpid()}-*-0.log"))) == 2


def test_workers_share_the_cores_that_this_process_may_use(
    executors: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments: list[dict[str, str]] = []

    def child(log: Path, found: dict[str, str]) -> None:
        environments.append(found)
        raise InterruptedError

    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("autotune.execution.process.WorkerProcess", child)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    with pytest.raises(InterruptedError):
        executors(workers=2).submit(task(tmp_path, 0))
    (found,) = environments
    assert {name: found[name] for name in THREAD_VARIABLES if name in found} == {"OMP_NUM_THREADS": "3"}


def test_time_is_limited(executors: Any, tmp_path: Path) -> None:
    executor = executors({"seconds_per_iteration": 100}, timeout=0.3)
    executor.submit(task(tmp_path, 0))
    (ended,) = finish(executor, Hears())
    assert (ended.evaluation.status, ended.evaluation.reason) == (Status.FAILED, "took longer than 0.3 s")
    assert not ended.infrastructure


def test_several_reconstructions_may_take_several_times_as_long(tmp_path: Path) -> None:
    one, three = task(tmp_path, 0), replace(task(tmp_path, 1), in_parts={"shift": 0.1, "tilt": 1.0})
    again = replace(one, repetition=Repetition({}, 0))
    examined = replace(one, examine=True)
    assert [each.reconstructions for each in (one, three, again, examined)] == [1, 3 + AGAIN, 1 + TO_LEARN, 4]
    assert ProcessExecutor._allowed(three, 5.0) == 5.0 * (3 + AGAIN) and ProcessExecutor._allowed(None, 5.0) == 5.0


def test_what_runs_is_ended_at_once(executors: Any, tmp_path: Path) -> None:
    executor, before = executors({"seconds_per_iteration": 100}), children()
    executor.submit(task(tmp_path, 0))
    assert executor.wait(Hears(), 1.0) is None
    assert len(children() - before) == 1
    executor.close()
    assert children() == before
    assert executor.wait(Hears(), 1.0) is None


def test_data_that_a_worker_cannot_open_end_the_study(executors: Any, tmp_path: Path) -> None:
    executor = executors({"data": "gone.h5"})
    executor.submit(task(tmp_path, 0))
    with pytest.raises(StudyFailed, match=r"gone.h5: no such file; make it with autotune simulate"):
        finish(executor, Hears())
