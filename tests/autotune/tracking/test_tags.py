"""Where a study's numbers come from, as its record in MLflow says."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from autotune.study import load_study
from autotune.tracking.tags import study_hash
from tests.autotune.mlflow_snapshot import snapshot
from tests.end_to_end.studies import GATED, STUDY, Place, autotune, make_gate, make_place


@pytest.fixture
def place(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    place = make_place(tmp_path / "user", monkeypatch)
    place.home.folder.mkdir()
    shutil.copy(migrated, place.home.folder / "mlflow.db")
    return place


def run_and_see(place: Place, study: Mapping[str, Any]) -> dict[str, Any]:
    """The parent run of a study that was run."""
    assert autotune("run", place.write(study, tracking={}, report=False), "--quiet") == 0
    return snapshot(place.home.tracking_uri, "autotune", place.folder)[0]


def test_the_run_says_what_it_was_made_with(place: Place) -> None:
    def git(*words: str) -> str:
        command = ["git", "-C", str(place.folder), "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    (place.folder / "notes").write_text("")
    git("add", "notes")
    git("commit", "-m", "x")
    parent = run_and_see(place, STUDY)
    tags, kept = parent["tags"], json.loads(parent["files"]["environment.json"])
    assert tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert tags["mlflow.source.name"] == "study.yaml" and tags["mlflow.user"]
    assert tags["autotune.objective"] == tags["autotune.backend"] == STUDY["objective"]["name"]
    assert (tags["autotune.sampler"], tags["autotune.seed"], tags["autotune.executor"]) == ("random", "3", "inline")
    assert tags["autotune.study_hash"] == study_hash(load_study(place.folder / "study.yaml"))
    assert tags["autotune.problem"] == "toy"  # of the objective's summary
    assert (tags["autotune.cpu"], tags["autotune.cores"]) == (kept["cpu"], str(kept["cores"]))
    assert tags["autotune.gpu"] == (kept["accelerator"] or "none")
    for name in ("autotune", "numpy", "optuna", "mlflow"):
        assert f"{name} {kept['packages'][name]}" in tags["autotune.software"]
    assert f"Python {kept['python']}" in tags["autotune.software"]
    assert parent["data"] == []  # the toy measures nothing
    assert not [key for key in tags if not tags[key]]


def test_the_measurement_is_a_dataset_with_its_hash(place: Place) -> None:
    gate = make_gate(place)
    (gate / "scan-1").write_text("1 2 3")
    parent = run_and_see(place, GATED | {"execution": {"executor": "inline"}})
    (data,) = parent["data"]
    whole = data["source"]["content_hash"]
    assert len(whole) == 64 and data["digest"] == whole[:36]
    assert data["name"] == "toy" and data["tags"] == {"mlflow.data.context": "tuning"}
    assert parent["tags"]["autotune.content_hash"] == whole
    assert "mlflow.source.git.commit" not in parent["tags"]


def test_the_study_hash_is_of_what_decides_the_trials(place: Place) -> None:
    def hashed(**changes: Any) -> str:
        return study_hash(load_study(Path(place.write(STUDY, **changes))))

    assert hashed() == hashed(budget={"trials": 9}) == hashed(description="again")
    assert len({hashed(), hashed(search={"sampler": "random", "seed": 4}), hashed(parameters={"rate": {}})}) == 3
