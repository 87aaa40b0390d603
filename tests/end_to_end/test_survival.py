"""Whatever dies, nothing that has finished is lost, nothing is done twice, and the study comes to its end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from autotune.store.locks import exclusive
from tests.end_to_end.forking import metric_of
from tests.end_to_end.launcher import Launcher
from tests.end_to_end.studies import STUDY, Place, autotune, make_gate, make_place, wait_for_evaluation
from tests.end_to_end.test_run import recorded

pytestmark = pytest.mark.slow

OBJECTIVE = {"name": "tests.end_to_end.misbehaving:misbehaving", "data": "gate"}
SLOW = {"name": "tests.end_to_end.studies:quick", "iterations": 4, "seconds_per_iteration": 0.02}
PROCESS: dict[str, Any] = STUDY | {"objective": OBJECTIVE, "execution": {"executor": "process"}}


PATIENT = {"executor": "process", "workers": 2, "retries": 50}


def check_store(place: Place, budget: int) -> None:
    """The trials that count are as many as the budget, each with values of its own, and the database is sound."""
    trials = place.trials()
    counted = [trial for trial in trials if trial.state != "interrupted"]
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert len(counted) == budget
    # Chance may kill three runs in the same trial.
    assert all(trial.state == "finished" or "its process died 3 times" in trial.reason for trial in counted)
    assert sorted(trial.index for trial in counted) == list(range(budget))  # type: ignore[type-var]
    assert len({tuple(trial.values.values()) for trial in counted}) == budget
    folders = {int(path.name) for path in (place.home.study("toy") / "trials").iterdir()}
    assert {trial.number for trial in counted if trial.state == "finished"} <= folders
    check_database(place)


def no_process_of(place: Place) -> bool:
    """Whether no process is left that works here."""
    return not any(
        process.info["status"] != psutil.STATUS_ZOMBIE and process.info["cwd"] == str(place.folder)
        for process in psutil.process_iter(["cwd", "status"])
        if process.pid != os.getpid()
    )


def check_database(place: Place) -> None:
    """The file is sound, whenever its writer died."""
    connection = sqlite3.connect(place.home.folder / "trials.db")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    finally:
        connection.close()


def kill_at_a_random_moment(launcher: Launcher, moments: random.Random, before: bool) -> None:
    """Kill the run that was started: ``before`` it says that it has begun, or among what it says afterwards."""
    lines, wait = 0 if before else moments.randint(1, 15), moments.uniform(0.0, 0.7 if before else 0.1)
    deadline = time.monotonic() + 60
    while launcher.printed().count("\n") < lines:
        assert not launcher.over() and time.monotonic() < deadline, launcher.printed()
        time.sleep(0.002)
    time.sleep(wait)
    assert not launcher.over(), launcher.printed()
    launcher.kill()
    assert launcher.code() == -signal.SIGKILL


def test_the_run_is_killed_at_50_random_moments(place: Place) -> None:
    """Half of the runs have one worker, half two; every fifth dies before it has taken the study up."""
    kills, budget, moments = 50, 240, random.Random(1)  # noqa: S311
    place.write(STUDY, objective=SLOW, budget={"trials": budget}, execution={"executor": "process"})
    kept: dict[int, Any] = {}
    in_the_middle = 0  # of a trial
    launcher = Launcher(place)
    try:
        for kill in range(kills):
            workers = ("--set", f"execution.workers={1 + kill % 2}")
            launcher.start("run", "study.yaml", "--progress", "json", *workers)
            kill_at_a_random_moment(launcher, moments, before=kill % 5 == 0)
            if not (place.home.folder / "trials.db").exists():
                continue
            check_database(place)
            trials = place.trials()
            in_the_middle += any(trial.state == "running" for trial in trials)
            finished = {trial.number: trial for trial in trials if trial.state == "finished"}
            assert {number: finished.get(number) for number in kept} == kept  # none lost, none changed
            kept = finished
        assert in_the_middle > kills / 2
        assert 50 < len(kept) < budget  # there was something to lose, and the study was never over
        launcher.start("run", "study.yaml", "--quiet", "--set", "execution.workers=2")
        assert (launcher.code(), launcher.printed()) == (0, "")
    finally:
        launcher.close()
    check_store(place, budget)
    assert {trial.number: trial for trial in place.trials() if trial.number in kept} == kept
    assert place.result()["status"] == "finished"
    assert place.result()["trials"]["finished"] + place.result()["trials"]["failed"] == budget
    time.sleep(0.5)
    assert no_process_of(place)


def test_workers_are_killed_at_random(place: Place) -> None:
    place.write(STUDY, objective=SLOW, budget={"trials": 40}, execution=PATIENT)
    moments, kills = random.Random(7), 0  # noqa: S311
    process = place.start("run", "study.yaml", "--quiet")
    while process.poll() is None:
        time.sleep(moments.uniform(0.3, 1.5))
        with_work = [child for child in psutil.Process(process.pid).children() if child.status() != "zombie"]
        if with_work and process.poll() is None:
            moments.choice(with_work).send_signal(moments.choice([signal.SIGKILL, signal.SIGTERM]))
            kills += 1
    assert process.communicate() == ("", "")
    assert process.returncode == 0
    assert kills > 4
    assert [trial.state for trial in place.trials()] == 40 * ["finished"]
    check_store(place, 40)
    time.sleep(0.5)
    assert no_process_of(place)


DEEDS = {
    1: (
        "segfault",
        r"its worker process was killed by signal 11 \(segmentation fault\): in string_at \(__init__.py:\d+\)",
    ),
    2: ("exit", r"its worker process exited with code 7: about to exit"),
    4: ("allocate", r"used more than 1 GB"),
    5: ("sleep", r"took longer than 8 s"),
    6: ("raise", r"ValueError: no convergence \(misbehaving.py:\d+\)"),
    7: ("NaN", r"ValueError: a complete evaluation needs finite metrics; not finite: consistency \(.*\)"),
    8: ("NaN behind", r"ValueError: a complete evaluation needs finite metrics; not finite: consistency \(.*\)"),
    9: ("be killed", r""),  # evaluation 10 is its second attempt
    11: ("be killed", r"its worker process was killed by signal 9 \(killed\): about to be killed; tried 2 times"),
    12: ("be killed", r""),
    13: ("speak", r""),
    14: ("fork and segfault", r"its worker process was killed by signal 11 \(segmentation fault\): in string_at .*"),
}
"""Evaluation -> what it does, and the reason of the failure."""


def test_each_misdeed_is_one_failed_trial(place: Place) -> None:
    gate = make_gate(place)
    for number, (deed, _) in DEEDS.items():
        (gate / f"do-{number}").write_text(deed)
    limits = {"executor": "process", "timeout": 8, "memory": "1 GB"}
    study = place.write(PROCESS, budget={"trials": 13}, execution=limits, intervals={"replicates": 0})
    assert autotune("run", study, "--quiet") == 0
    trials = place.trials()
    # Evaluations 9 and 10 are of trial 8, 11 and 12 of trial 9.
    reasons = {0: 1, 1: 2, 3: 4, 4: 5, 5: 6, 6: 7, 7: 8, 9: 11, 11: 14}
    for trial in trials:
        if trial.number in reasons:
            assert trial.state == "failed"
            assert re.fullmatch(DEEDS[reasons[trial.number]][1], trial.reason), trial.reason
        else:
            assert (trial.state, trial.reason) == ("finished", "")
    assert len(trials) == 13
    assert trials[4].seconds == pytest.approx(8, abs=1)
    processes = [int(line) for line in (gate / "began").read_text().split()]
    assert len(processes) == 15
    assert len(set(processes)) == 8 + 1  # a new one after each of the eight deaths
    time.sleep(0.5)
    assert no_process_of(place)


@pytest.mark.parametrize(
    ("executor", "how"),
    [
        ("process", "returns"),
        ("inline", "returns"),
        ("inline", "exits"),
        ("inline", "in the middle"),
        ("inline", "while opened"),
    ],
)
def test_a_child_that_the_objective_forks_takes_no_part(executor: str, how: str, place: Place) -> None:
    """It neither answers for its parent nor goes on with the study."""
    objective = {"name": "tests.end_to_end.forking:forking", "how": how}
    place.write(STUDY, objective=objective, parameters={"shift": {}}, execution={"executor": executor})
    process = place.start("run", "study.yaml", "--progress", "json")
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    events = [json.loads(line) for line in output.splitlines()]
    reported = [(event["trial"], event["metrics"]) for event in events if event["event"] == "ended"]
    trials = place.trials()
    assert reported == [(n, {"consistency": metric_of(float(trials[n].values["shift"]))}) for n in range(4)]
    assert [trial.metrics for trial in trials] == [metrics for _, metrics in reported]
    assert [event["event"] for event in events].count("finished") == 1
    time.sleep(0.5)
    assert no_process_of(place)


def test_a_worker_that_is_killed_while_measurements_are_repeated_changes_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluation 7 is of the best guess, after the six trials."""
    results = []
    for name, deed in (("undisturbed", None), ("disturbed", "be killed")):
        place = make_place(tmp_path / name, monkeypatch)
        gate = make_gate(place)
        if deed is not None:
            (gate / "do-7").write_text(deed)
        objective = OBJECTIVE | {"name": "tests.end_to_end.misbehaving:repeatable"}
        search, parameters = {"sampler": "gp", "seed": 3}, {"shift": {}, "tilt": {"low": 0, "high": 10}}
        changes = {"objective": objective, "search": search, "parameters": parameters, "budget": {"trials": 6}}
        assert autotune("run", place.write(PROCESS, **changes), "--quiet") == 0
        assert len((gate / "began").read_text().splitlines()) == 7 + (deed is not None)
        results.append(place.result()["parameters"])
    undisturbed, disturbed = results
    assert [parameter["verdict"] for parameter in undisturbed.values()] == ["identified", "identified"]
    assert disturbed == undisturbed


