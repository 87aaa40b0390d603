"""Several runs of one study keep one record in MLflow: each its own trials and files; one of them the parent."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autotune.store.trials import TrialStore
from tests.autotune.mlflow_snapshot import snapshot
from tests.end_to_end.studies import GATED, ROOT, STUDY, Place, autotune, make_gate, wait_for_evaluation
from tests.end_to_end.test_run import recorded

pytestmark = pytest.mark.slow

DRAWING = {"name": "tests.autotune.toy:toy", "iterations": 4, "seconds_per_iteration": 0.05}


def start(folder: Path, home: Path, **environment: str) -> subprocess.Popen[str]:
    """A run of ``folder``'s study with a home of its own."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", "from autotune.cli.main import main; main()", "run", "study.yaml", "--quiet"],
        cwd=folder,
        env={**os.environ, "AUTOTUNE_HOME": str(home), "PYTHONPATH": path, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def complaint(run: subprocess.Popen[str]) -> str:
    """What a run prints, less the notice that another one takes long, on a busy machine, to compute the answer."""
    lines = run.communicate(timeout=120)[1].splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("Waiting: another run of this study is computing"))


def test_two_machines_with_a_home_each(
    place: Place, migrated: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    database = place.folder / "everyone.db"
    shutil.copy(migrated, database)
    shared = {
        "AUTOTUNE_STORAGE": f"sqlite:///{place.folder / 'trials.db'}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{database}",
    }
    place.write(STUDY, objective=DRAWING, budget={"trials": 40}, tracking={})
    homes = [place.folder / name for name in ("a", "b")]
    runs = [start(place.folder, home, **shared) for home in homes]
    assert [(complaint(run), run.returncode) for run in runs] == [("", 0), ("", 0)]

    trials = TrialStore.open(shared["AUTOTUNE_STORAGE"], "toy")
    assert trials is not None
    here = [len(list((home / "studies" / "toy" / "trials").iterdir())) for home in homes]
    assert sum(here) == 40 and min(here) > 5
    (parent, *children) = snapshot(shared["MLFLOW_TRACKING_URI"], "autotune", place.folder)
    assert (parent["status"], [child["name"] for child in children]) == (
        "FINISHED", [f"trial {number:03d}" for number in range(40)],
    )  # fmt: skip
    assert all(child["files"].keys() == {"reconstruction.h5", "object.png"} for child in children)
    steps = [step for key, step, *_ in parent["points"] if key == "best_consistency"]
    assert steps == list(range(40))
    table = json.loads(parent["files"]["trials.json"])
    assert [row[0] for row in table["data"]] == list(range(40))

    for name, value in shared.items():
        monkeypatch.setenv(name, value)
    for home in homes:
        monkeypatch.setenv("AUTOTUNE_HOME", str(home))
        assert autotune("sync", "toy") == 0
        assert capsys.readouterr().out == "MLflow holds study toy: 0 trials recorded now, 40 before\n"


@pytest.mark.parametrize("slow", [(5.0, 0.0), (0.0, 5.0), (5.0, 5.0)])
def test_runs_that_end_before_mlflow_has_answered(
    slow: tuple[float, float], place: Place, migrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The study ends in a second; its record is made once, whoever comes to make it."""
    place.home.folder.mkdir()
    shutil.copy(migrated, place.home.folder / "mlflow.db")
    objective = {"name": "tests.end_to_end.slow_mlflow:slow", "iterations": 4, "seconds_per_iteration": 0.01}
    place.write(STUDY, objective=objective, budget={"trials": 14}, tracking={})
    runs = [start(place.folder, place.home.folder, SLOW_MLFLOW=str(seconds)) for seconds in slow]
    assert [(complaint(run), run.returncode) for run in runs] == [("", 0), ("", 0)]
    assert autotune("sync", "toy") == 0
    assert "0 trials recorded now, 14 before" in capsys.readouterr().out
    parent, *children = recorded(place.home.tracking_uri)
    assert parent.info.status == "FINISHED"
    assert [child.data.tags["autotune.trial"] for child in children] == [str(number) for number in range(14)]


def test_a_run_that_records_nothing_beside_one_that_does(place: Place, migrated: Path) -> None:
    place.home.folder.mkdir()
    shutil.copy(migrated, place.home.folder / "mlflow.db")
    objective = {"name": "tests.end_to_end.studies:quick", "iterations": 4, "seconds_per_iteration": 0.05}
    place.write(STUDY, objective=objective, budget={"trials": 30}, tracking={})
    runs = [place.start("run", "study.yaml", "--quiet", *more) for more in ((), ("--set", "tracking.enabled=false"))]
    assert [complaint(run) for run in runs] == ["", ""]
    assert len({trial.owner for trial in place.trials()}) == 2
    parent, *children = recorded(place.home.tracking_uri)
    assert (parent.info.status, len(children)) == ("FINISHED", 30)


def test_the_lead_passes_on_and_the_study_goes_on_in_mlflow(place: Place, migrated: Path) -> None:
    place.home.folder.mkdir()
    shutil.copy(migrated, place.home.folder / "mlflow.db")
    gate = make_gate(place, 1, 2)
    place.write(GATED, tracking={})
    leader = place.start("run", "study.yaml", "--quiet")
    wait_for_evaluation(gate, 1, leader)
    other = place.start("run", "study.yaml", "--quiet")
    wait_for_evaluation(gate, 2, other)
    leader.send_signal(signal.SIGTERM)
    leader.communicate(timeout=60)
    assert leader.returncode == 130
    parent, *children = recorded(place.home.tracking_uri)
    assert parent.info.status == "RUNNING" and parent.info.end_time is None
    (gate / "hold-2").unlink()
    assert other.communicate(timeout=60) == ("", "")
    assert other.returncode == 0
    parent, *children = recorded(place.home.tracking_uri)
    assert parent.info.status == "FINISHED"
    assert [child.info.status for child in children] == ["KILLED", *(4 * ["FINISHED"])]
    assert parent.data.metrics["best_consistency"] == max(t.metrics.get("consistency", 0.0) for t in place.trials())
