"""Runs of this machine: one at a time, each a process of its own that outlives the watch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autotune.home import Home
from autotune.watching import local_runs
from autotune.watching.folder import Measurement
from autotune.watching.local_runs import LocalRuns
from autotune.watching.records import Record, Records
from autotune.watching.runs import End
from autotune.watching.template import Template
from tests.autotune.watching.measured import write_measurement, write_template

ACTED = """
import json, os, pathlib, sys, time
path = pathlib.Path(sys.argv[sys.argv.index("--json") + 1])
hold = pathlib.Path(os.environ["AUTOTUNE_HOME"]) / "hold"
(hold.parent / "arguments").write_text(json.dumps([sys.argv[1:], "AUTOTUNE_TOKEN" in os.environ]))
while hold.exists(): time.sleep(0.01)
code = int(os.environ["ACTED_CODE"])
if code in (0, 3): path.write_text(json.dumps({"reason": f"ended with {code}"}))
if code == 9: os.kill(os.getpid(), 9)
print("Warning: the room is warm"); print("Error: study.yaml:3: x: is wrong"); print("Error: y: too", flush=True)
sys.exit(code)
"""
"""What stands for ``autotune run``: ends with the code that it is told, once nothing holds it."""


class Scene:
    """A folder with one measurement, and what runs its study."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.home.folder.mkdir()
        self.said: list[str] = []
        write_measurement(folder / "a.h5")
        measurement = Measurement.now(folder / "a.h5")
        assert measurement is not None
        self.template = Template(write_template(folder))
        self.records = Records(self.home.folder / "watching", self.said.append)
        record = Record(str(measurement.path), measurement.size, measurement.modified, "a-1", "")
        self.record = self.records.keep(record)
        self.hold = self.home.folder / "hold"

    def runs(self) -> LocalRuns:
        return LocalRuns(self.home, self.records, self.template, self.said.append)

    def end(self, runs: LocalRuns) -> End:
        deadline = time.monotonic() + 20
        while (end := runs.end(self.record)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return end


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(local_runs, "COMMAND", (sys.executable, "-S", "-c", ACTED))
    monkeypatch.setenv("ACTED_CODE", "0")
    monkeypatch.setenv("AUTOTUNE_TOKEN", "autotune_secret")
    return Scene(tmp_path)


@pytest.mark.parametrize(
    ("code", "end"),
    [
        (0, End("finished", "ended with 0")),
        (2, End("rejected", "study.yaml:3: x: is wrong; y: too")),
        (3, End("failed", "ended with 3")),
        (4, End("failed", "study.yaml:3: x: is wrong; y: too")),
        (130, End("lost", "its process was told to stop from outside")),
        (9, End("lost", "its process was ended by SIGKILL")),
    ],
)
def test_how_a_run_ends(scene: Scene, monkeypatch: pytest.MonkeyPatch, code: int, end: End) -> None:
    monkeypatch.setenv("ACTED_CODE", str(code))
    runs = scene.runs()
    assert runs.has_room() and runs.begin(scene.record) == "" and not runs.has_room()
    assert scene.end(runs) == end and runs.has_room()


def test_the_run_gets_the_measurement_and_no_token(scene: Scene) -> None:
    import json

    runs = scene.runs()
    runs.begin(scene.record)
    scene.end(runs)
    arguments, has_token = json.loads((scene.home.folder / "arguments").read_text())
    assert arguments[:2] == ["run", str(scene.template.path)] and not has_token
    assert f'objective.data.file="{scene.record.path}"' in arguments and 'name="a-1"' in arguments


def test_a_run_of_a_watch_that_was_killed_is_waited_for(scene: Scene) -> None:
    scene.hold.touch()
    killed = scene.runs()
    killed.begin(scene.record)
    runs = scene.runs()  # as the next watch; the run of the killed one goes on
    assert not runs.has_room() and not runs.has_room()
    assert scene.said == ["waits for the run that an earlier watch has started"]
    scene.hold.unlink()
    scene.end(killed)
    assert runs.has_room()
    runs.begin(scene.record)
    assert scene.end(runs).status == "finished"


def test_a_stop_is_told_to_the_run_once(scene: Scene) -> None:
    scene.hold.touch()
    runs = scene.runs()
    runs.begin(scene.record)
    deadline = time.monotonic() + 20
    while not (scene.home.folder / "arguments").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    runs.stop()
    assert scene.runs().has_room() and "ends the run in order" in scene.said[0]
    scene.runs().stop()
    assert len(scene.said) == 1


def test_a_second_interrupt_ends_the_run_at_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        monkeypatch.undo()
        raise KeyboardInterrupt

    scene.hold.touch()
    runs = scene.runs()
    runs.begin(scene.record)
    process = runs._process
    assert process is not None
    monkeypatch.setattr(process, "send_signal", lambda number: None)
    monkeypatch.setattr(process, "wait", interrupted)
    runs.stop()
    assert process.returncode == -signal.SIGKILL


def test_a_command_that_is_not_there_is_lost(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_runs, "COMMAND", ("/no/such/command",))
    end = scene.runs().begin(scene.record)
    assert end == End("lost", "its process cannot be started: No such file or directory")
    assert scene.runs().has_room()


def test_the_command_imports_nothing_of_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise SystemExit('the wrong typer')")
    command = [*local_runs.COMMAND, "--version"]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stdout.startswith("autotune "), done.stderr