def test_a_killer_of_its_run_is_failed_at_last(place: Place) -> None:
    """Where trials run in the run's own process, one that ends it must not do so for ever."""
    gate = make_gate(place)
    for number in (2, 3, 4):
        (gate / f"do-{number}").write_text("segfault")
    place.write(PROCESS, execution={"executor": "inline"})
    for _ in range(3):
        process = place.start("run", "study.yaml", "--quiet")
        process.communicate()
        assert process.returncode == -signal.SIGSEGV
    assert autotune("run", "study.yaml", "--quiet") == 0
    trials = place.trials()
    assert [t.state for t in trials] == ["finished", "interrupted", "interrupted", "failed", "finished", "finished"]
    assert trials[1].values == trials[2].values == trials[3].values
    assert trials[3].reason == "its process died 3 times with these values"


@pytest.mark.parametrize("workers", [1, 2])
def test_two_runs_share_a_study(workers: int, place: Place) -> None:
    execution = {"executor": "process", "workers": workers}
    place.write(STUDY, objective=SLOW, budget={"trials": 40}, execution=execution)
    processes = [place.start("run", "study.yaml", "--json", f"{i}.json") for i in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(place.trials()) == 40
    check_store(place, 40)
    told = [re.findall(r"^trial (\d+) ", output, flags=re.MULTILINE) for output in outputs]
    assert sorted(int(number) for numbers in told for number in numbers) == list(range(40))
    assert all(len(numbers) > 5 for numbers in told)
    first, second = (json.loads((place.folder / f"{i}.json").read_text()) for i in range(2))
    assert first == second


def test_one_of_two_runs_is_killed_and_the_other_takes_over(place: Place) -> None:
    gate = make_gate(place, 1, 2)
    place.write(PROCESS, objective=OBJECTIVE | {"name": "tests.end_to_end.studies:gated"})
    victim = place.start("run", "study.yaml", "--quiet")
    wait_for_evaluation(gate, 1, victim)
    survivor = place.start("run", "study.yaml", "--quiet")
    wait_for_evaluation(gate, 2, survivor)
    victim.kill()
    victim.communicate()
    (gate / "hold-2").unlink()
    assert survivor.communicate(timeout=60) == ("", "")
    assert survivor.returncode == 0
    trials = place.trials()
    assert [trial.state for trial in trials].count("interrupted") == 1
    assert trials[0].state == "interrupted"
    again = next(trial for trial in trials[1:] if trial.index == 0)
    assert again.values == trials[0].values
    check_store(place, 4)


@pytest.mark.parametrize("executor", ["process", "inline"])
def test_sigterm_is_over_within_10_seconds(executor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = make_place(tmp_path / "user", monkeypatch)
    gate = make_gate(place)
    (gate / "do-3").write_text("sleep")
    place.write(PROCESS, execution={"executor": executor}, tracking={"enabled": True})
    process = place.start("run", "study.yaml", "--quiet")
    wait_for_lines(gate / "began", 3, process)
    began = time.monotonic()
    process.terminate()
    error = process.communicate(timeout=60)[1]
    assert time.monotonic() - began < 10
    assert process.returncode == 130
    assert "Continue with: autotune run study.yaml --quiet" in error
    assert [trial.state for trial in place.trials()] == ["finished", "finished", "interrupted"]
    assert place.result()["status"] == "stopped"
    assert autotune("run", "study.yaml", "--quiet", "--set", "tracking.enabled=false") == 0
    check_store(place, 4)


def wait_for_lines(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or len(path.read_text().splitlines()) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_second_signal_ends_the_run_at_once(place: Place) -> None:
    """Even where the first one is still being attended to."""
    gate = make_gate(place)
    (gate / "do-2").write_text("sleep")
    place.write(PROCESS)
    process = place.start("run", "study.yaml", "--quiet")
    wait_for_lines(gate / "began", 2, process)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 130
    time.sleep(0.5)
    assert no_process_of(place)
    assert autotune("run", "study.yaml", "--quiet") == 0
    check_store(place, 4)


@pytest.mark.parametrize("hindrance", ["MLflow", "another run"])
def test_a_stopped_run_waits_for_nobody(hindrance: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """All waits together; what MLflow lacks afterwards is added by ``sync``, and the store by the next run."""
    monkeypatch.setenv("SLOW_MLFLOW", "30" if hindrance == "MLflow" else "0")
    objective = {"name": "tests.end_to_end.slow_mlflow:slow", "iterations": 200, "seconds_per_iteration": 0.05}
    place.write(STUDY, objective=objective, tracking={}, execution={"executor": "process", "workers": 2})
    process = place.start("run", "study.yaml", "--quiet")
    while sum(trial.state == "running" for trial in place.trials()) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    with exclusive(place.home.store_url, "toy") if hindrance == "another run" else contextlib.nullcontext():
        process.send_signal(signal.SIGTERM)
        error = process.communicate(timeout=3)[1]
    assert process.returncode == 130 and "Continue with: autotune run study.yaml" in error and no_process_of(place)
    monkeypatch.setenv("SLOW_MLFLOW", "0")
    if hindrance == "MLflow":
        assert [trial.state for trial in place.trials()] == ["interrupted", "interrupted"]
        assert autotune("sync", "toy") == 0
        parent, *children = recorded(place.home.tracking_uri)
        assert (parent.info.status, [child.info.status for child in children]) == ("KILLED", ["KILLED", "KILLED"])
    options = (
        "--set",
        "objective.iterations=200",
        "--set",
        "execution.executor=inline",
        "--set",
        "execution.workers=1",
    )
    assert autotune("run", "study.yaml", "--quiet", "--trials", "1", *options) == 0
    assert [trial.state for trial in place.trials()] == ["interrupted", "interrupted", "finished"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of three megabytes, mounted; only the administrator can do so."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True)
    if not done or done.returncode:
        pytest.skip("no small disk can be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)  # noqa: S607


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_a_full_disk_is_waited_for(executor: str, place: Place, small_disk: Path) -> None:
    place.home.folder.symlink_to(small_disk)
    place.write(STUDY, objective=SLOW, budget={"trials": 8}, execution={"executor": executor})
    process = place.start("run", "study.yaml")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]  # the study's, and two trials'
    filling = small_disk / "filling"
    with filling.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(bytes(1024))
    while not (line := process.stdout.readline()).startswith("Waiting: "):
        assert line, lines
        lines.append(line)
    assert "disk" in line
    time.sleep(1.0)
    assert process.poll() is None
    filling.unlink()
    rest = process.communicate(timeout=100)[0]
    assert process.returncode == 0, rest
    assert "Going on." in rest
    trials = place.trials()
    # The disk may be full between the start of a trial and its place in the search: it is released, unevaluated.
    released = [trial for trial in trials if trial.state == "interrupted"]
    assert not any(place.home.trial("toy", trial.number).exists() for trial in released)
    assert [trial.state for trial in trials if trial not in released] == 8 * ["finished"]
    check_store(place, 8)
