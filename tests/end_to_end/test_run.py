"""``autotune run``: what it prints, writes and returns."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from autotune.objective import Evaluation
from tests.autotune.toy import ToySettings
from tests.end_to_end.studies import STUDY, Place, Quick, QuickType, autotune

OBJECTIVE = STUDY["objective"]


class Wordy(Quick):
    """Every evaluation fails with a long reason."""

    def evaluate(self, *arguments: Any, **named: Any) -> Evaluation:
        raise ValueError("very " * 100 + "bad")


class WordyType(QuickType):
    """The wordy toy as an objective type."""

    def open(self, settings: BaseModel, *, folder: Path) -> Wordy:
        assert isinstance(settings, ToySettings)
        return Wordy(settings)


wordy = WordyType()


def test_a_run_off_a_terminal_prints_a_line_per_trial(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write(objective=OBJECTIVE | {"fail_above": 0.5}, search={"sampler": "qmc", "seed": 1})
    assert autotune("run", study, "--trials", 3) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == "Study toy begun: maximize consistency (noise ceiling 1.00000)"
    trials = place.trials()
    best = None
    assert lines[1].startswith("Warning: rate is tuned by consistency in-sample: data error rewards over-fitting")
    for line, trial in zip(lines[2:5], trials, strict=True):
        start = f"trial {trial.number} ({trial.number + 1}/3) {trial.state}: "
        if trial.state == "finished":
            value = trial.metrics["consistency"]
            best = max(best or (0.0, 0), (value, -trial.number))
            start += f"consistency {value:.5f}; "
        else:
            start += f"the toy diverged at shift {trial.values['shift']}; "
        start += "best none yet; " if best is None else f"best {best[0]:.5f} (trial {-best[1]}); "
        assert re.fullmatch(re.escape(start) + r"\d+:\d\d left", line), line
    assert {trial.state for trial in trials} == {"finished", "failed"}
    assert lines[6].startswith("Study toy: finished (the budget of 3 trials is used); ")
    assert "truth (revealed)" in out and "angstrom" in out
    assert lines[-1].endswith(str(place.home.study("toy")))
    assert "\x1b" not in out  # no colours in a log


def test_a_long_reason_stays_on_one_line(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write(objective=OBJECTIVE | {"name": "tests.end_to_end.test_run:wordy"})
    assert autotune("run", study, "--trials", 1) == 4
    out = capsys.readouterr().out
    assert f"{'very ' * 100}bad (test_run.py:" in out


def test_quiet_prints_nothing_and_json_is_the_result(place: Place) -> None:
    place.write()
    process = place.start("run", "study.yaml", "--quiet", "--json", "answer.json")
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0
    kept = (place.home.study("toy") / "result.json").read_text()
    assert (place.folder / "answer.json").read_text() == kept
    assert sorted(path.name for path in place.folder.iterdir()) == ["answer.json", "home", "study.yaml"]
    process = place.start("run", "study.yaml", "--quiet", "--json", "/dev/stdout")
    assert json.loads(process.communicate(timeout=60)[0])["study"] == "toy"


@pytest.mark.parametrize(("path", "what"), [("nowhere/result.json", "its folder does not exist"), (".", "is a folder")])
def test_a_bad_json_path_is_found_before_the_search(
    path: str, what: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    study = place.write()
    before = place.files()
    assert autotune("run", study, "--json", path) == 2
    assert capsys.readouterr().err == f"Error: --json {path}: {what}; name a file in a folder that exists\n"
    assert place.files() == before


def test_set_changes_what_is_run_and_is_kept(place: Place) -> None:
    study = place.write()
    assert autotune("run", study, "--set", "objective.optimum.shift=-0.5", "--set", "budget.trials=2", "--quiet") == 0
    (trial, _) = place.trials()
    # consistency = exp(-error) with error as in the toy's docstring
    shift, rate = float(trial.values["shift"]), float(trial.values["rate"])
    error = ((shift + 0.5) / 2) ** 2 + 0.4**2 + math.log10(rate / 0.05) ** 2 + ((4 - 5) / 4) ** 2 + 1
    assert trial.metrics["consistency"] == pytest.approx(math.exp(-error))
    kept = (place.home.study("toy") / "study.yaml").read_text()
    assert autotune("check", place.home.study("toy") / "study.yaml") == 0
    assert "-0.5" in kept


def test_another_seed_is_a_study_of_its_own(place: Place) -> None:
    study = place.write()
    assert autotune("run", study, "--quiet", "--trials", 2) == 0
    assert autotune("run", study, "--quiet", "--trials", 2, "--seed", 3) == 0  # the file's own
    assert autotune("run", study, "--quiet", "--trials", 2, "--seed", 8) == 0
    assert sorted(path.name for path in (place.home.folder / "studies").iterdir()) == ["toy", "toy-seed8"]
    assert place.values() != place.values("toy-seed8")
    assert (place.result()["seed"], place.result("toy-seed8")["seed"]) == (3, 8)
    assert autotune("run", study, "--quiet", "--trials", 2, "--seed", 8, "--set", "name=x") == 0
    assert place.values("x-seed8") == place.values("toy-seed8")


@pytest.mark.slow
def test_studies_begun_at_the_same_time_in_a_new_home(place: Place) -> None:
    """An array of jobs: each creates the trial store where it finds none."""
    place.write()
    processes = [place.start("run", "study.yaml", "--quiet", "--trials", "1", "--seed", str(s)) for s in range(4)]
    ended = [(process.communicate(timeout=120), process.returncode) for process in processes]
    assert ended == 4 * [(("", ""), 0)]


def test_failing_trials_do_not_end_the_study(place: Place) -> None:
    study = place.write(objective=OBJECTIVE | {"fail_above": 0.5, "crash_above": 0.8}, budget={"trials": 12})
    assert autotune("run", study, "--quiet") == 0
    reasons = {trial.number: trial.reason for trial in place.trials() if trial.state == "failed"}
    for trial in place.trials():
        shift = float(trial.values["shift"])
        if shift > 0.8:
            text = rf"RuntimeError: the toy crashed at shift {shift} \(toy\.py:\d+\)"
            assert re.fullmatch(text, reasons.pop(trial.number))
        elif shift > 0.5:
            assert reasons.pop(trial.number) == f"the toy diverged at shift {shift}"
        else:
            assert trial.state == "finished"
    assert reasons == {}
    result = place.result()
    assert result["status"] == "finished"
    assert result["trials"]["failed"] == sum(float(values["shift"]) > 0.5 for values in place.values()) > 0
    assert result["best_trial"] in {trial.number for trial in place.trials() if trial.state == "finished"}


def test_a_study_without_a_finished_trial_fails(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write(objective=OBJECTIVE | {"fail_above": -1})
    for _ in range(2):
        assert autotune("run", study, "--quiet", "--json", "answer.json") == 4
        last = place.trials()[-1].reason
        assert last.startswith("the toy diverged at shift ")
        reason = f"none of 4 trials finished; the last one: {last}"
        assert capsys.readouterr().err == f"Error: study toy: {reason}\n"
    result = place.result()
    assert (result["status"], result["reason"]) == ("failed", reason)
    assert result["trials"] == {"finished": 0, "failed": 4, "pruned": 0}
    assert json.loads((place.folder / "answer.json").read_text()) == result
    assert autotune("run", study, "--set", "objective.fail_above=1", "--fresh", "--quiet") == 0


def test_a_search_ends_when_nothing_is_expected_to_be_won(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write(search={"sampler": "gp"}, budget={"trials": 40, "converged": 1e-2})
    assert autotune("run", study) == 0
    done = len(place.trials())
    assert 4 <= done < 40
    assert "is expected to improve" in capsys.readouterr().out
    assert place.result()["reason"].startswith("converged: no trial is expected to improve ")
    assert autotune("run", study, "--quiet") == 0 and len(place.trials()) == done
    assert autotune("run", study, "--set", "budget.converged=null", "--trials", str(done + 1), "--quiet") == 0
    assert len(place.trials()) == done + 1


def test_the_time_budget_counts_all_runs(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write(objective=OBJECTIVE | {"seconds_per_iteration": 0.1}, budget={"trials": 1000, "seconds": 1.0})
    assert autotune("run", study) == 0
    done = len(place.trials())
    assert 1 <= done <= 2
    assert "finished (the time budget of 1 s is used)" in capsys.readouterr().out
    assert place.result()["cost"]["seconds"] >= 1.0
    assert autotune("run", study, "--quiet") == 0
    assert len(place.trials()) == done
    assert autotune("run", study, "--set", "budget.seconds=1000", "--trials", done + 1, "--quiet") == 0
    assert len(place.trials()) == done + 1


def test_a_home_that_cannot_be_made_is_bad_input(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = place.write()
    monkeypatch.setenv("AUTOTUNE_HOME", f"{study}/below a file")
    assert autotune("run", study) == 2
    err = capsys.readouterr().err
    assert "the folder cannot be made" in err and "set AUTOTUNE_HOME to a folder you may write to" in err


def recorded(uri: str, experiment: str = "autotune") -> list[Any]:
    """The runs in MLflow: the parent, then its children by number."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return sorted(runs, key=lambda run: int(run.data.tags.get("autotune.trial", -1)))


