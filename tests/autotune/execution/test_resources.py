"""What an evaluation takes of its machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from autotune.execution import resources as module
from autotune.execution.evaluate import evaluate
from autotune.execution.executor import Task
from autotune.execution.resources import begin_reading, resources_since
from autotune.objective import Evaluation, Status, never_stop
from tests.autotune.toy import Toy, ToySettings


def used_by(work: Callable[[], object]) -> dict[str, float]:
    reading = begin_reading()
    work()
    return dict(resources_since(reading))


def busy(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        sum(range(1000))


def test_processor_time_is_counted_and_waiting_is_not() -> None:
    assert 0.15 <= used_by(lambda: busy(0.2))["cpu_seconds"] <= 1.0
    waiting = used_by(lambda: time.sleep(0.2))
    assert waiting["cpu_seconds"] <= 0.1
    assert 0 <= waiting["cpu_utilization_percentage"] <= 50


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux sets the peak of memory back")
def test_the_peak_of_memory_is_the_evaluation_s_own() -> None:
    large, small = 200_000_000, 1_000_000
    first = used_by(lambda: np.ones(large, dtype=np.uint8))["peak_memory_megabytes"]
    second = used_by(lambda: np.ones(small, dtype=np.uint8))["peak_memory_megabytes"]
    assert first - second > 0.9 * (large - small) / 1e6


def test_a_peak_of_the_whole_life_is_not_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_CLEAR", tmp_path / "no" / "such" / "place")
    assert "peak_memory_megabytes" not in used_by(lambda: None)


def test_the_gpu_is_asked_only_where_torch_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    cuda = SimpleNamespace(
        is_initialized=lambda: False,
        reset_peak_memory_stats=lambda: told.append("reset"),
        max_memory_allocated=lambda: 3_000_000,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert "gpu_peak_memory_megabytes" not in used_by(lambda: None) and told == []
    cuda.is_initialized = lambda: True
    assert used_by(lambda: None)["gpu_peak_memory_megabytes"] == 3.0 and told == ["reset"]


def test_an_evaluation_that_does_not_tell_gets_what_was_measured() -> None:
    class Telling(Toy):
        def evaluate(self, *arguments: object, **named: object) -> Evaluation:
            return Evaluation(Status.COMPLETE, {"consistency": 1.0}, resources={"cpu_seconds": 7.0})

    task = Task(0, {"shift": 0.0, "tilt": 0.0}, 0, None)
    assert evaluate(Telling(ToySettings()), task, "consistency", never_stop).resources == {"cpu_seconds": 7.0}
    assert evaluate(Toy(ToySettings()), task, "consistency", never_stop).resources.keys() >= {"cpu_seconds"}
    crashed = evaluate(Toy(ToySettings(crash_above=-1)), task, "consistency", never_stop)
    assert crashed.status is Status.FAILED and crashed.resources.keys() >= {"cpu_seconds"}
