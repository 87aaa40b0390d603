"""``autotune register`` and ``autotune calibration``: an answer under a name in MLflow, and back."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotune.errors import InputError
from autotune.tracking.registry import CalibratedParameter, calibration
from tests.end_to_end.studies import Place, autotune

# MLflow's own models use a loader strategy that SQLAlchemy 2.1 deprecates.
pytestmark = [
    pytest.mark.usefixtures("in_memory"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]


@pytest.fixture
def tracked(place: Place, migrated: Path) -> Place:
    """A place where a study of five trials was run and recorded."""
    place.home.folder.mkdir()
    shutil.copy(migrated, place.home.folder / "mlflow.db")
    assert autotune("run", place.write(tracking={}), "--quiet", "--trials", "5") == 0
    return place


def check_registered(place: Place) -> None:
    """What the consumer gets is the study's answer, with its files."""
    import mlflow

    result = place.result()
    uri = result["mlflow"]["tracking_uri"]
    calibrated = calibration("titan", tracking_uri=uri)
    assert (calibrated.name, calibrated.version, calibrated.study) == ("titan", 1, "toy")
    assert (calibrated.metric, calibrated.metric_value) == ("consistency", result["metric"]["best"])
    assert calibrated.run_id == result["mlflow"]["run_id"]
    assert calibrated.parameters == {
        name: CalibratedParameter(
            p["best"], p["unit"], p["estimate"], tuple(p["interval"]) if p["interval"] else None, p["verdict"]
        )
        for name, p in result["parameters"].items()
    }
    shift = calibrated.parameters["shift"]
    assert shift.interval is not None and isinstance(shift.estimate, float) and shift.estimate != shift.value
    folder = Path(mlflow.artifacts.download_artifacts(calibrated.source, tracking_uri=uri))
    assert sorted(path.name for path in folder.iterdir()) == ["best.yaml", "environment.json", "result.json"]
    assert json.loads((folder / "result.json").read_text()) == result


def test_an_answer_is_registered_once_and_found_again(
    tracked: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    for said in ("registered as", "is already"):
        assert autotune("register", "toy", "--as", "titan") == 0
        assert capsys.readouterr().out == f"toy {said} titan version 1, alias champion\n"
    check_registered(tracked)

    study = tracked.folder / "study.yaml"
    assert autotune("run", study, "--quiet", "--trials", "6") == 0
    assert autotune("register", "toy", "--as", "titan", "--alias", "next") == 0
    assert "registered as titan version 2, alias next" in capsys.readouterr().out
    client = MlflowClient(tracking_uri=tracked.home.tracking_uri)
    aliases = client.get_registered_model("titan").aliases
    assert {alias: int(version) for alias, version in aliases.items()} == {"champion": 1, "next": 2}
    names = {file.path for file in client.list_artifacts(tracked.result()["mlflow"]["run_id"])}
    assert {"best.yaml", "environment.json", "study.yaml", "calibration"} <= names

    assert autotune("calibration", "titan", "--alias", "next", "--json") == 0
    assert json.loads(capsys.readouterr().out)["version"] == 2
    assert autotune("calibration", "titan") == 0
    out = capsys.readouterr().out
    assert "titan version 1 (champion): study toy" in out and "angstrom" in out
    for arguments, message in {
        ("titan", "--alias", "old"): "calibration titan: has no alias 'old'; it has champion, next",
        ("titen",): "calibration titen: is not registered; registered: titan",
    }.items():
        assert autotune("calibration", *arguments) == 2
        assert message in capsys.readouterr().err
    for arguments, message in {
        ("--as", "a/b"): "MLflow refuses: Invalid model name 'a/b'",
        ("--as", "o'neil", "--alias", "v1"): "--alias v1: is no alias that MLflow takes",
    }.items():
        assert autotune("register", "toy", *arguments) == 2
        assert message in capsys.readouterr().err
    client.create_registered_model("o'neil")  # without any version or alias
    assert autotune("calibration", "o'neil") == 2
    assert "has no alias 'champion'; it has none" in capsys.readouterr().err
    for said in ("registered as", "is already"):
        assert autotune("register", "toy", "--as", "o'neil") == 0
        assert capsys.readouterr().out == f"toy {said} o'neil version 1, alias champion\n"

    client.create_registered_model("net")
    version = client.create_model_version("net", "somewhere", await_creation_for=0)
    client.set_registered_model_alias("net", "champion", version.version)
    with pytest.raises(InputError, match="calibration net: version 1 was not registered by autotune"):
        calibration("net")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tracked.folder / 'gone.db'}")
    assert autotune("calibration", "titan") == 2
    assert "there is no MLflow database at" in capsys.readouterr().err
    assert autotune("register", "toy", "--as", "titan") == 2
    assert "study toy: there is no MLflow database at" in capsys.readouterr().err
    assert not (tracked.folder / "gone.db").exists()


