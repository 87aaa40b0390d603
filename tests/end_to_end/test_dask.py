"""Studies on a Dask cluster: what dies on it costs no trial."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from autotune.execution.cluster import DaskExecutor
from autotune.execution.executor import Task
from autotune.objective import Status
from autotune.study import load_study
from tests.autotune.execution.test_inline import Hears
from tests.end_to_end.forking import metric_of
from tests.end_to_end.studies import ROOT, STUDY, Place, autotune, make_gate, wait_for_evaluation
from tests.end_to_end.test_demo_like import STUDY as DEMO

pytest.importorskip("distributed", reason="dask is not installed")
pytestmark = pytest.mark.slow

OBJECTIVE = {"name": "tests.end_to_end.misbehaving:misbehaving", "data": "gate"}
OWN: dict[str, Any] = {"executor": "dask", "workers": 2, "cluster": {"kind": "local"}}


def here(process: subprocess.Popen[str]) -> set[int]:
    """All processes below one that was started."""
    return {child.pid for child in psutil.Process(process.pid).children(recursive=True)}


def gone(processes: set[int]) -> bool:
    """Whether they end within some seconds."""
    _, left = psutil.wait_procs([psutil.Process(pid) for pid in processes if psutil.pid_exists(pid)], timeout=20)
    return not left


def dask_worker_of(gate: Path, number: int) -> psutil.Process:
    """The Dask worker whose trial is evaluation ``number``."""
    worker = psutil.Process(int((gate / "began").read_text().split()[number - 1])).parent()
    assert worker is not None
    return worker


def wait_for_lines(gate: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not (gate / "began").exists() or len((gate / "began").read_text().splitlines()) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_demo_runs_on_two_workers_one_of_which_is_killed(place: Place) -> None:
    study = place.write(DEMO, execution=OWN, budget={"trials": 5})
    assert autotune("simulate", study) == 0
    process = place.start("run", "study.yaml")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]  # the study's, and two trials'
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "autotune" in " ".join(child.cmdline())
    ]
    dask_workers = {worker.parent() for worker in workers if "spawn_main" in " ".join(worker.parent().cmdline())}  # type: ignore[union-attr]
    assert len(dask_workers) == 2
    victim = dask_workers.pop()
    assert victim is not None
    victim.kill()
    output, error = process.communicate(timeout=200)
    assert process.returncode == 0, (lines, output, error)
    assert error == ""
    result = place.result("small")
    assert result["trials"] == {"finished": 5, "failed": 0, "pruned": 0}


def test_misdeeds_and_a_lost_worker(place: Place) -> None:
    gate = make_gate(place)
    deeds = {1: "segfault", 3: "sleep", 5: "sleep"}
    for number, deed in deeds.items():
        (gate / f"do-{number}").write_text(deed)
    limits = OWN | {"workers": 1, "timeout": 3, "memory": "2 GB"}
    place.write(STUDY, objective=OBJECTIVE, budget={"trials": 5}, execution=limits)
    process = place.start("run", "study.yaml", "--quiet")
    wait_for_lines(gate, 5, process)
    dask_worker_of(gate, 5).kill()  # evaluation 6 is the second attempt
    started = here(process)
    assert process.communicate(timeout=100) == ("", "")
    assert process.returncode == 0
    trials = place.trials()
    assert [trial.state for trial in trials] == ["failed", "finished", "failed", "finished", "finished"]
    assert "signal 11 (segmentation fault)" in trials[0].reason
    assert trials[2].reason == "took longer than 3 s"
    assert len((gate / "began").read_text().splitlines()) == 6
    kept = sorted(path.name for path in (place.home.study("toy") / "trials").iterdir())
    assert kept == ["00001", "00003", "00004"]
    assert gone(started)


def test_a_child_that_the_objective_forks_takes_no_part(place: Place) -> None:
    objective = {"name": "tests.end_to_end.forking:forking", "how": "returns"}
    place.write(STUDY, objective=objective, parameters={"shift": {}}, execution=OWN)
    process = place.start("run", "study.yaml", "--quiet")
    output, error = process.communicate(timeout=200)
    assert process.returncode == 0, (output, error)
    trials = place.trials()
    assert [trial.metrics["consistency"] for trial in trials] == [metric_of(float(t.values["shift"])) for t in trials]
    assert len(trials) == 4


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_takes_its_cluster_with_it(sent: signal.Signals, place: Place) -> None:
    gate = make_gate(place)
    (gate / "do-3").write_text("sleep")
    place.write(STUDY, objective=OBJECTIVE, execution=OWN | {"workers": 1})
    process = place.start("run", "study.yaml", "--quiet")
    wait_for_lines(gate, 3, process)
    started, began = here(process), time.monotonic()
    assert len(started) >= 3  # nanny's, Dask's worker, ours
    process.send_signal(sent)
    error = process.communicate(timeout=60)[1]
    assert time.monotonic() - began < 10
    assert process.returncode == (130 if sent == signal.SIGTERM else -sent)
    if sent == signal.SIGTERM:
        assert "Continue with: autotune run study.yaml --quiet" in error
        assert place.trials()[2].state == "interrupted"
    assert gone(started)
    assert autotune("run", "study.yaml", "--quiet", "--set", "execution={executor: inline}") == 0
    assert [trial.state for trial in place.trials()] == ["finished", "finished", "interrupted", "finished", "finished"]


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """A scheduler and two workers that run already: the scheduler's address, and the processes."""
    file, tool = tmp_path / "scheduler.json", [sys.executable, "-m"]
    quiet: dict[str, Any] = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "text": True}
    address = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    processes = [
        subprocess.Popen([*tool, "distributed.cli.dask_scheduler", *address, "--scheduler-file", file], **quiet)
    ]
    for _ in range(2):
        worker = ["--scheduler-file", file, "--nthreads", "1", "--no-dashboard", "--local-directory", tmp_path]
        processes.append(subprocess.Popen([*tool, "distributed.cli.dask_worker", *worker], **quiet))
    try:
        yield written_to(file), processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def written_to(file: Path) -> str:
    """The address that a scheduler writes to its file, which is there, and empty, a moment before."""
    deadline = time.monotonic() + 60
    while not file.exists() or not file.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    address: str = json.loads(file.read_text())["address"]
    return address


