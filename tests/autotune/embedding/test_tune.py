"""``autotune.tune``: studies and functions, and the answer."""

from __future__ import annotations

import dataclasses
import gc
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autotune import Dimension, Evaluation, Home, Metric, Result, Status, tune
from autotune.embedding.function import code_of, evaluation_of, is_importable, name_of
from autotune.errors import InputError, StudyFailed
from autotune.study import load_study
from tests.docs.pages import ROOT

QUADRATIC = ROOT / "tests" / "docs" / "quadratic.yaml"
FAST = ["intervals.replicates=0", "search.sampler=random"]
RANGES = {"x": (-1.0, 1.0), "y": (-1.0, 1.0)}


def hill(x: float, y: float) -> float:
    return 1 - (x - 0.2) ** 2 - (y + 0.3) ** 2


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_a_function_is_tuned_and_its_answer_has_intervals() -> None:
    result = tune(hill, RANGES, trials=14, seed=0)
    assert abs(result.best["x"] - 0.2) < 0.05 and abs(result.best["y"] + 0.3) < 0.05
    assert result.value == pytest.approx(hill(**result.best))
    for name, true in (("x", 0.2), ("y", -0.3)):
        interval = result.parameters[name].interval
        assert interval is not None and interval[0] - 0.01 < true < interval[1] + 0.01
        assert result.parameters[name].interval_of == "search"
    assert result.document.trials.finished == len(result.trials) == 14
    assert result.document.mlflow.experiment is None and not (result.folder / "report.html").exists()


def test_derivatives_are_learned_from() -> None:
    def bowl(**at: float) -> tuple[float, dict[str, float]]:
        return sum((v - 0.1) ** 2 for v in at.values()), {n: 2 * (v - 0.1) for n, v in at.items()}

    result = tune(bowl, {f"p{i}": (-1, 1) for i in range(6)}, trials=12, goal="minimize")
    assert result.value is not None and result.value < 1e-3
    assert all(trial.gradient.keys() == set(result.best) for trial in result.trials)


def test_choices_and_held_values_arrive_as_they_were_written() -> None:
    seen: list[tuple[Any, ...]] = []

    def called(n: int, mode: Any, scale: float, label: str, on: bool) -> float:
        seen.append((n, mode, scale, label, on))
        return float(n)

    ranges = {"n": range(1, 4), "mode": [None, 2, "three"], "scale": 2, "label": "1e3", "on": True}
    result = tune(called, ranges, trials=8, overrides=FAST)
    assert {type(n) for n, *_ in seen} == {int} and {mode for _, mode, *_ in seen} <= {None, 2, "three"}
    assert {rest for _, _, *rest_ in seen for rest in [tuple(rest_)]} == {(2, "1e3", True)}
    assert result.best["n"] == 3 and result.best["mode"] in (None, 2, "three")
    assert set(result.to_frame()["mode"]) <= {None, 2, "three"}


def test_a_value_is_tried_first() -> None:
    rate = Dimension("rate", low=1e-4, high=1.0, log=True, initial=0.01)
    result = tune(lambda rate: -rate, {"rate": rate}, trials=2, overrides=FAST)
    assert result.trials[0].values == {"rate": 0.01}


def test_a_dict_of_metrics_has_limits() -> None:
    def two(x: float) -> dict[str, float]:
        return {"quality": x, "dose": x}

    result = tune(
        two, {"x": (0, 1)}, trials=12, metric=["quality", Metric("dose", "minimize")],
        overrides=["metric.limits.dose.below=0.5", "intervals.replicates=0"],
    )  # fmt: skip
    assert 0.3 < result.best["x"] <= 0.5
    assert set(result.to_frame().columns) >= {"x", "quality", "dose", "seconds", "state"}


def test_errors_and_values_that_are_no_numbers_are_failed_trials() -> None:
    def sometimes(x: float) -> float:
        if x > 0.5:
            raise RuntimeError("too far")
        return float("nan") if x < -0.5 else x

    result = tune(sometimes, {"x": (-1, 1)}, trials=16, seed=3, overrides=FAST)
    reasons = {trial.reason for trial in result.trials if trial.state == "failed"}
    assert any("too far" in reason for reason in reasons) and any("value = nan" in reason for reason in reasons)
    frame = result.to_frame()
    assert (
        set(frame["state"]) == {"finished", "failed"}
        and frame["value"].isna().sum() == (frame["state"] == "failed").sum()
    )


def test_a_function_that_returns_something_else_says_what_it_may_return() -> None:
    with pytest.raises(StudyFailed, match=r"returned 'good'; return a number") as failed:
        tune(lambda x: "good", {"x": (0, 1)}, overrides=FAST)
    assert "in a row failed" in str(failed.value)


