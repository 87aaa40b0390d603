"""A package's process: whatever happens in it is one failure with its reason, and it leaves nothing behind."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from autotune.objective import Evaluation, Status
from autotune.objective.environment import giving
from objectives.ptychography.backends.process import BackendFailed
from tests.objectives.ptychography.backends.toys import AT, objective
from tests.objectives.ptychography.scenes import lens


def evaluated(objective: Any, **changes: Any) -> Evaluation:
    found: Evaluation = objective.evaluate({**AT, **changes}, metric="consistency", seed=0)
    return found


def hosts() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has just ended
            if "host.py" in " ".join(child.cmdline()):
                found.append(child)
    return found


DEEDS = {
    "raise": "toy: RuntimeError: out of luck",
    "exit": "toy: SystemExit: 3",
    "leave": "toy: its process ended with exit code 7",
    "segfault": "toy: its process was ended by SIGSEGV",
    "shapes": r"toy: has left a probe of shape \(1, 23, 24\), not \(modes, 24, 24\)",
    "types": "toy: ValueError: Object arrays cannot be saved",
    "ends early": "toy: ended after 1 of 6 iterations",
}


@pytest.mark.parametrize("deed", DEEDS)
def test_a_misdeed_is_one_failure(deed: str) -> None:
    """After it the same process, or a new one, reconstructs as ever."""
    problem = objective(lens(), deed=deed)
    with pytest.raises(BackendFailed, match=DEEDS[deed]):
        evaluated(problem)
    well = objective(lens())
    problem._bound.options.clear()
    assert evaluated(problem).metrics == evaluated(well).metrics


def test_what_is_not_finite_has_diverged() -> None:
    found = evaluated(objective(lens(), deed="nan"))
    assert found.status is Status.DIVERGED and found.reason == "the reconstruction is not finite"


def test_the_process_is_kept_and_ends_with_its_objective() -> None:
    gc.collect()
    before = len(hosts())
    problem = objective(lens())
    assert len(hosts()) == before, "nothing is started before the first evaluation"
    first, second = evaluated(problem), evaluated(problem)
    assert first.metrics == second.metrics and len(hosts()) == before + 1
    assert problem._bound.process.versions.keys() == {"python", "numpy"}
    del problem
    gc.collect()
    assert len(hosts()) == before


def test_what_a_package_has_started_ends_with_it() -> None:
    problem = objective(lens(), deed="child")
    evaluated(problem)
    below = [child for host in hosts() for child in host.children(recursive=True)]
    assert below
    del problem
    gc.collect()
    _, alive = psutil.wait_procs(below, timeout=5)
    assert not alive


def test_a_loss_that_is_not_a_number_is_left_out() -> None:
    found = evaluated(objective(lens(), deed="no loss"))
    assert found.status is Status.COMPLETE and "backend_loss" not in found.metrics


def test_a_long_complaint_is_cut() -> None:
    with pytest.raises(BackendFailed, match=r"toy: RuntimeError: x+ \.\.\.$"):
        evaluated(objective(lens(), deed="complain"))


def test_a_fault_of_ours_is_not_called_the_packages() -> None:
    problem = objective(lens())

    def fails(*_: object) -> bool:
        raise KeyError("in the pruner")

    with pytest.raises(KeyError, match="in the pruner"):
        problem.evaluate(AT, metric="consistency", seed=0, progress=fails)
    assert evaluated(problem).status is Status.COMPLETE


def test_one_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_STARTS", "never")
    problem = objective(lens())
    expired = pytest.raises(BackendFailed, match="toy: does not start: RuntimeError: its licence has expired")
    with giving(["TOY_STARTS"]), expired:
        evaluated(problem)
    monkeypatch.delenv("TOY_STARTS")
    assert evaluated(problem).status is Status.COMPLETE


def test_a_python_that_is_none(tmp_path: Path) -> None:
    no_program = tmp_path / "python"
    no_program.write_text("")
    with pytest.raises(BackendFailed, match="cannot be started: Permission denied"):
        evaluated(objective(lens(), python=str(no_program)))
    with pytest.raises(BackendFailed, match="its process ended with exit code 1"):
        evaluated(objective(lens(), python="/bin/false"))


PARENT = """
import sys
sys.path.insert(0, {root!r})
from tests.objectives.ptychography.backends.toys import AT, objective
from tests.objectives.ptychography.scenes import lens
objective(lens(), deed={deed!r}).evaluate({{**AT, "iterations": 10000}}, metric="consistency", seed=0)
"""


@pytest.mark.parametrize("deed", ["", "hang", "close"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_the_process_that_started_it(deed: str, how: signal.Signals) -> None:
    """Even if it keeps its threads from running, or has lost the pipes."""
    root = str(Path(__file__).parents[4])
    parent = subprocess.Popen([sys.executable, "-c", PARENT.format(root=root, deed=deed)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (children := psutil.Process(parent.pid).children()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1.5)
    os.kill(parent.pid, how)
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
