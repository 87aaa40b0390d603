"""What a study may be after beside its tuned metric, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.errors import InputError
from autotune.objective import Metric
from autotune.problem.goals import SECONDS, Aims, Limit
from autotune.study import Plan, load_study, plan_study

HEAD = "name: toy\nobjective: {name: 'tests.autotune.toy:toy'}\nparameters: {shift: {}, rate: {}}\n"
ERROR = Metric("error", "minimize", description="sum of squared distances from the optimum")


def plan(folder: Path, text: str, *overrides: str) -> Plan:
    path = folder / "study.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    file = load_study(path, overrides)
    return plan_study(file, file.open())


def complaints(folder: Path, text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        plan(folder, text)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize("against", ["[seconds]", "seconds"])
def test_aims_are_read(against: str, tmp_path: Path) -> None:
    text = f"metric: {{against: {against}, limits: {{error: {{below: 2}}, seconds: {{above: 0.5, below: 9}}}}}}\n"
    found = plan(tmp_path, text, "search.per_second=true")
    assert found.metric.name == "consistency"
    assert found.aims == Aims((SECONDS,), (Limit("error", below=2.0), Limit("seconds", below=9.0, above=0.5)), True)
    named = plan(tmp_path, "metric: {name: error, against: [consistency, seconds]}\n")
    assert [named.metric.name, *(m.name for m in named.aims.against)] == ["error", "consistency", "seconds"]


def test_without_aims_there_are_none(tmp_path: Path) -> None:
    assert plan(tmp_path, "metric: error\n").aims == Aims()


def test_unknown_names_and_repetitions(tmp_path: Path) -> None:
    text = "metric: {against: [erorr, consistency, seconds, seconds], limits: {contrast: {below: 1}}}\n"
    found = complaints(tmp_path, text)
    contrast = "study.yaml:4: metric.limits.contrast: there is no metric 'contrast'; known: consistency, error, seconds"
    assert contrast in found
    assert "study.yaml:4: metric.against.0: there is no metric 'erorr'; did you mean 'error'?" in found
    assert any("metric.against.1: consistency is the tuned metric itself" in line for line in found)
    assert any("metric.against.3: seconds is given twice" in line for line in found)
    assert any("metric.against: names 4 metrics; name 3 at most" in line for line in found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("search: {sampler: tpe}", "needs the sampler gp; tpe looks for one metric's best"),
        ("search: {warm_start: other}", "does not go with search.warm_start"),
        ("search: {fidelity: {passes: 1}}", "does not go with search.fidelity"),
        ("search: {pruner: curve}", "does not go with search.pruner curve"),
        ("budget: {converged: 0.1}", "does not go with budget.converged"),
    ],
)
def test_what_does_not_go_with_several_metrics(text: str, message: str, tmp_path: Path) -> None:
    assert any(message in line for line in complaints(tmp_path, f"metric: {{against: seconds}}\n{text}\n"))


@pytest.mark.parametrize(
    ("limit", "place", "message"),
    [
        ("{}", "error", "neither above nor below is given"),
        ("{above: 2, below: 1}", "error.above", "2 is not smaller than below (1): nothing is between them"),
        ("{below: low}", "error.below", "'low' is not valid; it must be a number"),
        ("{most: 1}", "error.most", "there is no key 'most' here; known: above, below"),
        ("0.5", "error", "0.5 is not valid; it must be a map of keys"),
    ],
)
def test_limits_that_mean_nothing(limit: str, place: str, message: str, tmp_path: Path) -> None:
    found = complaints(tmp_path, f"metric: {{limits: {{error: {limit}}}}}\n")
    assert any(f"metric.limits.{place}: {message}" in line for line in found)


def test_only_the_gp_counts_seconds(tmp_path: Path) -> None:
    found = complaints(tmp_path, "search: {sampler: random, per_second: true}\n")
    assert found == [
        "study.yaml:4: search.per_second: true needs the sampler gp; 'random' does not model how long a trial takes"
    ]
    assert not plan(tmp_path, "search: {sampler: random, per_second: false}\n").aims.per_second


def test_any_sampler_may_have_limits(tmp_path: Path) -> None:
    found = plan(tmp_path, "metric: {limits: {error: {below: 2}}}\nsearch: {sampler: random}\n")
    assert found.aims.limits == (Limit("error", below=2.0),)


def test_the_sampler_gradient_needs_derivatives(tmp_path: Path) -> None:
    assert plan(tmp_path, "search: {sampler: gradient}\n").space.dimensions[1].nominal == 0.1
    text = "search: {sampler: gradient}\n"
    path = tmp_path / "study.yaml"
    path.write_text(HEAD.replace("toy:toy'", "toy:toy', gradients: false") + text, encoding="utf-8")
    file = load_study(path, ())
    with pytest.raises(InputError) as caught:
        plan_study(file, file.open())
    assert [str(p).split(": ", 1)[1] for p in caught.value.problems] == [
        f"parameters.{name}: the metric has no derivative for {name}, which gradient needs; hold it fixed, or take a "
        "sampler that needs no derivatives, such as gp"
        for name in ("shift", "rate")
    ]
    path.write_text(HEAD.replace("{shift: {}, rate: {}}", "{passes: {}}") + text, encoding="utf-8")
    file = load_study(path, ())
    with pytest.raises(InputError, match="gradient moves numbers with a fraction, and none is tuned"):
        plan_study(file, file.open())


def test_the_nominal_value_is_the_default_inside_the_range(tmp_path: Path) -> None:
    inside = plan(tmp_path, "", "parameters.method={}")
    assert [d.nominal for d in inside.space.dimensions] == [0.0, 0.1, "plain"]
    outside = plan(tmp_path, "", "parameters.shift.low=1", "parameters.method.choices=[fast, slow]")
    assert [d.nominal for d in outside.space.dimensions] == [None, 0.1, None]