@pytest.mark.parametrize(
    ("returned", "metrics", "gradient"),
    [
        (1, {"value": 1.0}, {}),
        (np.float32(0.5), {"value": 0.5}, {}),
        (torch.tensor([2.0]), {"value": 2.0}, {}),
        ({"value": 1, "other": np.inf}, {"value": 1.0}, {}),
        ((np.array(3.0), {"x": torch.tensor(1.0)}), {"value": 3.0}, {"x": 1.0}),
        (({"value": 1.0}, {"x": 2}), {"value": 1.0}, {"x": 2.0}),
        (Evaluation(Status.COMPLETE, {"value": 4.0}), {"value": 4.0}, {}),
    ],
)
def test_what_a_function_may_return(
    returned: object, metrics: Mapping[str, float], gradient: Mapping[str, float]
) -> None:
    evaluation = evaluation_of(returned, "value")
    assert evaluation.status is Status.COMPLETE
    assert (evaluation.metrics, evaluation.gradient) == (metrics, gradient)


@pytest.mark.parametrize(
    "returned",
    [None, "1.0", b"1", [1.0, 2.0], np.zeros(3), (1.0, 2.0), (1.0, {}, 3), {"other": 1.0}, (1.0, {"x": None}), {}],
)
def test_what_it_may_not(returned: object) -> None:
    with pytest.raises(TypeError, match="the function returned"):
        evaluation_of(returned, "value")


def test_the_callback_is_given_every_trial_and_ends_the_search() -> None:
    seen: list[tuple[int, int | None]] = []

    def callback(trial: Any, best: Any) -> bool:
        seen.append((trial.number, best and best.number))
        return len(seen) == 5

    result = tune(hill, RANGES, trials=40, callback=callback)
    assert [number for number, _ in seen] == [0, 1, 2, 3, 4] and seen[-1][1] is not None
    assert result.document.trials.total == 5 and result.document.reason == "ended by its callback"
    assert result.document.status == "finished" and result.parameters["x"].interval is not None


