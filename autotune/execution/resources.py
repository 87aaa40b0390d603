"""The time and memory that an evaluation uses, read before and after it, so that nothing runs beside it."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_RESET_PEAK = "5"  # see proc(5)


@dataclass(frozen=True)
class Reading:
    """The clocks at the beginning of an evaluation.

    Attributes:
        wall: wall clock, in seconds.
        processor: processor time of this process and of the programs that it started and that have ended, in seconds.
        peak_reset: whether the peak of memory was reset, so that a later reading is of this evaluation alone.
    """

    wall: float
    processor: float
    peak_reset: bool


def begin_reading() -> Reading:
    """Read the clocks, and reset the peaks of memory where the system allows it."""
    peak_reset = False
    with contextlib.suppress(OSError):
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
        peak_reset = True
    if (cuda := _cuda()) is not None:
        cuda.reset_peak_memory_stats()
    return Reading(time.perf_counter(), _processor_seconds(), peak_reset)


def resources_since(begin: Reading) -> Mapping[str, float]:
    """The resources that this process has used since ``begin``: name -> number.

    ``cpu_seconds``; ``cpu_utilization_percentage`` of the cores that it may use; ``peak_memory_megabytes`` (resident,
    1e6 bytes; left out where the system tells only the peak of the process's whole life);
    ``gpu_peak_memory_megabytes`` where torch uses a GPU.
    """
    processor, wall = _processor_seconds() - begin.processor, time.perf_counter() - begin.wall
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    used = {"cpu_seconds": processor}
    if wall > 0:
        used["cpu_utilization_percentage"] = 100 * processor / wall / cores
    if begin.peak_reset and (peak := _peak_bytes()) is not None:
        used["peak_memory_megabytes"] = peak / 1e6
    if (cuda := _cuda()) is not None:
        used["gpu_peak_memory_megabytes"] = cuda.max_memory_allocated() / 1e6
    return used


def _processor_seconds() -> float:
    times = os.times()  # in steps of 10 ms
    return time.process_time() + times.children_user + times.children_system


def _peak_bytes() -> int | None:
    with contextlib.suppress(OSError):
        peak = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
        return int(peak[1]) * 1024 if peak else None
    return None


def _cuda() -> Any:
    """``torch.cuda`` where this process already uses it, else None: a study without torch must not import it."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
