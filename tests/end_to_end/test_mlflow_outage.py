"""MLflow stopped in mid-study: ``autotune sync`` leaves the record of an undisturbed run, field by field."""

from __future__ import annotations

import io
import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import h5py
import pytest

from tests.autotune.mlflow_snapshot import snapshot
from tests.end_to_end.mlflow_server import mlflow_server
from tests.end_to_end.studies import GATED, autotune, make_gate, make_place, wait_for_evaluation

STUDY = GATED | {
    "objective": {**GATED["objective"], "fail_above": 0.5},
    "parameters": {"shift": {"low": -1, "high": 1}, "rate": {}, "passes": 4},
    "budget": {"trials": 6},
    "tracking": {},
    "report": False,  # it tells times
}
HELD = 4
CLOCKED = re.compile(r"evaluation_seconds|system/.*")
"""Metrics that a clock decides, or the machine."""


@pytest.mark.slow
def test_sync_after_an_outage_leaves_the_record_of_an_undisturbed_run(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for name in ("served", "undisturbed", "again", "scratch"):
        (tmp_path / name).mkdir()
        shutil.copy(migrated, tmp_path / name / "mlflow.db")

    with mlflow_server(tmp_path / "served") as server:
        disturbed = make_place(tmp_path / "user", monkeypatch)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        gate = make_gate(disturbed, HELD)
        process = disturbed.start("run", disturbed.write(STUDY), "--quiet")
        wait_for_evaluation(gate, HELD, process)
        wait_until_recorded(server.uri, HELD - 1)
        server.stop()
        (gate / f"hold-{HELD}").unlink()
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0 and "`autotune sync STUDY` records them" in err
        assert [trial.state for trial in disturbed.trials()].count("failed") >= 1
        server.start()
        before = snapshot(server.uri, "autotune", tmp_path / "scratch")
        assert [run["status"] for run in before].count("RUNNING") == 1 and len(before) == HELD
        assert autotune("sync", "toy") == 0
        synced = snapshot(server.uri, "autotune", tmp_path / "scratch")

    # The same trial store into an empty MLflow: not a field differs.
    again = f"sqlite:///{tmp_path / 'again' / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", again)
    assert autotune("sync", "toy") == 0
    assert snapshot(again, "autotune", tmp_path / "scratch") == synced

    # The same study run where MLflow was there all the time: none but clocks and this run's name differ.
    disturbed.folder.rename(tmp_path / "disturbed")
    undisturbed = make_place(tmp_path / "user", monkeypatch)
    make_gate(undisturbed)
    uri = f"sqlite:///{tmp_path / 'undisturbed' / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    capsys.readouterr()
    assert autotune("run", undisturbed.write(STUDY), "--quiet") == 0
    assert capsys.readouterr().err == ""
    assert timeless(snapshot(uri, "autotune", tmp_path / "scratch")) == timeless(synced)


def wait_until_recorded(uri: str, trials: int) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    deadline = time.monotonic() + 120
    while True:
        experiment = client.get_experiment_by_name("autotune")
        runs = client.search_runs([experiment.experiment_id]) if experiment is not None else []
        if sum(run.info.status != "RUNNING" for run in runs) == trials:
            return
        assert time.monotonic() < deadline, runs
        time.sleep(0.2)


def timeless(held: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A snapshot without times: what two runs of the same study must agree in."""
    return [
        {
            **run,
            "began": None,
            "end": None,
            "tags": {name: text for name, text in run["tags"].items() if name != "autotune.study_id"},
            "points": sorted((key, step, None if CLOCKED.fullmatch(key) else v) for key, step, v, _ in run["points"]),
            "files": {path: timeless_file(path, content) for path, content in run["files"].items()},
        }
        for run in held
    ]


def timeless_file(path: str, content: bytes) -> object:
    """The table of trials has a column of seconds, a reconstruction a name of its own; else, content is compared."""
    if path.endswith(".h5"):
        with h5py.File(io.BytesIO(content)) as file:
            return content.replace(file.attrs["UUID"].encode(), b"UUID")
    if path != "trials.json":
        return content
    table = json.loads(content)
    clock = table["columns"].index("seconds")
    return {**table, "data": [row[:clock] + row[clock + 1 :] for row in table["data"]]}