def test_an_error_of_the_callback_ends_the_run() -> None:
    def callback(trial: Any, best: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tune(hill, RANGES, trials=4, callback=callback, overrides=FAST)


def test_a_study_with_a_name_is_kept_and_continued(home: Home) -> None:
    options: dict[str, Any] = {
        "name": "kept", "home": home, "overrides": [*FAST, "tracking.enabled=false", "report=false"],
    }  # fmt: skip
    first = tune(hill, RANGES, trials=4, **options)
    assert first.folder == home.study("kept") and (first.folder / "result.json").is_file()
    again = tune(hill, RANGES, trials=6, **options)
    assert [trial.values for trial in again.trials[:4]] == [trial.values for trial in first.trials]
    assert again.document.trials.finished == 6

    def other(x: float, y: float) -> float:
        return x

    other.__qualname__, other.__module__ = hill.__qualname__, hill.__module__
    with pytest.raises(InputError, match=r"objective\.code"):
        tune(other, RANGES, trials=6, **options)
    assert tune(other, RANGES, trials=2, fresh=True, **options).document.trials.finished == 2


def test_one_without_a_name_goes_with_its_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    result = tune(hill, RANGES, trials=2, overrides=FAST)
    folder = result.folder
    assert folder.is_dir() and result.to_frame().shape[0] == 2
    del result
    gc.collect()
    assert not folder.exists() and not list(tmp_path.iterdir())


def test_studies_come_as_files_dicts_and_specs(home: Home) -> None:
    spec = load_study(QUADRATIC).spec
    document = {
        "name": "as_dict",
        "objective": {"name": "tests.autotune.toy:toy"},
        "parameters": {"shift": {}, "tilt": np.float64(1.5)},
        "search": {"seed": np.int64(1), "sampler": "random"},
        "tracking": {"enabled": False},
        "report": False,
    }
    options: dict[str, Any] = {"trials": 3, "home": home, "overrides": ["execution.executor=inline", *FAST]}
    answers = [tune(study, **{**options, "name": f"s{i}"}) for i, study in enumerate((QUADRATIC, str(QUADRATIC), spec))]
    assert len({tuple(t.values["shift"] for t in answer.trials) for answer in answers}) == 1
    assert [answer.document.study for answer in answers] == ["s0", "s1", "s2"]
    of_dict = tune(document, metric="error", seed=7, **options)
    assert (
        of_dict.document.study == "as_dict" and of_dict.document.metric.name == "error" and of_dict.document.seed == 7
    )
    assert list(home.study("as_dict").glob("study.yaml"))


@pytest.mark.parametrize(
    ("study", "arguments", "what"),
    [
        ({"name": "x"}, {}, r"<study>:?.*objective"),
        ({"name": "x", "objective": {"name": "none"}, "parameters": {"a": {}}}, {}, r"<study>:\d+: objective.name: no"),
        ({"name": "x", "objective": object()}, {}, "holds what no study file can hold"),
        (3, {}, "3 is int; give a path"),
        ("no_such_file.yaml", {}, "no_such_file.yaml: no such file"),
        (str(QUADRATIC), {"ranges": {"x": (0, 1)}}, "ranges: is for a function"),
        (str(QUADRATIC), {"goal": "minimize"}, "goal: is for a function"),
        (str(QUADRATIC), {"metric": ["a", "b"]}, "is no name"),
        (str(QUADRATIC), {"trials": -1}, "budget.trials"),
        (hill, {}, "ranges: are missing"),
        (hill, {"ranges": {"x": (0, 1)}}, r"hill\(.*missing a required argument: 'y'"),
        (hill, {"ranges": {**RANGES, "z": (0, 1)}}, "unexpected keyword argument 'z'"),
        (hill, {"ranges": {**RANGES, 3: (0, 1)}}, "ranges: are dict"),
        (hill, {"ranges": RANGES, "goal": "up"}, "'up' is no goal"),
        (hill, {"ranges": RANGES, "metric": []}, "names no metric"),
        (hill, {"ranges": RANGES, "metric": Metric("v", "minimize"), "goal": "maximize"}, "differs from that of"),
        (hill, {"ranges": RANGES, "name": "a b"}, "is not a study name"),
        (lambda x: x, {"ranges": {"x": (0, 1)}, "workers": 2}, "cannot be imported by worker processes"),
        (hill, {"ranges": RANGES, "overrides": ["budget.trails=3"]}, "budget.trails"),
        (hill, {"ranges": RANGES}, "home: has no effect without a name"),
        (hill, {"ranges": RANGES, "fresh": True}, "fresh: has no effect without a name"),
    ],
)  # fmt: skip
def test_mistakes_are_named_and_nothing_is_made(
    study: Any, arguments: Mapping[str, Any], what: str, home: Home
) -> None:
    with pytest.raises(InputError, match=what):
        tune(study, home=home, **arguments)
    assert not home.folder.exists()


def test_an_answer_shows_itself() -> None:
    def named(**at: float) -> float:
        return -(at["<b>"] ** 2)

    result = tune(named, {"<b>": (-1, 1)}, trials=8)
    text, page = repr(result), result._repr_html_()
    assert text.startswith("named: value ") and "90 %" in text
    assert "&lt;b&gt;" in page and "<b>" not in page and "data:image/svg+xml" in page
    for name in ("convergence", "intervals", "parallel", "sensitivities"):
        assert result.figure(name).axes
    with pytest.raises(InputError, match="'convergense' is no figure"):
        result.figure("convergense")
    assert dataclasses.is_dataclass(Result) and "_data" not in text


def test_an_answer_without_intervals_says_so() -> None:
    result = tune(hill, RANGES, trials=2, overrides=FAST)
    with pytest.raises(InputError, match="nothing to show of intervals"):
        result.figure("intervals")
    assert result._repr_html_()


def test_names_and_code_tell_functions_apart() -> None:
    assert name_of(hill) == "tests.autotune.embedding.test_tune:hill" and is_importable(hill)
    assert not is_importable(lambda: None)
    one, same, other = (lambda x: x in {"a", "b"}), (lambda x: x in {"a", "b"}), (lambda x: x in {"a", "d"})
    assert code_of(one) == code_of(same) != code_of(other)
    assert code_of(print) == ""


def test_the_hash_of_code_is_the_same_in_every_process() -> None:
    script = "from autotune.embedding.function import code_of; print(code_of(lambda x: x in {'a', 'b', 'c', 1.5}))"
    said = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}, capture_output=True,
            text=True, check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(said) == 1


def test_a_function_in_a_module_runs_in_worker_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_a_user.py").write_text(
        "import os\n"
        "def measured(x, mode):\n"
        "    return {'value': -x * x, 'pid': float(os.getpid()), 'two': float(mode == 2)}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from of_a_user import measured  # type: ignore[import-not-found]

    result = tune(measured, {"x": (-1, 1), "mode": [1, 2, 3]}, trials=6, workers=2, overrides=FAST)
    table = result.to_frame()
    assert len(set(table["pid"])) == 2 and os.getpid() not in set(table["pid"])
    assert list(table["two"] == 1.0) == list(table["mode"] == 2)


def test_importing_the_front_door_imports_nothing_heavy() -> None:
    script = (
        "import sys, autotune\n"
        "loaded = set(sys.modules) & {'torch', 'optuna', 'mlflow', 'numpy', 'pandas', 'pydantic'}\n"
        "assert not loaded, loaded; assert 'tune' in dir(autotune)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
