"""Studies that another package reconstructs, by the command: one that an installed distribution offers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from typing import Any

import psutil
import pytest

from objectives.diffraction.data.formats.autotune_hdf5 import write_measurement
from objectives.ptychography.backends.table import backends
from tests.end_to_end.studies import ROOT, Place, autotune
from tests.objectives.ptychography.scenes import TRUTH, lens

POINTS = "[autotune.backends]\ntoy = tests.objectives.ptychography.backends.toys:TOY\n"


@pytest.fixture
def offered(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place where a distribution with a backend is installed, and a measurement."""
    site = place.folder / "site"
    described = site / "toy_package-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-package\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(POINTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(ROOT)]))
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("AUTOTUNE_BACKENDS", str(place.folder / "environments"))
    write_measurement(place.folder / "scan.h5", lens())
    backends.cache_clear()
    yield place
    backends.cache_clear()


def study(place: Place, options: dict[str, Any] | None = None, **changes: Any) -> None:
    backend = {"name": "toy", "python": sys.executable, "options": options or {}}
    held = {name: value for name, value in TRUTH.items() if name != "scan_rotation"}
    stated = {
        "name": "toy",
        "objective": {"name": "ptychography", "data": {"file": "scan.h5"}, "backend": backend},
        "parameters": {**held, "scan_rotation": {"low": -16, "high": 24}, "iterations": 6},
        "budget": {"trials": 8},
        "tracking": {"enabled": False},
        "report": False,
    }
    place.write({**stated, **changes})


