"""Credentials of a run reach no process that makes trials, by the command, on every way to such a process."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.canaries import SEEN
from tests.end_to_end.studies import STUDY, Place, autotune
from tests.objectives.command.programs import PARABOLA, block

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "canary-1",
    "MLFLOW_TRACKING_TOKEN": "canary-2",
    "PGPASSWORD": "canary-3",
    "NVIDIA_API_KEY": "canary-4",
    "SLURM_JWT": "canary-5",
    "SSH_AUTH_SOCK": "canary-6",
    "HTTPS_PROXY": "http://ada:canary-7@proxy:3128",
    "http_proxy": "ada:canary-8@proxy:3128",
    "SOMETHING_ELSE": "canary-9",
}
NEEDED = {"OMP_PROC_BIND": "close", "SLURM_JOB_ID": "17", "no_proxy": "localhost", "XLA_FLAGS": "--one", "LC_TIME": "C"}
NAMED = {"MATLAB_ROOT": "/opt/matlab", "MATLAB_TOKEN": "canary of ours", "LICENSE_FILE": "1711@host"}
ENVIRONMENT = ["MATLAB_*", "LICENSE_FILE"]
KEEPS = "import json, os, sys\nopen(sys.argv[0] + '.seen', 'w').write(json.dumps(dict(os.environ)))\n"


@pytest.fixture
def seen(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what processes see; the environment of the run has secrets, and what is needed."""
    folder = place.folder / "seen"
    folder.mkdir()
    for name, value in {**SECRETS, **NEEDED, **NAMED, SEEN: str(folder)}.items():
        monkeypatch.setenv(name, value)
    # A store of our own, whose address could hold a password.
    monkeypatch.setenv("AUTOTUNE_STORAGE", f"sqlite:///{place.folder / 'canary.db'}")
    return folder


def run(place: Place, execution: dict[str, Any]) -> int:
    """Run a study of canaries; the number of the run's process."""
    place.write(
        STUDY, objective={"name": "tests.end_to_end.canaries:canaries"}, budget={"trials": 2}, execution=execution
    )
    process = place.start("run", "study.yaml", "--quiet", "--set", "tracking.enabled=false", "--set", "report=false")
    output, error = process.communicate(timeout=200)
    assert process.returncode == 0, (output, error)
    return process.pid


def kept(seen: Path, but: int) -> dict[str, list[dict[str, str]]]:
    """What processes other than ``but`` saw: the occasion -> the variables of each."""
    found: dict[str, list[dict[str, str]]] = {}
    for path in seen.iterdir():
        what, _, pid = path.stem.partition("-")
        if int(pid) != but:
            found.setdefault(what, []).append(json.loads(path.read_text(encoding="utf-8")))
    return found


def assert_minimal(variables: dict[str, str], named: bool = True) -> None:
    leaked = {name for name, value in variables.items() if "canary" in value} - NAMED.keys()
    assert not leaked and "AUTOTUNE_STORAGE" not in variables
    assert variables.items() >= NEEDED.items() and variables["PATH"]
    assert (variables.items() >= NAMED.items()) if named else not variables.keys() & NAMED.keys()


@pytest.mark.parametrize("named", [False, True])
def test_worker_processes_and_what_they_start(named: bool, place: Place, seen: Path) -> None:
    found = kept(seen, run(place, {"environment": ENVIRONMENT if named else []}))
    assert found.keys() == {"imported", "evaluated", "program", "forked"}
    for variables in chain(*found.values()):
        assert_minimal(variables, named)


def test_programs_that_are_started_from_the_run_itself(place: Place, seen: Path) -> None:
    """Where trials run in the run's process, only what they start can be kept from its credentials."""
    found = kept(seen, run(place, {"executor": "inline", "environment": ENVIRONMENT}))
    for variables in found["program"]:
        assert_minimal(variables)


@pytest.mark.slow
def test_a_dask_cluster_of_the_run(place: Place, seen: Path) -> None:
    pytest.importorskip("distributed", reason="dask is not installed")
    own = {"executor": "dask", "workers": 2, "cluster": {"kind": "local"}, "environment": ENVIRONMENT}
    found = kept(seen, run(place, own))
    assert len(found["imported"]) >= 3  # by a Dask worker, its worker process, and a program
    for variables in chain(*found.values()):
        assert_minimal(variables)


@pytest.mark.parametrize("executor", ["process", "inline"])
def test_commands(executor: str, place: Place, seen: Path) -> None:
    objective = {"name": "command", **block(place.folder, KEEPS + PARABOLA, environment={"STATED": "here"})}
    place.write(
        name="toy", objective=objective, parameters={"shift": {}}, budget={"trials": 1}, report=False,
        tracking={"enabled": False}, execution={"executor": executor, "environment": ENVIRONMENT},
    )  # fmt: skip
    assert autotune("run", "study.yaml", "--quiet") == 0
    variables = json.loads((place.folder / "program.py.seen").read_text())
    assert_minimal(variables)
    assert variables["STATED"] == "here" and variables["AUTOTUNE_WORKING_FOLDER"]


def test_a_trial_that_is_reproduced(place: Place, seen: Path) -> None:
    run(place, {})
    for path in seen.iterdir():
        path.unlink()
    process = place.start("reproduce", "toy", "--set", f"execution.environment={json.dumps(ENVIRONMENT)}")
    output, error = process.communicate(timeout=100)
    assert process.returncode == 0, (output, error)
    found = kept(seen, process.pid)
    assert len(found["evaluated"]) == 1
    for variables in chain(*found.values()):
        assert_minimal(variables)


def test_check_shows_names_and_no_values(place: Place, seen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place.write(STUDY, execution={"environment": ENVIRONMENT})
    assert autotune("check", "study.yaml") == 0
    printed = capsys.readouterr().out
    assert "MATLAB_*, LICENSE_FILE" in printed and "canary" not in printed and "1711" not in printed


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("TOKEN=canary", "execution.environment: entry 2 is no name of a variable, such as LICENSE_FILE or MATLAB_*"),
        ("*", "entry 2 is no name of a variable"),
        ("AUTOTUNE_STORAGE", "AUTOTUNE_STORAGE is not given to workers"),
    ],
)
def test_what_is_no_name_is_refused_and_not_repeated(
    entry: str, words: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write(STUDY, execution={"environment": ["LICENSE_FILE", entry]})
    assert autotune("check", "study.yaml") == 2
    error = capsys.readouterr().err
    assert words in error and "canary" not in error