def test_another_mlflow_is_told_from_the_studys_own(
    tracked: Place, migrated: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(migrated, tracked.folder / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tracked.folder / 'other.db'}")
    assert autotune("register", "toy", "--as", "titan") == 2
    err = capsys.readouterr().err
    assert "study toy: has no run " in err and "`autotune sync STUDY`" in err


@pytest.mark.parametrize(
    ("uri", "code", "message"),
    [
        ("sqlite:///study.yaml", 3, "MLflow fails: DatabaseError: (sqlite3.DatabaseError) file is not a database"),
        ("postgresql+psycopg://ada:secret@127.0.0.1:9/mlflow", 3, "MLflow fails: OperationalError: "),
        ("nowhere://mlflow", 2, "MLflow refuses: "),
    ],
)
def test_a_place_that_is_no_mlflow_is_one_line(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, uri: str, code: int, message: str
) -> None:
    place.write()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert autotune("calibration", "titan") == code
    err = capsys.readouterr().err
    assert err.startswith(f"Error: calibration titan: {message}") and "secret" not in err and "Traceback" not in err


def test_no_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("register", "toy", "--as", " ") == 2
    assert "--as ' ': is no name" in capsys.readouterr().err
    assert autotune("calibration", "") == 2
    assert "calibration '': is no name" in capsys.readouterr().err


def test_what_has_no_answer_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("run", place.write(), "--quiet", "--trials", "1") == 0
    assert autotune("register", "toy", "--as", "titan") == 2
    assert "study toy: is not recorded in MLflow; run it with tracking.enabled: true" in capsys.readouterr().err

    fixed = place.write(name="fixed", parameters={"shift": 0.5})
    assert autotune("run", fixed, "--quiet", "--trials", "1") == 0
    assert autotune("register", "fixed", "--as", "titan") == 2
    assert "study fixed: tunes no parameter" in capsys.readouterr().err

    failing = place.write(name="failing", objective={"name": "tests.end_to_end.studies:quick", "fail_above": -9})
    assert autotune("run", failing, "--quiet", "--trials", "1") == 4
    assert autotune("register", "failing", "--as", "titan") == 2
    assert "study failing: has no answer yet: it is failed" in capsys.readouterr().err


@pytest.fixture
def server(tmp_path: Path, migrated: Path) -> Iterator[str]:
    """Address of an MLflow server."""
    shutil.copy(migrated, tmp_path / "server.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}", "--port", str(port), "--workers", "1"]
    arguments += ["--artifacts-destination", str(tmp_path / "artifacts")]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *arguments],
            stdout=log, stderr=log, cwd=tmp_path, env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 120
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "server.log").read_text()
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.slow
def test_it_works_on_a_server(place: Place, server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("run", place.write(tracking={"uri": server}), "--quiet", "--trials", "5") == 0
    for said in ("registered as", "is already"):
        assert autotune("register", "toy", "--as", "titan") == 0
        assert capsys.readouterr().out == f"toy {said} titan version 1, alias champion\n"
    check_registered(place)
