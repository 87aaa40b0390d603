"""The pool: what is tried again, how often, and what comes back with it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from autotune.execution.executor import Ended, Listener, Task
from autotune.execution.retries import Pool
from autotune.objective import Evaluation, Status
from tests.autotune.execution.test_inline import Hears


@dataclass
class Fragile:
    """An executor of two workers whose first ``deaths`` evaluations fail, through no fault of their own or by it."""

    deaths: int
    infrastructure: bool = True
    workers: int = 2
    running: list[Task] = field(default_factory=list)
    submitted: list[Task] = field(default_factory=list)

    def submit(self, task: Task) -> None:
        assert len(self.running) < self.workers
        self.running.append(task)
        self.submitted.append(task)

    def wait(self, listener: Listener, timeout: float) -> Ended | None:
        if not self.running:
            return None
        task = self.running.pop(0)
        if self.deaths > 0:
            self.deaths -= 1
            failed = Evaluation(Status.FAILED, reason="its worker process was killed by signal 9 (killed)")
            return Ended(task.number, failed, infrastructure=self.infrastructure)
        return Ended(task.number, Evaluation(Status.COMPLETE, {"consistency": float(task.number)}))

    def close(self) -> None:
        raise AssertionError("the executor is the run's")


def task(number: int) -> Task:
    return Task(number, {"shift": 0.5}, 11, None)


def ends(executor: Fragile, retries: int) -> list[tuple[str, Ended]]:
    """Two evaluations to their ends."""
    pool: Pool[str] = Pool(executor, retries)
    assert pool.free and not pool
    pool.begin(task(3), "third")
    pool.begin(task(5), "fifth")
    assert not pool.free and dict(pool) == {3: "third", 5: "fifth"}
    ended = []
    while pool:
        if (one := pool.wait(Hears(), 0.0)) is not None:
            ended.append(one)
    assert pool.wait(Hears(), 0.0) is None
    return ended


@pytest.mark.parametrize("retries", [1, 3])
def test_what_was_lost_is_tried_again_and_its_job_comes_back(retries: int) -> None:
    executor = Fragile(deaths=2)
    assert sorted((job, ended.number, ended.evaluation.metrics) for job, ended in ends(executor, retries)) == [
        ("fifth", 5, {"consistency": 5.0}),
        ("third", 3, {"consistency": 3.0}),
    ]
    assert executor.submitted == [task(3), task(5), task(3), task(5)]


def test_one_that_is_lost_too_often_says_how_often_it_was_tried() -> None:
    executor = Fragile(deaths=4)
    for _, ended in ends(executor, retries=1):
        assert ended.infrastructure and ended.evaluation.status is Status.FAILED
        assert ended.evaluation.reason == "its worker process was killed by signal 9 (killed); tried 2 times"
    assert len(executor.submitted) == 4


def test_without_retries_the_reason_is_as_it_is() -> None:
    (_, lost), (_, other) = ends(Fragile(deaths=1), retries=0)
    assert lost.evaluation.reason == "its worker process was killed by signal 9 (killed)"
    assert other.evaluation.status is Status.COMPLETE


def test_a_failure_of_its_own_is_final() -> None:
    executor = Fragile(deaths=2, infrastructure=False)
    assert [ended.evaluation.status for _, ended in ends(executor, retries=3)] == [Status.FAILED, Status.FAILED]
    assert len(executor.submitted) == 2


def test_what_cannot_be_begun_is_not_taken_for_running() -> None:
    class Full(Fragile):
        def submit(self, task: Task) -> None:
            raise OSError("the disk is full")

    pool: Pool[None] = Pool(Full(0), 1)
    with pytest.raises(OSError, match="full"):
        pool.begin(task(1), None)
    assert not pool and pool.free