def test_mlflow_holds_the_study_and_its_trials(
    place: Place, migrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.home.folder.mkdir()
    shutil.copy(migrated, place.home.folder / "mlflow.db")
    study = place.write(objective={"name": "tests.autotune.toy:toy", "fail_above": 0.5}, tracking={})
    for trials in (2, 4):
        assert autotune("run", study, "--trials", trials) == 0
    assert "See every trial:    autotune ui" in capsys.readouterr().out

    parent, *children = recorded(place.home.tracking_uri)
    result = place.result()
    assert result["mlflow"] == {
        "tracking_uri": place.home.tracking_uri, "experiment": "autotune", "run_id": parent.info.run_id,
    }  # fmt: skip
    assert (parent.info.run_name, parent.info.status) == ("toy", "FINISHED")
    assert parent.data.params["shift"] == "-1 .. 1 angstrom"
    assert parent.data.params["passes"] == "4 (fixed)"
    assert parent.data.metrics["consistency"] == result["metric"]["best"]
    assert parent.data.tags["autotune.sampler"] == "random"
    for trial, child in zip(place.trials(), children, strict=True):
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.info.status == {"finished": "FINISHED", "failed": "FAILED"}[trial.state]
        assert float(child.data.params["shift"]) == trial.values["shift"]
        assert child.data.metrics.get("consistency") == trial.metrics.get("consistency")
        artifacts = Path(child.info.artifact_uri.removeprefix("file://"))
        kept = {"reconstruction.h5", "object.png"} if trial.state == "finished" else set()
        assert {path.name for path in artifacts.glob("*")} == kept
    assert sorted(path.name for path in place.folder.iterdir()) == ["home", "study.yaml"]  # no mlruns/


def test_a_run_goes_on_without_mlflow_and_is_recorded_later(
    place: Place, migrated: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:secret@127.0.0.1:9")
    assert autotune("run", place.write(tracking={})) == 0
    out, err = capsys.readouterr()
    assert err.startswith("Warning: MLflow lacks part of this study (")
    assert err.count("\n") == 1
    assert "4 finished" in out and "autotune ui" not in out
    place_in_mlflow = {"tracking_uri": "http://ada:***@127.0.0.1:9", "experiment": "autotune", "run_id": None}
    assert place.result()["mlflow"] == place_in_mlflow
    assert "secret" not in out + err

    uri = f"sqlite:///{place.folder / 'elsewhere.db'}"
    shutil.copy(migrated, place.folder / "elsewhere.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert autotune("run", place.write(tracking={"experiment": "beamline 7"}), "--quiet") == 0
    parent, *children = recorded(uri, "beamline 7")
    assert place.result()["mlflow"]["run_id"] == parent.info.run_id
    assert len(children) == 4
    assert len(place.trials()) == 4


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_progress_as_lines_of_json(executor: str, place: Place) -> None:
    place.write(objective=OBJECTIVE | {"fail_above": 0.5}, search={"sampler": "qmc", "seed": 1}, budget={"trials": 3})
    process = place.start("run", "study.yaml", "--progress", "json", "--set", f"execution.executor={executor}")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    events = [json.loads(line, parse_constant=refuse) for line in out.splitlines()]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", event.pop("time")) for event in events)
    kinds = [event["event"] for event in events]
    assert kinds[0] == "started" and kinds[-1] == "finished"
    assert kinds.count("proposed") == kinds.count("ended") == 3 and kinds.count("progressed") >= 1
    about = {"name": "consistency", "goal": "maximize", "noise_ceiling": 1.0}
    assert events[0] == {"event": "started", "study": "toy", "metric": about, "ended": 0, "budget": 3}
    ended = [event for event in events if event["event"] == "ended"]
    for event, trial in zip(ended, place.trials(), strict=True):
        assert (event["trial"], event["state"], event["values"]) == (trial.number, trial.state, trial.values)
        assert (event["metrics"], event["reason"]) == (trial.metrics, trial.reason)
    result, last = place.result(), events[-1]
    assert ended[-1]["best"] == {"trial": result["best_trial"], "value": result["metric"]["best"]}
    assert (last["status"], last["best_trial"], last["exit_code"]) == ("finished", result["best_trial"], 0)
    assert last["parameters"]["shift"]["best"] == result["parameters"]["shift"]["best"]


def refuse(constant: str) -> float:
    raise AssertionError(f"{constant} is no JSON")


def test_the_last_line_of_json_says_how_a_study_failed(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write(objective=OBJECTIVE | {"fail_above": -1})
    assert autotune("run", study, "--progress", "json") == 4
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["event"], last["status"], last["exit_code"], last["best_trial"]) == ("finished", "failed", 4, None)
    assert autotune("run", study, "--set", "execution.max_failures=2", "--progress", "json", "--trials", 9) == 3
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["event"], last["status"], last["exit_code"]) == ("finished", "failed", 3)
    assert last["reason"].startswith("2 trials in a row failed; the last one: the toy diverged")
    assert len(place.trials()) == 6


def test_json_contradicts_quiet(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("run", place.write(), "--progress", "json", "--quiet") == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "Error: --progress json: contradicts --quiet; give one of them\n")


def test_a_locked_store_is_waited_for(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Another program writes to the database and does not stop; then it does."""
    import sqlite3
    import threading

    study = place.write()
    assert autotune("run", study, "--quiet", "--trials", 1) == 0
    blocker = sqlite3.connect(place.home.folder / "trials.db", check_same_thread=False, isolation_level=None)

    class Blocks:
        def __call__(self, trial: object) -> None:
            blocker.execute("BEGIN IMMEDIATE")
            threading.Timer(1.5, blocker.execute, ("ROLLBACK",)).start()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autotune.store.sqlite.BUSY_SECONDS", 0.1)
        patch.setattr("autotune.cli.progress.ProgressLine.proposed", lambda self, trial: Blocks()(trial))
        assert autotune("run", study, "--trials", 2) == 0
    blocker.close()
    out = capsys.readouterr().out
    assert out.count("Waiting: the trial store does not answer: database is locked. Nothing is lost; Ctrl-C ends") == 1
    assert out.count("Going on.") == 1
    assert [trial.state for trial in place.trials()] == ["finished", "finished"]


def test_the_store_may_be_elsewhere(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNE_STORAGE", f"sqlite:///{place.folder / 'else where.db'}")
    assert autotune("run", place.write(), "--quiet") == 0
    assert (place.folder / "else where.db").is_file() and not (place.home.folder / "trials.db").exists()
    assert place.result()["trials"]["finished"] == 4


def test_a_password_of_the_store_is_not_told(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOTUNE_STORAGE", "strange://me:secret@nowhere/db")
    assert autotune("run", place.write(), "--quiet") == 2
    out, err = capsys.readouterr()
    assert "AUTOTUNE_STORAGE" in err and "secret" not in out + err
