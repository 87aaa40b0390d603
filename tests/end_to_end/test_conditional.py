"""A study with a choice of solvers and a setting that only some of them have, from the file to the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from autotune.objective import Evaluation, Parameter, Progress, Status, Value, never_stop
from tests.autotune.toy import ToySettings
from tests.end_to_end.studies import Place, Quick, QuickType, autotune
from tests.end_to_end.test_demo_like import STUDY as DEMO

PTYCHOGRAPHY: dict[str, Any] = DEMO | {
    "name": "solvers",
    "parameters": {
        "solver": {"choices": ["lbfgs", "lsqml"], "initial": "lsqml"},
        "object_step": {"low": 0.2, "high": 1.0, "log": True},  # L-BFGS has none: the objective says so
        "batch_size": {"low": 8, "high": 32, "when": {"solver": "lsqml"}, "initial": 16},
        "iterations": 6,
    },
    "search": {"sampler": "gp", "seed": 0, "startup_trials": 4},
    "budget": {"trials": 6},
}
BRANCHES: dict[str, Any] = {
    "name": "branches",
    "objective": {"name": "tests.end_to_end.test_conditional:branching"},
    "parameters": {"step": {"low": 0.1, "high": 2, "log": True, "when": {"solver": ["lsqml", "epie"]}}, "solver": {}},
    "search": {"sampler": "random", "seed": 3},
    "budget": {"trials": 6},
    "report": False,
}


class Branching(Quick):
    """A toy whose best solver, ``exact``, has no step, and fails where it is given one."""

    def parameters(self) -> list[Parameter]:
        return [
            Parameter("solver", "1", "solver", "exact", type="categorical", choices=("exact", "lsqml", "epie")),
            Parameter("step", "1", "solver", 1.0, low=0.1, high=2.0),
        ]

    def truth(self) -> dict[str, float]:
        return {"step": 0.5}

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        if values["solver"] == "exact":
            assert "step" not in values
            return Evaluation(Status.COMPLETE, {"consistency": 0.8})
        return Evaluation(Status.COMPLETE, {"consistency": 0.7 - abs(float(values["step"]) - 0.5)})


class BranchingType(QuickType):
    """The branching toy as an objective type."""

    def open(self, settings: BaseModel, *, folder: Path) -> Branching:
        assert isinstance(settings, ToySettings)
        return Branching(settings)


branching = BranchingType()


def row(out: str, name: str) -> list[str]:
    return next(line.split() for line in out.splitlines() if line.split()[:1] == [name])


@pytest.mark.slow
def test_solvers_and_their_settings(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write(PTYCHOGRAPHY)
    assert autotune("simulate", study) == 0
    assert autotune("check", study) == 0
    out = capsys.readouterr().out
    assert "only while" in out
    for name in ("object_step", "batch_size"):
        assert row(out, name)[-3:] == ["solver", "is", "lsqml"]
    assert row(out, "solver")[-1] == "lsqml"  # its first value: it has no condition

    assert autotune("run", study, "--quiet", "--trials", 3) == 0
    assert autotune("run", study, "--quiet") == 0
    trials = place.trials("solvers")
    assert [trial.state for trial in trials] == 6 * ["finished"]
    for trial in trials:
        active = {"solver"} | ({"object_step", "batch_size"} if trial.values["solver"] == "lsqml" else set())
        assert set(trial.values) == active
    assert {trial.values["solver"] for trial in trials} == {"lbfgs", "lsqml"}
    assert (trials[0].values["solver"], trials[0].values["batch_size"]) == ("lsqml", 16)
    result = place.result("solvers")
    best = trials[result["best_trial"]]
    assert {name: p["best"] for name, p in result["parameters"].items() if p["best"] is not None} == best.values


def test_a_setting_that_the_best_solver_has_not(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    from mlflow import MlflowClient

    assert autotune("run", place.write(BRANCHES)) == 0
    out = capsys.readouterr().out
    trials = place.trials("branches")
    assert {trial.state for trial in trials} == {"finished"}
    assert {len(trial.values) for trial in trials} == {1, 2}
    result = place.result("branches")
    note = "not used by the best trial: only while solver is lsqml or epie"
    assert (result["parameters"]["step"]["best"], result["parameters"]["step"]["note"]) == (None, note)
    assert (result["parameters"]["solver"]["best"], result["parameters"]["solver"]["note"]) == ("exact", None)
    assert row(out, "step")[:3] == ["step", "-", "0.5"] and "None" not in out
    assert autotune("result", "branches") == 0
    assert note.split(":")[0] in " ".join(capsys.readouterr().out.split())

    client = MlflowClient(tracking_uri=place.home.tracking_uri)
    parent = client.get_run(result["mlflow"]["run_id"])
    assert parent.data.params["step"] == "0.1 .. 2 (log), while solver is lsqml or epie"
    experiment = parent.info.experiment_id
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    recorded = {int(run.data.tags["autotune.trial"]): run.data for run in children}
    assert len(recorded) == 6
    for trial in trials:
        assert set(recorded[trial.number].params) == set(trial.values)
        assert ("log10_step" in recorded[trial.number].metrics) == ("step" in trial.values)


def test_another_condition_is_another_study(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write(BRANCHES, tracking={"enabled": False})
    assert autotune("run", study, "--quiet", "--trials", 2) == 0
    assert autotune("run", study, "--quiet", "--set", "parameters.step.when.solver=lsqml") == 2
    err = capsys.readouterr().err
    assert '- parameters.step.when.solver: ["lsqml", "epie"]' in err
    assert '+ parameters.step.when.solver: ["lsqml"]' in err


def test_a_mistake_in_a_condition_has_its_line(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    text = json.dumps(BRANCHES, indent=1).replace('"epie"', '"eppie"')
    (place.folder / "study.yaml").write_text(text, encoding="utf-8")
    assert autotune("check", "study.yaml") == 2
    line = next(i for i, content in enumerate(text.splitlines(), start=1) if '"solver": [' in content)
    err = capsys.readouterr().err
    assert f"study.yaml:{line}: parameters.step.when.solver: 'eppie' is not a value that solver may have here" in err