def hosts_of(place: Place) -> list[psutil.Process]:
    """Hosts of packages that were started for this place, whatever has become of who did."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any("backends/programs/host.py" in part for part in process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.Error):
                if process.environ().get("AUTOTUNE_BACKENDS") == str(place.folder / "environments"):
                    found.append(process)
    return found


def test_a_study_with_a_package(offered: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study(offered)
    assert autotune("check", "study.yaml") == 0
    said = capsys.readouterr().out
    assert "toy, " in said and "step" in said and "does not model" not in said and not hosts_of(offered)
    assert autotune("run", "study.yaml", "--quiet") == 0
    result = offered.result()
    found = result["parameters"]["scan_rotation"]
    assert found["best"] == pytest.approx(TRUTH["scan_rotation"], abs=1.0)
    assert found["interval_of"] == "noise, search and model" and result["noise"]["replicates"] == 6
    assert all({"backend_loss", "model_difference"} <= set(trial.reported) for trial in offered.trials())
    assert hosts_of(offered) == []
    # With other options it is another measurement of the same: the study is not continued on it.
    study(offered, {"smooth": 1})
    assert autotune("run", "study.yaml", "--quiet") == 2
    assert "content_hash" in capsys.readouterr().err


def test_mistakes_are_named(offered: Place, capsys: pytest.CaptureFixture[str]) -> None:
    def problem(**changes: Any) -> str:
        study(offered, **changes)
        before = offered.files()
        assert autotune("check", "study.yaml") == 2
        assert offered.files() == before
        return capsys.readouterr().err

    data = {"name": "ptychography", "data": {"file": "scan.h5"}}
    unknown = problem(objective={**data, "backend": {"name": "toi"}})
    assert "study.yaml:" in unknown and "'toi' is no backend" in unknown and "did you mean 'toy'?" in unknown
    assert "toy is not installed" in problem(objective={**data, "backend": {"name": "toy"}})
    assert "is no program" in problem(objective={**data, "backend": {"name": "toy", "python": "scan.h5"}})
    backend = {"name": "toy", "python": sys.executable}
    assert "of: patterns" in problem(objective={**data, "backend": backend, "held_out": {"of": "pixels"}})
    assert "toy does not model it" in problem(parameters={"detector_blur": {"low": 0, "high": 1}})


def test_backends_are_listed(offered: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("backends", "list") == 0
    out = capsys.readouterr().out
    assert "toy" in out and "py4dstem" in out and "autotune backends install" in out
    assert autotune("backends", "list", "--json") == 0
    listed = {status["name"]: status for status in json.loads(capsys.readouterr().out)}
    assert listed["toy"]["versions"] == {} and listed["py4dstem"]["requirements"] == ["py4DSTEM==0.14.18"]
    folder = offered.folder / "environments" / "py4dstem"
    folder.mkdir(parents=True)
    (folder / "autotune.json").write_text('{"versions": {"py4DSTEM": "0.14.18"}}')
    assert autotune("backends", "install", "py4dstem", "--if-missing") == 0
    assert f"py4dstem: is in {folder}" in capsys.readouterr().out
    assert autotune("backends", "install", "pydstem") == 2
    assert "did you mean 'py4dstem'?" in capsys.readouterr().err


def test_a_package_that_hangs_is_one_failed_trial(offered: Place) -> None:
    study(offered, {"deed": "hang"}, execution={"executor": "process", "timeout": 4}, budget={"trials": 1})
    assert autotune("run", "study.yaml", "--quiet") == 4
    [trial] = offered.trials()
    assert trial.state == "failed" and "took longer than 4 s" in trial.reason
    assert _none_left(offered)


def test_a_package_that_crashes_fails_its_trials_and_what_it_said_is_kept(offered: Place) -> None:
    study(offered, {"deed": "raise"}, execution={"executor": "process"}, budget={"trials": 2})
    assert autotune("run", "study.yaml", "--quiet") == 4
    assert [trial.reason for trial in offered.trials()] == ["toy: RuntimeError: out of luck"] * 2
    logs = "".join(path.read_text() for path in (offered.home.study("toy") / "workers").rglob("*") if path.is_file())
    assert "garbage" in logs and "Traceback" in logs and "out of luck" in logs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("executor", "sent"),
    [
        ("process", signal.SIGINT),
        ("process", signal.SIGTERM),
        ("process", signal.SIGKILL),
        ("inline", signal.SIGINT),
        ("inline", signal.SIGTERM),
    ],
)
def test_no_package_outlives_the_run(offered: Place, executor: str, sent: signal.Signals) -> None:
    study(offered, {"deed": "hang"}, execution={"executor": executor})
    process = offered.start("run", "study.yaml", "--quiet")
    deadline = time.monotonic() + 60
    while not hosts_of(offered):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(2)  # in the middle of its sleep
    process.send_signal(sent)
    process.communicate(timeout=30)
    assert _none_left(offered)


def _none_left(place: Place) -> bool:
    deadline = time.monotonic() + 10
    while hosts_of(place):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_files_of_a_package_go_with_the_answer(offered: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """With the trial, into MLflow, and by ``export``, which evaluates nothing, in one folder with the measurement."""
    study(offered, {"share": 1.01}, budget={"trials": 2}, tracking={"enabled": True}, intervals={"replicates": 0})
    assert autotune("run", "study.yaml") == 0
    assert "forward model of toy differs from this project's by 1 %" in capsys.readouterr().out
    assert offered.result()["remarks"] and offered.trials()[0].software.keys() == {"python", "numpy"}
    best = offered.result()["best_trial"]
    folder = offered.home.study("toy")
    own = json.loads((folder / "best" / "toy.json").read_text())
    assert own["options"] == {"share": 1.01}
    assert len(list((offered.home.folder / "mlflow-artifacts").rglob("files/toy.json"))) == 2
    assert autotune("export", "toy", "out") == 0
    assert f"Trial {best} of toy in out" in capsys.readouterr().out
    out = offered.folder / "out"
    assert {path.name for path in out.iterdir()} == {
        "measurement.h5",
        "reconstruction.h5",
        "reconstruction.png",
        "toy.json",
    }
    assert autotune("export", "toy", "out") == 2
    assert "out: exists" in capsys.readouterr().err
    assert autotune("export", "toy", "sub/other", "--trial", str(1 - best)) == 0
    assert (offered.folder / "sub" / "other" / "measurement.h5").is_file()
    assert autotune("export", "toy", "scan.h5/below") == 2
    assert "scan.h5/below: cannot be written" in capsys.readouterr().err
    assert autotune("export", "toy", "a" * 300) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert autotune("export", "toy", "new/..") == 2
    assert "exists" in capsys.readouterr().err and not (offered.folder / "new").exists()
    own = folder / "trials" / f"{best:05d}" / "files" / "reconstruction.png"
    own.write_bytes(b"the package's")
    assert autotune("export", "toy", "names") == 0
    assert "files/reconstruction.png" in capsys.readouterr().out
    assert (offered.folder / "names" / "files" / "reconstruction.png").read_bytes() == b"the package's"
    shutil.rmtree(folder / "trials")
    assert autotune("export", "toy", "third") == 2
    assert "has no files here" in capsys.readouterr().err and not (offered.folder / "third").exists()


def test_other_versions_of_a_package_are_told(
    offered: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = {"environment": ["TOY_VERSION"]}
    study(offered, budget={"trials": 1}, intervals={"replicates": 0}, execution=passed)
    assert autotune("run", "study.yaml", "--quiet") == 0
    assert autotune("reproduce", "toy") == 0
    assert "of the backend" not in capsys.readouterr().out
    monkeypatch.setenv("TOY_VERSION", "numpy 99")
    assert autotune("reproduce", "toy", "--json", "found.json") == 0
    assert "numpy of the backend" in capsys.readouterr().out
    assert json.loads((offered.folder / "found.json").read_text())["differences"]["numpy of the backend"][1] == "99"
    study(offered, budget={"trials": 2}, intervals={"replicates": 0}, execution=passed)
    assert autotune("run", "study.yaml") == 0
    assert "more than one version of a package" in capsys.readouterr().out


@pytest.mark.parametrize("executor", ["process", "inline"])
def test_no_credential_reaches_a_package(executor: str, offered: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_TOKEN", "AUTOTUNE_STORAGE"}
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "canary")
    monkeypatch.setenv("AUTOTUNE_STORAGE", f"sqlite:///{offered.folder / 'canary.db'}")
    monkeypatch.setenv("TOY_NEEDS", "this")
    path = offered.folder / "seen.json"
    execution = {"executor": executor, "environment": "TOY_*"}
    study(offered, {"environment": str(path)}, budget={"trials": 1}, intervals={"replicates": 0}, execution=execution)
    assert autotune("run", "study.yaml", "--quiet") == 0
    seen = json.loads(path.read_text())
    assert not secrets & seen.keys() and seen["TOY_NEEDS"] == "this" and seen["AUTOTUNE_HOME"]


def test_a_native_option_is_tuned(offered: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the package lets an option scale its own model, only the scale 1 is ours."""
    study(offered, budget={"trials": 6}, intervals={"replicates": 0})
    text = json.loads((offered.folder / "study.yaml").read_text())
    text["objective"]["backend"]["parameters"] = {"share": {"option": "share", "low": 0.9, "high": 1.1, "default": 1.0}}
    text["parameters"]["share"] = {"low": 0.95, "high": 1.05}
    text["parameters"]["scan_rotation"] = TRUTH["scan_rotation"]
    text["metric"] = {"name": "model_difference"}
    (offered.folder / "study.yaml").write_text(json.dumps(text))
    assert autotune("check", "study.yaml") == 0
    assert "share" in capsys.readouterr().out
    assert autotune("run", "study.yaml", "--quiet") == 0
    trials = offered.trials()
    assert all(
        trial.metrics["model_difference"] == pytest.approx(abs(trial.values["share"] - 1), abs=1e-5) for trial in trials
    )
    text["objective"]["backend"]["parameters"]["share"]["option"] = "elsewhere"
    (offered.folder / "study.yaml").write_text(json.dumps(text))
    assert autotune("run", "study.yaml", "--quiet") == 2
    assert "content_hash" in capsys.readouterr().err


@pytest.mark.parametrize("metric", ["backend_loss", "model_difference"])
def test_what_a_package_reports_can_be_tuned(offered: Place, metric: str) -> None:
    """With its intervals; without gradients, which are of other metrics."""
    study(offered, metric={"name": metric}, budget={"trials": 5}, parameters={"scan_rotation": {"low": 0, "high": 8}})
    assert autotune("run", "study.yaml", "--quiet") == 0
    assert [trial.state for trial in offered.trials()] == 5 * ["finished"]
    assert not any(trial.gradient for trial in offered.trials())
    assert offered.result()["metric"]["best"] == min(trial.metrics[metric] for trial in offered.trials())
