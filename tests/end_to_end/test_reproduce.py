"""``autotune reproduce``: a trial evaluated again from what is kept of its study, here and elsewhere."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autotune.execution.inline import InlineExecutor
from autotune.objective import Evaluation, Metric, Status
from autotune.problem.space import Dimension, Space
from autotune.provenance import environment
from autotune.rerun import reproduce as reproduction
from autotune.rerun.reproduce import compare, scale_of
from autotune.store.records import TrialRecord
from autotune.study import StudyFile
from tests.end_to_end.studies import GATED, Place, autotune, make_gate

pytestmark = pytest.mark.usefixtures("in_memory")

STUDY = GATED | {"execution": {"executor": "inline"}, "budget": {"trials": 3}}
SPACE = Space((Dimension("shift", "angstrom", low=-2.0, high=2.0), Dimension("rate", low=1e-3, high=1.0, log=True)))


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit is that of a checkout without changes."""
    monkeypatch.setattr(environment, "_commit", lambda: "c0ffee")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluates in this process, where a worker's start is not what is tested."""

    def inline(file: StudyFile, spec: Any, metric: str, logs: Path, threads: Any) -> InlineExecutor:
        return InlineExecutor(file.open(), metric)

    monkeypatch.setattr(reproduction, "ProcessExecutor", inline)


@pytest.fixture
def study(place: Place) -> Place:
    """A study that was run, with its measurement in the folder ``gate``."""
    (make_gate(place) / "scan-1").write_text("counts")
    assert autotune("run", place.write(STUDY), "--quiet") == 0
    return place


@pytest.mark.slow
@pytest.mark.usefixtures("on_disk")
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
    assert "Reproduced: trial" in out and "Recorded software and machine: the same" in out
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
    now = environment.environment

    def later(objective: str, threads: Any) -> dict[str, Any]:
        found = now(objective, threads)
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
        (("--tolerance", "0"), "--tolerance 0: is not a number above 0"),
        (("--tolerance", "inf"), "--tolerance inf: is not a number above 0"),
        (("--tolerance", "nan"), "--tolerance nan: is not a number above 0"),
        (("--json", "no/found.json"), "--json no/found.json: its folder does not exist"),
        (("--set", "search.seed=4"), "--set search.seed=4: is part of the trial, or has no effect on it; replace obj"),
        (("--set", "parameters.shift=0.1"), "--set parameters.shift=0.1: is part of the trial"),
        (("--set", "objective.optimum.shift"), "--set objective.optimum.shift: "),
        (("--set", "nonsense"), "--set nonsense: 'nonsense' is not KEY=VALUE"),
        (("--lock", "lock.txt", "--json", "found.json"), "--json: contradicts --lock, which evaluates nothing"),
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


LOCAL = """
import os
from pathlib import Path

from autotune.objective import Evaluation, Metric, Parameter, Status
from pydantic import BaseModel


class Settings(BaseModel):
    loss: float = 1.04e-8


class Local:
    def __init__(self, settings):
        self.settings = settings

    def parameters(self):
        return [Parameter("x", "1", "solver", 0.5, low=0.0, high=1.0)]

    def metrics(self):
        return [Metric("loss", "minimize")]

    def summary(self):
        return {}

    def evaluate(self, values, *, metric, seed, progress=None):
        found = {"loss": self.settings.loss, "threads": float(os.environ.get("OMP_NUM_THREADS", "0"))}
        return Evaluation(Status.COMPLETE, found)


class LocalType:
    settings = Settings

    def open(self, settings, *, folder):
        return Local(settings)


local = LocalType()
"""


