"""Programs as objectives, by the command: a whole study, mistakes, and programs that hang or are killed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from objectives.ptychography.simulation.settings import SimulationSettings
from objectives.ptychography.simulation.simulate import write_simulation
from tests.end_to_end.studies import ROOT, Place, autotune
from tests.objectives.command.programs import block

WAITS = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("pass 1/3 error=1", flush=True)
time.sleep(600)
"""


def study(place: Place, program: str | None = None, **changes: Any) -> None:
    objective = {"name": "command", **(block(place.folder) if program is None else block(place.folder, program))}
    stated = {"name": "toy", "objective": objective, "parameters": {"shift": {}, "power": {}}, "report": False}
    place.write({**stated, "tracking": {"enabled": False}, "budget": {"trials": 12}, **changes})


def left(place: Place) -> list[str]:
    """Processes that work in the folder or below, after a moment to end."""
    deadline = time.monotonic() + 10
    while True:
        found = [
            " ".join(process.info["cmdline"] or ())
            for process in psutil.process_iter(["cwd", "cmdline", "status", "pid"])
            if process.info["pid"] != os.getpid() and process.info["status"] != psutil.STATUS_ZOMBIE
            and Path(process.info["cwd"] or "/").is_relative_to(place.folder)
        ]  # fmt: skip
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def test_a_study_of_a_program(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study(place)
    assert autotune("check", "study.yaml") == 0
    assert autotune("run", "study.yaml", "--quiet") == 0
    result = place.result()
    assert result["trials"]["finished"] == 12 and result["metric"]["best"] < 0.02
    # The program cannot repeat its measurement, but it can evaluate what the search takes for the best.
    assert result["noise"]["replicates"] == 0 and result["noise"]["known_from"] is None
    assert result["cost"]["interval_equivalents"] >= 1
    assert not list((place.folder / "runs").iterdir())
    # Another template is another measurement: the study is not continued on it.
    (place.folder / "template.json").write_text('{"shift": {{shift}}, "power": {{power}}, "way": "{{way}}", "a": 1}')
    assert autotune("run", "study.yaml", "--quiet", "--set", "budget.trials=13") == 2
    assert "content_hash" in capsys.readouterr().err


def test_mistakes_are_named_with_exit_code_2(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study(place)
    (place.folder / "template.json").write_text("{{shft}} {{power}} {{way}}")
    before = place.files()
    assert autotune("check", "study.yaml") == autotune("run", "study.yaml") == 2
    error = capsys.readouterr().err
    assert "template.json:1" in error and "did you mean 'shift'?" in error and "objective.parameters.shift" in error
    assert place.files() == before


def test_a_program_that_hangs_is_one_failed_trial(place: Place) -> None:
    study(place, WAITS, execution={"timeout": 1.5}, budget={"trials": 1})
    assert autotune("run", "study.yaml", "--quiet") == 4
    [trial] = place.trials()
    assert trial.state == "failed" and "took longer than 1.5 s" in trial.reason
    assert left(place) == []


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_no_program_outlives_the_run(place: Place, sent: signal.Signals) -> None:
    study(place, WAITS)
    process = place.start("run", "study.yaml", "--quiet")
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in (place.folder / "runs").glob("*/stdout.txt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(sent)
    process.communicate(timeout=30)
    assert left(place) == []


@pytest.mark.slow
def test_the_shipped_study_finds_defocus_and_rotation(place: Place) -> None:
    for name in ("command_epie.yaml", "command"):
        source = ROOT / "studies" / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, place.folder / name)
    demo = YAML(typ="safe").load((ROOT / "studies" / "demo.yaml").read_text(encoding="utf-8"))
    truth = {"defocus": 109.1, "scan_rotation": -10.3, "center_offset_y": -0.16, "center_offset_x": -1.51}
    simulated = {**demo["objective"]["simulate"], "mismatch": truth}
    write_simulation(SimulationSettings.model_validate(simulated), place.folder / "demo_4dstem.h5", place.folder)
    assert autotune("run", "command_epie.yaml", "--quiet", "--set", "tracking.enabled=false") == 0
    best = {name: p["best"] for name, p in place.result("command_epie")["parameters"].items()}
    assert best["defocus"] == pytest.approx(109.1, abs=10) and best["rotation"] == pytest.approx(-10.3, abs=2.5)
    [seen] = {float(trial.reported["consistency"]) for trial in place.trials("command_epie")[-1:]}
    assert 0.5 < seen < 1
    assert best["centre_y"] == pytest.approx(-0.16, abs=0.1) and best["centre_x"] == pytest.approx(-1.51, abs=0.1)
