"""Where a study's numbers come from, as its record in MLflow says."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from autotune.study import load_study
from autotune.tracking import tags
from autotune.tracking.tags import study_hash
from tests.autotune.mlflow_snapshot import snapshot
from tests.end_to_end.studies import GATED, STUDY, Place, autotune, make_gate, make_place

pytestmark = pytest.mark.usefixtures("in_memory")


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
    said, kept = parent["tags"], json.loads(parent["files"]["environment.json"])
    assert said["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert said["mlflow.source.name"] == "study.yaml" and said["mlflow.user"]
    assert said["autotune.objective"] == said["autotune.backend"] == STUDY["objective"]["name"]
    assert (said["autotune.sampler"], said["autotune.seed"], said["autotune.executor"]) == ("random", "3", "inline")
    assert said["autotune.study_hash"] == study_hash(load_study(place.folder / "study.yaml"))
    assert said["autotune.problem"] == "toy"  # of the objective's summary
    assert (said["autotune.cpu"], said["autotune.cores"]) == (kept["cpu"], str(kept["cores"]))
    assert said["autotune.gpu"] == (kept["accelerator"] or "none")
    for name in ("autotune", "numpy", "optuna", "mlflow"):
        assert f"{name} {kept['packages'][name]}" in said["autotune.software"]
    assert f"Python {kept['python']}" in said["autotune.software"]
    assert parent["data"] == []  # the toy measures nothing
    assert not [key for key in said if not said[key]]


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


def test_no_tag_is_named_anywhere_but_in_tags() -> None:
    rooms = Path(tags.__file__).parent
    texts = {
        f"{path.name}: {node.value}"
        for path in rooms.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if path.name != "tags.py" and isinstance(node, ast.Constant) and str(node.value).startswith("autotune.")
    }
    assert texts == set()
    names = [value for name, value in vars(tags).items() if name.isupper() and not name.startswith("_")]
    assert tags.STATE == "autotune.state" and len(names) == len(set(names)) > 20
