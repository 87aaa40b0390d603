"""``autotune reproduce``: a trial evaluated again from what is kept of its study, here and elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from autotune import reproduction
from autotune.execution.inline import InlineExecutor
from autotune.objective import Evaluation, Metric, Status
from autotune.reproduction import compare
from autotune.space import Dimension, Space
from autotune.store import TrialRecord
from autotune.study import StudyFile
from tests.end_to_end.studies import GATED, Place, autotune, make_gate

STUDY = GATED | {"execution": {"executor": "inline"}, "budget": {"trials": 3}}
SPACE = Space((Dimension("shift", "angstrom", low=-2.0, high=2.0), Dimension("rate", low=1e-3, high=1.0, log=True)))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluates in this process, where a worker's start is not what is tested."""

    def inline(file: StudyFile, spec: Any, metric: str, logs: Path) -> InlineExecutor:
        return InlineExecutor(file.open(), metric)

    monkeypatch.setattr(reproduction, "ProcessExecutor", inline)


@pytest.fixture
def study(place: Place) -> Place:
    """A study that was run, with its measurement in the folder ``gate``."""
    (make_gate(place) / "scan-1").write_text("counts")
    assert autotune("run", place.write(STUDY), "--quiet") == 0
    return place


@pytest.mark.slow
def test_a_copy_elsewhere_reproduces_the_best_trial_in_a_fresh_worker(
    study: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "another checkout"
    shutil.copytree(study.folder, copy)
    shutil.rmtree(study.folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOTUNE_HOME", str(copy / "home"))
    assert autotune("reproduce", "toy", "--json", "found.json", "--tolerance", "1e-5") == 0
    out = capsys.readouterr().out
    assert "Reproduced: trial" in out and "Software and machine: the same" in out
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["metrics"]["consistency"]["difference"] == 0
    assert (copy / "gate" / "began").read_text().count("evaluation") == 4


def test_it_agrees_and_says_with_what(study: Place, here: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("reproduce", "toy", "--json", "found.json") == 0
    found = json.loads((study.folder / "found.json").read_text())
    best = study.result()
    assert (found["trial"], found["agrees"], found["seed"]) == (best["best_trial"], True, 3)
    assert found["metrics"]["consistency"]["now"] == best["metric"]["best"]
    assert set(found["gradient"]) == {"shift", "rate"} and found["differences"] == {}
    assert found["values"]["passes"] == 4
    out = capsys.readouterr().out
    assert f"Data: the same ({found['content_hash']})" in out and "Seed: 3" in out
    assert autotune("reproduce", "toy", "--trial", "1") == 0
    assert "Reproduced: trial 1 of study toy" in capsys.readouterr().out
    assert len(study.trials()) == 3  # nothing is added to the study


def test_what_does_not_agree_ends_with_3_and_names_the_software(
    study: Place, here: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = reproduction.environment

    def later(objective: str) -> dict[str, Any]:
        found = now(objective)
        return found | {"packages": found["packages"] | {"numpy": "99.0"}}

    monkeypatch.setattr(reproduction, "environment", later)
    shifted = ["--set", "objective.optimum.shift=0.701"]
    assert autotune("reproduce", "toy", *shifted) == 3
    out = capsys.readouterr().out
    assert "NOT reproduced: trial" in out and "differs" in out and "With: objective.optimum.shift=0.701" in out
    assert any(line.split()[0] == "numpy" and line.split()[-1] == "99.0" for line in out.splitlines() if line.split())
    assert "autotune reproduce STUDY --lock FILE" in out
    assert autotune("reproduce", "toy", *shifted, "--tolerance", "0.01") == 0

    assert autotune("reproduce", "toy", "--set", "objective.crash_above=-9") == 3
    assert "failed when evaluated again: RuntimeError: the toy crashed at shift" in capsys.readouterr().out


def test_other_data_are_refused(study: Place, here: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("reproduce", "toy", "--folder", "nowhere") == 2
    assert "--folder nowhere: is no folder" in capsys.readouterr().err
    moved = study.folder / "moved"
    moved.mkdir()
    shutil.move(study.folder / "gate", moved / "gate")
    (study.folder / "gate").mkdir()
    (study.folder / "gate" / "scan-1").write_text("other counts")
    assert autotune("reproduce", "toy") == 2
    assert "study toy: the data have changed: their hash is " in capsys.readouterr().err
    assert autotune("reproduce", "toy", "--folder", "moved") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trial", "7"), "--trial 7: study toy has no such trial; finished: "),
        (("--trial", "0"), "--trial 0: is failed: the toy diverged at shift"),
        (("--tolerance", "0"), "--tolerance 0: is not above 0"),
        (("--json", "no/found.json"), "--json no/found.json: its folder does not exist"),
    ],
)
def test_bad_input_is_refused(
    place: Place, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    objective = {"name": "tests.end_to_end.studies:quick", "fail_above": 0.2}
    study = place.write(STUDY, objective=objective, budget={"trials": 4})
    assert autotune("run", study, "--quiet") == 0
    assert place.trials()[0].state == "failed"
    assert autotune("reproduce", "toy", *arguments) == 2
    assert message in capsys.readouterr().err


def test_the_lock_is_that_of_the_trials_run(study: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("reproduce", "toy", "--lock", "lock.txt") == 0
    kept = json.loads((study.home.study("toy") / "environment.json").read_text())
    assert f"numpy=={kept['packages']['numpy']}\n" in (study.folder / "lock.txt").read_text()
    assert "pip install -c lock.txt ." in capsys.readouterr().out
    assert autotune("reproduce", "toy", "--lock", "no/lock.txt") == 2
    assert "--lock no/lock.txt: cannot be written" in capsys.readouterr().err


def record(metric: float, **gradient: float) -> TrialRecord:
    return TrialRecord(0, "finished", {"shift": 1.0, "rate": 0.1}, metrics={"c": metric}, gradient=gradient)


@pytest.mark.parametrize(
    ("then", "now", "agrees"),
    [
        (record(0.9), {"c": 0.9000099}, True),
        (record(0.9), {"c": 0.9000101}, False),
        (record(2e4), {"c": 2e4 + 0.19}, True),  # relative where it is large
        (record(0.9), {"d": 0.9}, False),  # no longer reported
        (record(0.9, shift=0.1), {"c": 0.9, "shift": 0.1 + 2e-6}, True),  # 8e-6 through the range of 4
        (record(0.9, shift=0.1), {"c": 0.9, "shift": 0.1 + 3e-6}, False),
        (record(0.9, shift=100.0), {"c": 0.9, "shift": 100.0 + 9e-4}, True),  # relative to its own 400
        (record(0.9, rate=0.1), {"c": 0.9, "rate": 0.1 + 1.4e-5}, True),  # a range of 0.1 ln 1000 = 0.69 at 0.1
        (record(0.9, rate=0.1), {"c": 0.9, "rate": 0.1 + 1.5e-5}, False),
        (record(0.9, held=0.1), {"c": 0.9, "held": 7.0}, True),  # not tuned
    ],
)
def test_what_agrees(then: TrialRecord, now: dict[str, float], agrees: bool) -> None:
    metrics = {name: value for name, value in now.items() if name in "cd"}
    gradient = {name: value for name, value in now.items() if name not in "cd"}
    again = Evaluation(Status.COMPLETE, metrics=metrics, gradient=gradient)
    assert compare(then, again, SPACE, Metric("c", "maximize"), 1e-5)["agrees"] is agrees


def test_a_failed_repetition_does_not_agree() -> None:
    assert compare(record(0.9), None, SPACE, Metric("c", "maximize"), 1e-5)["agrees"] is False


def test_numbers_are_named_in_short() -> None:
    assert reproduction._ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
