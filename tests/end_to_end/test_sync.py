"""``autotune sync``: what MLflow missed is recorded later, once."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.objective import Metric
from autotune.tracking import MeasuredData, StudyFacts
from tests.end_to_end.studies import Place, autotune
from tests.end_to_end.test_run import recorded

pytestmark = pytest.mark.usefixtures("in_memory")


def test_what_an_absent_server_missed_is_recorded_later_and_once(
    place: Place, migrated: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:secret@127.0.0.1:9")
    assert autotune("run", place.write(tracking={}), "--quiet") == 0
    assert "`autotune sync STUDY` records them" in capsys.readouterr().err

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert autotune("sync", "toy") == 2
    assert "http://ada:***@127.0.0.1:9: needs its password again; set MLFLOW_TRACKING_URI" in capsys.readouterr().err

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert autotune("sync", "toy") == 3
    assert "MLflow lacks part of this study" in capsys.readouterr().err

    uri = f"sqlite:///{place.folder / 'elsewhere.db'}"
    shutil.copy(migrated, place.folder / "elsewhere.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for said in ("4 trials recorded now, 0 before", "0 trials recorded now, 4 before"):
        assert autotune("sync", "toy") == 0
        assert capsys.readouterr().out == f"MLflow holds study toy: {said}\n"
    parent, *children = recorded(uri, "autotune")
    assert (parent.info.status, len(children)) == ("FINISHED", 4)
    # As an undisturbed run would have left it, the study's own numbers included.
    metric = place.result()["metric"]
    assert parent.data.metrics[metric["name"]] == metric["best"]
    kept = {file.path for file in MlflowClient(tracking_uri=uri).list_artifacts(parent.info.run_id)}
    assert {"best.yaml", "environment.json", "study.yaml"} <= kept


@pytest.mark.usefixtures("on_disk")
def test_the_curves_go_on_past_a_trial_whose_process_was_killed(
    place: Place, migrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    place.home.folder.mkdir()
    shutil.copy(migrated, place.home.folder / "mlflow.db")
    assert autotune("run", place.write(tracking={}), "--quiet") == 0
    shutil.copy(migrated, place.home.folder / "mlflow.db")  # an empty one again
    with closing(sqlite3.connect(place.home.folder / "trials.db")) as connection:
        connection.execute("UPDATE trials SET state = 'RUNNING', datetime_complete = NULL WHERE number = 1")
        connection.commit()
    assert autotune("sync", "toy") == 0
    assert "4 trials recorded now" in capsys.readouterr().out
    parent, *children = recorded(place.home.tracking_uri)
    assert [run.info.status for run in children] == ["FINISHED", "KILLED", "FINISHED", "FINISHED"]
    history = MlflowClient(tracking_uri=place.home.tracking_uri).get_metric_history(
        parent.info.run_id, "best_consistency"
    )
    assert [point.step for point in history] == [0, 2, 3]


@pytest.mark.usefixtures("on_disk")
def test_a_copy_elsewhere_leaves_the_studys_own_place_alone(
    place: Place, migrated: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.home.folder.mkdir()
    shutil.copy(migrated, place.home.folder / "mlflow.db")
    objective = {"name": "tests.autotune.toy:toy"}  # with files
    assert autotune("run", place.write(tracking={}, objective=objective), "--quiet") == 0
    own = place.result()["mlflow"]
    (place.folder / "copy").mkdir()
    shutil.copy(migrated, place.folder / "copy" / "mlflow.db")
    uri = f"sqlite:///{place.folder / 'copy' / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert autotune("sync", "toy") == 0
    out = capsys.readouterr().out
    assert "4 trials recorded now, 0 before" in out and f"a copy, in {uri}" in out and own["tracking_uri"] in out
    assert len(list((place.folder / "copy" / "mlflow-artifacts").rglob("reconstruction.h5"))) == 4
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert autotune("sync", "toy") == 0
    assert capsys.readouterr().out == "MLflow holds study toy: 0 trials recorded now, 4 before\n"
    assert autotune("result", "toy", "--json") == 0
    assert json.loads(capsys.readouterr().out)["mlflow"] == own


def test_a_study_that_says_where_it_is_recorded_is_recorded_there(
    place: Place, migrated: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = (f"sqlite:///{place.folder / name}" for name in ("own.db", "other.db"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
    shutil.copy(migrated, place.folder / "own.db")
    assert autotune("run", place.write(tracking={"uri": own}), "--quiet") == 0
    assert autotune("sync", "toy") == 0
    assert "0 trials recorded now, 4 before" in capsys.readouterr().out
    assert autotune("register", "toy", "--as", "titan") == 0
    assert not (place.folder / "other.db").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("toy", "study toy: was run with tracking off"), ("toi", "study toi: is not in"), ("toi", "did you mean 'toy'?")],
)
def test_what_cannot_be_recorded_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    assert autotune("run", place.write(), "--quiet") == 0
    assert autotune("sync", name) == 2
    assert message in capsys.readouterr().err


def test_a_study_file_with_a_password_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("run", place.write(tracking={"uri": "https://ada:secret@mlflow.example.org"})) == 2
    err = capsys.readouterr().err
    assert "holds a password" in err and "MLFLOW_TRACKING_PASSWORD" in err and "secret" not in err
    assert not place.home.folder.exists()


def test_facts_survive_the_store() -> None:
    metric = Metric("consistency", "maximize", noise_ceiling=0.9)
    facts = StudyFacts("id", "toy", "autotune", "name: toy", metric, {"a": "0 .. 1"}, {"a": "mm"}, frozenset({"a"}))
    assert StudyFacts.from_dict(json.loads(json.dumps(facts.as_dict()))) == facts
    facts = replace(facts, data=MeasuredData("scan.h5", "abc", {"patterns": "9"}))
    assert StudyFacts.from_dict(json.loads(json.dumps(facts.as_dict()))) == facts