@pytest.fixture
def local(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a module of the user's own, with an objective whose metric is small."""
    file = place.folder / "local_toy.py"
    file.write_text(LOCAL)
    monkeypatch.syspath_prepend(str(place.folder))
    yield file
    sys.modules.pop("local_toy", None)


def run_local(place: Place, trials: int = 1, **execution: Any) -> None:
    study = STUDY | {"objective": {"name": "local_toy:local"}, "parameters": {"x": {}}}
    execution = execution or {"executor": "inline"}
    assert autotune("run", place.write(study, execution=execution, budget={"trials": trials}), "--quiet") == 0


def test_another_objective_in_a_local_module_is_named(
    place: Place, local: Path, here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run_local(place)
    assert autotune("reproduce", "toy") == 0
    assert "Recorded software and machine: the same" in capsys.readouterr().out
    local.write_text(LOCAL.replace("self.settings.loss", "1.0 * self.settings.loss"))
    assert autotune("reproduce", "toy", "--json", "found.json") == 0
    out = capsys.readouterr().out
    assert "the same (" not in out and "source of local_toy" in out and "--lock" not in out  # which could not help
    found = written(place)
    assert list(found["differences"]) == ["source of local_toy"]


@pytest.mark.slow
def test_the_worker_gets_as_many_threads_as_then(
    place: Place, local: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    run_local(place, 2, executor="process", workers=2)
    assert place.trials()[0].metrics["threads"] >= 1
    assert autotune("reproduce", "toy", "--json", "found.json") == 0
    assert "Recorded software and machine: the same" in capsys.readouterr().out
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert autotune("reproduce", "toy", "--json", "found.json") == 0
    found = written(place)
    assert found["metrics"]["threads"]["now"] == place.trials()[0].metrics["threads"] and found["differences"] == {}


def test_a_small_loss_that_differs_is_not_reproduced(
    place: Place, local: Path, here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run_local(place)
    assert autotune("reproduce", "toy") == 0
    capsys.readouterr()
    assert autotune("reproduce", "toy", "--set", "objective.loss=5.21e-7", "--json", "found.json") == 3
    out = capsys.readouterr().out
    assert "NOT reproduced: trial 0 of study toy" in out and "1.04e-08" in out and "5.21e-07" in out and " 49 " in out
    (relative,) = (one["relative"] for name, one in written(place)["metrics"].items() if name == "loss")
    assert relative == pytest.approx((5.21e-7 - 1.04e-8) / 1.04e-8)


def written(place: Place) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place.folder / "found.json").read_text())
    return found


def test_a_checkout_with_changes_is_not_known_to_be_the_same(
    study: Place, here: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_commit", lambda: "c0ffee-dirty")
    assert autotune("run", study.write(STUDY, name="again"), "--quiet") == 0
    assert autotune("reproduce", "again") == 0
    out = capsys.readouterr().out
    assert "the same (" not in out.partition("Seed")[2] and "not known to be the same as then" in out
    assert any(line.split()[:2] == ["commit", "c0ffee-dirty"] for line in out.splitlines())


def record(metric: float, number: int = 0, level: int = 0, **gradient: float) -> TrialRecord:
    values = {"shift": 1.0, "rate": 0.1}
    return TrialRecord(number, "finished", values, metrics={"c": metric, "d": 3.0}, gradient=gradient, level=level)


@pytest.mark.parametrize(
    ("then", "now", "agrees"),
    [
        (record(0.9), {"c": 0.9000089}, True),
        (record(0.9), {"c": 0.9000091}, False),
        (record(2e4), {"c": 2e4 + 0.19}, True),
        (record(2e4), {"c": 2e4 + 0.21}, False),
        (record(-1e-8), {"c": -1.00000999e-8}, True),
        (record(-1e-8), {"c": -1.00001001e-8}, False),
        (record(0.0), {"c": 0.0}, True),
        (record(0.0), {"c": 1e-300}, False),  # nothing to compare it with
        (record(0.9), {"d": 0.9}, False),  # no longer reported
        (record(0.8, shift=0.1), {"c": 0.8, "shift": 0.1 + 1.9e-6}, True),  # 8e-6 through the range of 4
        (record(0.8, shift=0.1), {"c": 0.8, "shift": 0.1 + 2.1e-6}, False),
        (record(0.9, shift=100.0), {"c": 0.9, "shift": 100.0 + 9e-4}, True),  # relative to its own 400
        (record(0.9, rate=0.1), {"c": 0.9, "rate": 0.1 + 1.29e-5}, True),  # a range of 0.1 ln 1000 = 0.69 at 0.1
        (record(0.9, rate=0.1), {"c": 0.9, "rate": 0.1 + 1.31e-5}, False),
        (record(1e-8, shift=1e-9), {"c": 1e-8, "shift": 1.1e-9}, False),
        (record(0.9, held=0.1), {"c": 0.9, "held": 7.0}, True),  # not tuned
    ],
)
def test_what_agrees(then: TrialRecord, now: dict[str, float], agrees: bool) -> None:
    metrics = {name: value for name, value in now.items() if name in "cd"}
    gradient = {name: value for name, value in now.items() if name not in "cd"}
    again = Evaluation(Status.COMPLETE, metrics=metrics, gradient=gradient)
    assert compare(then, again, SPACE, Metric("c", "maximize"), 1e-5, [then]).agrees is agrees


@pytest.mark.parametrize(
    ("goal", "then", "others", "scale"),
    [
        ("maximize", 0.9, (0.1, 0.5), 0.9),
        ("maximize", 0.01, (0.9, 0.5, -40.0), 0.9),  # a poor score is no more exact than a good one
        ("minimize", 1e-8, (1.0, 1e-3), 1e-8),  # a loss is
        ("minimize", 1e-3, (1.0, 1e-8), 1e-3),
        ("maximize", -1e-8, (-1.0,), 1e-8),
        ("minimize", 1e-6, (-3.0, 4.0), 3.0),
        ("minimize", 0.0, (0.5, 2.0, 0.0), 0.5),
        ("maximize", 0.0, (-0.5, -2.0), 0.5),
        ("minimize", 0.0, (0.0,), 0.0),
    ],
)
def test_the_scale_of_a_metric(goal: Any, then: float, others: tuple[float, ...], scale: float) -> None:
    trial = record(then, 7)
    cheap, failed = record(1e6, 90, level=1), TrialRecord(91, "failed", {})
    trials = [trial, *(record(value, i) for i, value in enumerate(others)), cheap, failed]
    assert scale_of("c", trial, Metric("c", goal), trials) == scale
    assert scale_of("d", trial, Metric("c", goal), trials) == 3.0
    assert scale_of("c", cheap, Metric("c", goal), trials) == 1e6


def test_a_difference_without_a_scale_is_no_number_in_json() -> None:
    again = Evaluation(Status.COMPLETE, metrics={"c": 1e-300, "d": math.pi})
    found = compare(record(0.0), again, SPACE, Metric("c", "minimize"), 1e-5, [])
    assert found.metrics["c"].relative is None and not found.agrees
    assert found.metrics["d"].relative == pytest.approx((math.pi - 3) / 3)


def test_a_failed_repetition_does_not_agree() -> None:
    assert compare(record(0.9), None, SPACE, Metric("c", "maximize"), 1e-5, []).agrees is False


def test_numbers_are_named_in_short() -> None:
    assert reproduction._ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
