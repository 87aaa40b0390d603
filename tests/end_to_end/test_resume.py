"""Stopping, killing and resuming ``autotune run`` changes nothing about the search."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from autotune.search.samplers import SAMPLERS, TAKES_STARTUP
from autotune.store.trials import TrialStore
from tests.end_to_end.studies import GATED, STUDY, Place, autotune, make_gate, make_place, wait_for_evaluation

STATED = {"shift": {"low": -1, "high": 1, "initial": 0.25}, "rate": {"initial": 0.01}}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_stopping_and_continuing_gives_the_same_trials(
    sampler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    startup = {"startup_trials": 2} if sampler in TAKES_STARTUP else {}
    changes = {"search": {"sampler": sampler, "seed": 3, **startup}, "parameters": STATED}
    undisturbed = make_place(tmp_path / "undisturbed", monkeypatch)
    assert autotune("run", undisturbed.write(**changes), "--trials", 5, "--quiet") == 0

    place = make_place(tmp_path / "stopped", monkeypatch)
    study = place.write(**changes)
    for trials in (2, 5):
        assert autotune("run", study, "--trials", trials, "--quiet") == 0
        assert len(place.trials()) == trials
    assert place.values() == undisturbed.values()
    assert place.values()[0] == {"shift": 0.25, "rate": 0.01}
    assert [t.metrics for t in place.trials()] == [t.metrics for t in undisturbed.trials()]


def test_a_finished_study_runs_no_further(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write()
    assert autotune("run", study, "--quiet") == 0
    before = place.trials()
    assert autotune("run", study) == 0
    assert place.trials() == before
    out = capsys.readouterr().out
    assert "Study toy continued after 4 trials" in out
    assert "Study toy: finished (the budget of 4 trials is used); 4 finished" in out


def killed(place: Place, gate: Path, number: int, with_signal: int, *options: str) -> tuple[int, str]:
    """Run the gated study in its own process and end it in evaluation ``number``; its exit code and message."""
    process = place.start("run", "study.yaml", *options)
    wait_for_evaluation(gate, number, process)
    process.send_signal(with_signal)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in out + err
    (gate / f"hold-{number}").unlink()
    return process.returncode, err


def expected_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[dict[str, Any]]:
    """Values of the study that nothing disturbs."""
    undisturbed = make_place(tmp_path / "undisturbed", monkeypatch)
    assert autotune("run", undisturbed.write(**changes), "--quiet") == 0
    return undisturbed.values()


def test_a_killed_run_loses_only_the_trial_that_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = expected_values(tmp_path, monkeypatch)
    place = make_place(tmp_path / "killed", monkeypatch)
    study, gate = place.write(GATED), make_gate(place, 3)
    assert killed(place, gate, 3, signal.SIGKILL)[0] == -signal.SIGKILL
    before = place.trials()
    assert [trial.state for trial in before] == ["finished", "finished", "running"]
    assert dict(before[2].values) == expected[2]

    left = place.home.study("toy") / "trials" / ".00002.tmp"
    left.mkdir()
    assert autotune("run", study, "--quiet") == 0
    after = place.trials()
    assert [trial.state for trial in after] == ["finished", "finished", "interrupted", "finished", "finished"]
    assert after[:2] == before[:2]
    assert after[3].values == after[2].values == before[2].values
    assert place.values() == expected
    result = place.result()
    assert result["trials"] == {"finished": 4, "failed": 0, "pruned": 0}
    assert result["status"] == "finished"
    assert not left.exists()


def test_ctrl_c_says_how_to_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"parameters": STATED}
    expected = expected_values(tmp_path, monkeypatch, **changes)
    place = make_place(tmp_path / "interrupted", monkeypatch)
    gate = make_gate(place, 1)
    place.write(GATED, **changes)
    copy = place.folder / "my result.json"
    options = ["--json", copy.name, "--set", "description=two words"]
    code, message = killed(place, gate, 1, signal.SIGINT, *options)
    assert code == 130
    again = "autotune run study.yaml --json 'my result.json' --set 'description=two words'"
    assert message == f"Interrupted; every finished trial is kept. Continue with: {again}\n"

    result = place.result()
    assert (result["status"], result["reason"]) == ("stopped", "interrupted by the user")
    assert result["best_trial"] is None and result["metric"]["best"] is None
    assert result["trials"] == {"finished": 0, "failed": 0, "pruned": 0}
    assert copy.read_text() == (place.home.study("toy") / "result.json").read_text()
    assert autotune("result", "toy") == 0
    assert "stopped (interrupted by the user); 0 finished\nNo trial has finished." in capsys.readouterr().out

    assert autotune("run", "study.yaml", *options, "--quiet") == 0
    assert [trial.state for trial in place.trials()] == ["interrupted"] + 4 * ["finished"]
    assert place.values() == expected  # the stated values first
    assert place.result()["status"] == "finished"


def test_a_stopped_run_leaves_the_best_so_far_as_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = make_place(tmp_path / "interrupted", monkeypatch)
    gate = make_gate(place, 3)
    place.write(GATED)
    assert killed(place, gate, 3, signal.SIGINT)[0] == 130
    best = (place.home.study("toy") / "best.yaml").read_text()
    assert best.startswith(f"# Trial {place.result()['best_trial']} of study toy: ")


def test_a_changed_study_is_refused_and_left_alone(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write()
    assert autotune("run", study, "--quiet") == 0
    before = place.files()
    change = ("--set", "parameters.shift.high=2", "--set", "parameters.passes=5", "--set", "parameters.tilt=1.5")
    assert autotune("run", study, *change, "--set", "search.sampler=tpe") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "Error: study toy: differs from the one of this name that was begun; begin anew with --fresh (the old one is "
        "kept), or give it another name with --set name=NAME. The difference (- begun, + now):",
        "  - parameters.passes: 4",
        "  + parameters.passes: 5",
        "  - parameters.shift.high: 1.0",
        "  + parameters.shift.high: 2.0",
        "  + parameters.tilt: 1.5",
        '  - search.sampler: "random"',
        '  + search.sampler: "tpe"',
    ]
    assert place.files() == before
    assert autotune("run", study, *change, "--set", "name=toy-wide", "--quiet") == 0
    assert len(place.trials("toy-wide")) == 4


def test_budget_tracking_and_description_may_change(place: Place) -> None:
    study = place.write()
    assert autotune("run", study, "--quiet") == 0
    first = place.values()
    study = place.write(STUDY, budget={"trials": 5, "seconds": 1000}, description="longer")
    assert autotune("run", study, "--quiet") == 0
    assert len(place.values()) == 5
    assert place.values()[:4] == first
    assert place.result()["reason"] == "the budget of 5 trials is used"
    assert autotune("run", study, "--trials", 2, "--quiet") == 0  # fewer than there are: nothing to do
    assert len(place.values()) == 5


def test_changed_data_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    gate = make_gate(place)
    (gate / "scan-1").write_text("counts")
    study = place.write(GATED)
    assert autotune("run", study, "--quiet") == 0
    (gate / "scan-1").write_text("other counts")
    before = place.files()
    assert autotune("run", study, "--quiet") == 2
    assert "\n  - content_hash: " in capsys.readouterr().err
    assert place.files() == before
    (gate / "scan-1").write_text("counts")
    assert autotune("run", study, "--quiet") == 0


def test_fresh_keeps_the_old_study_under_another_name(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write()
    assert autotune("run", study, "--fresh", "--quiet", "--trials", 2) == 0  # nothing to keep yet
    store = TrialStore.open(place.home.store_url, "toy")
    assert store is not None
    store.study.ask()  # a process died here
    old, result = place.trials(), place.result()

    assert autotune("run", study, "--fresh", "--quiet", "--set", "parameters.shift.high=2") == 0
    assert [trial.number for trial in place.trials()] == [0, 1, 2, 3]
    assert all(trial.state == "finished" for trial in place.trials())
    (kept,) = (path.name for path in (place.home.folder / "studies").iterdir() if path.name != "toy")
    assert kept.startswith("toy.before-")
    assert place.trials(kept) == old
    folder = place.home.study(kept)
    assert sorted(path.name for path in (folder / "trials").iterdir()) == ["00000", "00001"]
    assert '"high": 1' in (folder / "study.yaml").read_text()
    moved = place.result(kept)
    assert (moved["study"], moved["artifacts"]) == (kept, str(folder))
    assert (moved["metric"], moved["trials"]) == (result["metric"], result["trials"])
    assert autotune("result", kept, "--json") == 0
    assert capsys.readouterr().out == (folder / "result.json").read_text()


def test_a_study_that_is_being_run_is_not_begun_anew(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    gate = make_gate(place, 2)
    study = place.write(GATED, budget={"trials": 3})  # too few for an answer, which takes most of a run's time
    process = place.start("run", study, "--quiet")
    wait_for_evaluation(gate, 2, process)
    assert autotune("run", study, "--fresh") == 2
    assert capsys.readouterr().err == (
        "Error: study toy: is being run by another process; wait for it, or give this one another name "
        "with --set name=NAME\n"
    )
    assert autotune("result", "toy") == 0
    assert "Study toy: running (no end yet); 1 finished" in capsys.readouterr().out
    (gate / "hold-2").unlink()
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0
    assert [trial.state for trial in place.trials()] == 3 * ["finished"]
    assert autotune("run", study, "--fresh", "--quiet") == 0
