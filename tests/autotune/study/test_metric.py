"""Which metric a study tunes, and on which data; that the same study is recognised."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from autotune.cli.main import run_command_line
from autotune.errors import InputError
from autotune.home import Home
from autotune.runs.resume import resume_or_create
from autotune.store.trials import TrialStore
from autotune.study import Plan, StudyFile, load_study, plan_study

HOLDS_OUT, TOY = "tests.autotune.held_out:toy", "tests.autotune.toy:toy"
MISMATCH, SOLVER = "{shift: {}, rate: 0.1}", "{shift: {}, rate: {}, passes: {}}"


def load(folder: Path, parameters: str, more: str = "", objective: str = HOLDS_OUT) -> StudyFile:
    path = folder / "study.yaml"
    text = f"name: toy\nobjective: {{name: '{objective}'}}\nparameters: {parameters}\n{more}\n"
    path.write_text(text, encoding="utf-8")
    return load_study(path)


def plan(folder: Path, parameters: str, more: str = "", objective: str = HOLDS_OUT) -> Plan:
    file = load(folder, parameters, more, objective)
    return plan_study(file, file.open())


def complaints(folder: Path, parameters: str, more: str, objective: str = HOLDS_OUT) -> list[str]:
    with pytest.raises(InputError) as caught:
        plan(folder, parameters, more, objective)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("parameters", "metric", "tuned"),
    [
        (MISMATCH, "", "consistency"),
        (SOLVER, "", "held_out_consistency"),
        ("{shift: {}, method: {}}", "", "held_out_consistency"),
        (SOLVER, "metric: consistency", "held_out_consistency"),
        (SOLVER, "metric: {split: in_sample}", "consistency"),
        (MISMATCH, "metric: {split: held_out}", "held_out_consistency"),
        (MISMATCH, "metric: {name: consistency, split: held_out}", "held_out_consistency"),
        (MISMATCH, "metric: held_out_consistency", "held_out_consistency"),
        (MISMATCH, "metric: {name: held_out_consistency, split: held_out}", "held_out_consistency"),
        (SOLVER, "metric: error", "error"),
        (SOLVER, "metric: {name: error, split: in_sample}", "error"),
    ],
)
def test_the_metric_and_its_data(parameters: str, metric: str, tuned: str, tmp_path: Path) -> None:
    assert plan(tmp_path, parameters, metric).metric.name == tuned


def test_an_objective_without_held_out_metric_is_tuned_in_sample(tmp_path: Path) -> None:
    assert plan(tmp_path, SOLVER, objective=TOY).metric.name == "consistency"


@pytest.mark.parametrize(
    ("metric", "objective", "message"),
    [
        (
            "{name: held_out_consistency, split: in_sample}",
            HOLDS_OUT,
            "study.yaml:4: metric.split: in_sample contradicts metric.name: held_out_consistency is of data withheld "
            "from the solver; tune consistency, or leave metric.split out",
        ),
        (
            "{name: error, split: held_out}",
            HOLDS_OUT,
            "study.yaml:4: metric.split: there is no held-out version of error; consistency can be held out",
        ),
        (
            "{split: held_out}",
            TOY,
            "study.yaml:4: metric.split: there is no held-out version of consistency; this objective has no held-out "
            "metric",
        ),
        (
            "{split: in_sample, limits: {held_out_consistency: {above: 0.5}}}",
            HOLDS_OUT,
            "study.yaml:4: metric.limits.held_out_consistency: held_out_consistency is not known where consistency is "
            "tuned: no data are withheld for it; tune it, with metric: {name: consistency, split: held_out}",
        ),
        (
            "{name: error, against: held_out_consistency}",
            HOLDS_OUT,
            "study.yaml:4: metric.against.0: held_out_consistency is not known where error is tuned: no data are "
            "withheld for it; tune it, with metric: {name: consistency, split: held_out}",
        ),
    ],
)
def test_contradictions_are_refused(metric: str, objective: str, message: str, tmp_path: Path) -> None:
    assert complaints(tmp_path, SOLVER, f"metric: {metric}", objective) == [message]


def test_unknown_words_and_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"metric\.split: .*holdout.*held_out.*in_sample"):
        load(tmp_path, SOLVER, "metric: {split: holdout}")
    [found] = complaints(tmp_path, SOLVER, "metric: {name: held_out_consistancy}")
    assert "did you mean 'held_out_consistency'?" in found


def test_the_held_out_metric_may_be_limited_and_weighed_where_it_is_tuned(tmp_path: Path) -> None:
    text = "metric: {limits: {held_out_consistency: {above: 0.5}, consistency: {above: 0.5}}, against: [consistency]}"
    found = plan(tmp_path, SOLVER, text)
    assert [limit.metric for limit in found.aims.limits] == ["held_out_consistency", "consistency"]
    assert [metric.name for metric in found.aims.against] == ["consistency"]


def test_a_pruner_needs_a_metric_that_is_known_on_the_way(tmp_path: Path) -> None:
    [found] = complaints(tmp_path, SOLVER, "search: {pruner: curve}")
    assert "search.pruner: curve cannot stop a trial by held_out_consistency" in found and "in_sample" in found
    assert plan(tmp_path, SOLVER, "search: {pruner: curve}\nmetric: {split: in_sample}").metric.name == "consistency"


def test_tuning_the_solver_in_sample_is_warned_of(tmp_path: Path) -> None:
    assert plan(tmp_path, MISMATCH).warnings == []
    assert plan(tmp_path, SOLVER).warnings == []
    both = plan(tmp_path, SOLVER, "metric: {split: in_sample}").warnings[0]
    assert both.startswith("rate, passes are tuned by consistency in-sample: data error rewards over-fitting")
    assert plan(tmp_path, "{rate: {}}", objective=TOY).warnings[0].startswith("rate is tuned by consistency in-sample")


def test_check_says_which_data_and_warns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for more in ("", "metric: {split: in_sample}"):
        load(tmp_path, SOLVER, more)
        assert run_command_line(["check", str(tmp_path / "study.yaml")]) == 0
        outputs.append(" ".join(capsys.readouterr().out.split()))
    held_out, in_sample = outputs
    assert "maximize held_out_consistency, on data withheld from the solver, noise ceiling 0.90000" in held_out
    assert "maximize consistency, in-sample, noise ceiling 1.00000" in in_sample
    assert "Warning" not in held_out and "Warning: rate, passes are tuned by consistency in-sample" in in_sample


def taken_up(folder: Path, parameters: str, more: str = "") -> TrialStore:
    file = load(folder, parameters, more)
    objective = file.open()
    return resume_or_create(file, objective, plan_study(file, objective), Home(folder / "home"), fresh=False)


@pytest.mark.parametrize(
    ("parameters", "before", "after"),
    [
        (MISMATCH, "", "metric: {split: in_sample}"),
        (MISMATCH, "metric: consistency", "metric: {name: consistency, split: in_sample}"),
        (SOLVER, "", "metric: {split: held_out}"),
        (SOLVER, "metric: {split: in_sample}", "metric: {split: in_sample}"),
    ],
)
def test_saying_what_holds_anyway_changes_no_study(parameters: str, before: str, after: str, tmp_path: Path) -> None:
    taken_up(tmp_path, parameters, before)
    taken_up(tmp_path, parameters, after)


@pytest.mark.parametrize("parameters", [MISMATCH, SOLVER])
def test_another_split_is_another_study(parameters: str, tmp_path: Path) -> None:
    taken_up(tmp_path, parameters, "metric: {split: in_sample}")
    with pytest.raises(InputError) as caught:
        taken_up(tmp_path, parameters, "metric: {split: held_out}")
    difference = str(caught.value).split("The difference")[1].splitlines()[1:]
    assert [line.strip() for line in difference] == [
        '- metric tuned: "consistency"',
        '+ metric tuned: "held_out_consistency"',
    ]


def older(folder: Path, without: str) -> dict[str, Any]:
    """A study as an older version stored it, whose objective had no setting ``without``."""
    file = load(folder, MISMATCH)
    identity = file.identity() | {"content_hash": None}
    identity["objective"] = {key: value for key, value in identity["objective"].items() if key != without}
    plan = plan_study(file, file.open())
    facts = {"identity": identity, "metric": dataclasses.asdict(plan.metric), "space": plan.space.as_dict()}
    TrialStore.create(Home(folder / "home").store_url, "toy", plan.metric, facts)
    return identity


def test_a_setting_that_an_older_version_lacked_is_at_its_default(tmp_path: Path) -> None:
    assert "noise" not in older(tmp_path, "noise")["objective"]
    file = load(tmp_path, MISMATCH)
    objective = file.open()
    resume_or_create(file, objective, plan_study(file, objective), Home(tmp_path / "home"), fresh=False)


def test_a_setting_that_an_older_version_lacked_and_is_stated_differs(tmp_path: Path) -> None:
    older(tmp_path, "noise")
    file = load_study(tmp_path / "study.yaml", ["objective.noise=0.5"])
    objective = file.open()
    with pytest.raises(InputError, match=r"\+ objective\.noise: 0\.5"):
        resume_or_create(file, objective, plan_study(file, objective), Home(tmp_path / "home"), fresh=False)