def test_a_cluster_that_runs_already(scheduler: Any, place: Place) -> None:
    """A run that is killed leaves its trial to nobody, and the cluster as it was."""
    address, processes = scheduler
    gate = make_gate(place, 2)
    gated = {"name": "tests.end_to_end.studies:gated", "data": "gate"}
    execution = {"executor": "dask", "workers": 2, "scheduler": address}
    place.write(STUDY, objective=gated, budget={"trials": 8}, execution=execution)
    victim = place.start("run", "study.yaml", "--quiet")
    wait_for_evaluation(gate, 2, victim)
    victim.kill()
    victim.communicate()
    time.sleep(2.0)  # its trial is given up, although it would have waited for ever
    (gate / "hold-2").unlink()
    began = (gate / "began").read_text().count("evaluation")
    assert autotune("run", "study.yaml", "--quiet") == 0
    assert sum(trial.state == "finished" for trial in place.trials()) == 8
    assert (gate / "began").read_text().count("evaluation") >= began + 6
    assert all(process.poll() is None for process in processes)


def test_a_scheduler_that_is_gone_ends_the_run_and_nothing_is_lost(scheduler: Any, place: Place) -> None:
    address, processes = scheduler
    gate = make_gate(place, 3)
    gated = {"name": "tests.end_to_end.studies:gated", "data": "gate"}
    place.write(STUDY, objective=gated, execution={"executor": "dask", "workers": 1, "scheduler": address})
    process = place.start("run", "study.yaml")
    wait_for_evaluation(gate, 3, process)
    processes[0].kill()
    output, error = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "Waiting: the Dask scheduler does not answer" in output
    assert "the Dask scheduler: was lost; continue with the same command" in error
    assert [trial.state for trial in place.trials()] == ["finished", "finished", "interrupted"]


def test_a_listener_stops_an_evaluation_from_afar(scheduler: Any, place: Place) -> None:
    slow = {"name": "tests.end_to_end.studies:quick", "iterations": 200, "seconds_per_iteration": 0.05}
    execution = {"executor": "dask", "scheduler": scheduler[0]}
    file = load_study(Path(place.write(STUDY, objective=slow, execution=execution)))
    logs = place.home.workers("toy")
    logs.parent.mkdir(parents=True)
    executor, hears = DaskExecutor(file, "consistency", logs), Hears(most=3)
    try:
        executor.submit(Task(5, {"shift": 0.5}, 11, place.home.trial("toy", 5)))
        deadline = time.monotonic() + 60
        while (ended := executor.wait(hears, 1.0)) is None:
            assert time.monotonic() < deadline
    finally:
        executor.close()
    assert (ended.number, ended.infrastructure) == (5, False)
    assert ended.evaluation.status is Status.STOPPED
    assert 3 <= len(ended.evaluation.curve["consistency"]) < 100 and 0 < ended.done < 0.5
    assert hears.seen == [(5, iteration, 200) for iteration in (1, 2, 3)]  # not told of those after its answer


def test_what_cannot_be_reached_or_started_is_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write(STUDY, execution={"executor": "dask", "scheduler": "tcp://127.0.0.1:1"})
    assert autotune("run", "study.yaml", "--quiet") == 2
    assert "execution.scheduler: tcp://127.0.0.1:1 does not answer" in capsys.readouterr().err
