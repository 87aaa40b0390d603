"""A study whose trials run as jobs of a real SLURM, set up on this machine for the test."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.end_to_end.studies import STUDY, Place, make_gate, make_place, wait_for_evaluation
from tests.slurm.server import Slurm

pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture
def place(cluster: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    return make_place(tmp_path / "user", monkeypatch)


def jobs(cluster: Slurm, state: str = "all") -> list[str]:
    return cluster.command("squeue", "--noheader", "--format=%i", f"--states={state}").split()


def start(place: Place, trials: int) -> subprocess.Popen[str]:
    options = {"cores": 1, "memory": "1 GB", "walltime": "00:10:00", "scheduler_options": {"host": "127.0.0.1"}}
    execution = {"executor": "dask", "workers": 2, "timeout": 60, "cluster": {"kind": "slurm", **options}}
    gated = {"name": "tests.end_to_end.studies:gated", "data": "gate"}
    # Without intervals the best guess is not evaluated once more.
    place.write(STUDY, objective=gated, budget={"trials": trials}, execution=execution, intervals={"replicates": 0})
    return place.start("run", "study.yaml", "--quiet")


def test_a_job_is_cancelled_in_the_middle_of_a_trial(cluster: Slurm, place: Place) -> None:
    gate = make_gate(place, 3, 4)
    process = start(place, 8)
    wait_for_evaluation(gate, 4, process)  # on both workers
    running = jobs(cluster, "running")
    assert len(running) == 2
    cluster.command("scancel", running[0])
    while len(jobs(cluster, "running")) == 2:
        time.sleep(0.1)
    for number in (3, 4):
        (gate / f"hold-{number}").unlink()
    assert process.communicate(timeout=120) == ("", "")
    assert process.returncode == 0
    assert [trial.state for trial in place.trials()] == 8 * ["finished"]
    assert (gate / "began").read_text().count("evaluation") == 9
    assert place.result()["trials"]["finished"] == 8
    logs = {path.name for path in place.home.workers("toy").glob("*.err")}
    assert len(logs) >= 2, logs
    deadline = time.monotonic() + 20
    while jobs(cluster, "running"):
        assert time.monotonic() < deadline, "the run left jobs behind"
        time.sleep(0.2)
