"""Cheap evaluations of a study: what they hold, what they cost, and what is refused, where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from autotune.errors import InputError
from autotune.objective import Parameter, Value
from autotune.study import Plan, load_study, plan_study
from tests.autotune.toy import BareToyType, Toy, ToySettings


class Costly(Toy):
    """A toy that takes ``passes`` steps over a share ``part`` of its data, binned by ``bin``; it counts them."""

    def parameters(self) -> Sequence[Parameter]:
        passes = Parameter("passes", "1", "solver", 8, type="int", low=1, high=20, minimum=1, cheaper="lower")
        part = Parameter("part", "1", "fidelity", 1.0, minimum=0.05, maximum=1.0, cheaper="lower")
        binned = Parameter("bin", "1", "fidelity", 1, type="int", minimum=1, maximum=4, cheaper="higher")
        others = [p for p in super().parameters() if p.name != "passes"]
        return (*others, passes, part, binned)

    def work(self, values: Mapping[str, Value]) -> float:
        full = {"passes": 8, "part": 1.0, "bin": 1, **values}
        return 3.0 * float(full["passes"]) * float(full["part"]) / float(full["bin"]) ** 2 + 0.3


class CostlyType(BareToyType):
    def open(self, settings: BaseModel, *, folder: Path) -> Toy:
        assert isinstance(settings, ToySettings)
        return Costly(settings)


costly = CostlyType()
HEAD = "name: toy\nobjective: {{name: 'tests.autotune.{}'}}\n"


def plan(
    folder: Path, fidelity: str, parameters: str = "{shift: {}}", objective: str = "study.test_fidelity:costly"
) -> Plan:
    path = folder / "study.yaml"
    text = HEAD.format(objective) + f"parameters: {parameters}\nsearch:\n  fidelity: {fidelity}\n"
    path.write_text(text, encoding="utf-8")
    file = load_study(path, ())
    return plan_study(file, file.open())


def complaints(folder: Path, *arguments: str, **named: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        plan(folder, *arguments, **named)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_what_a_cheap_evaluation_holds_and_costs(tmp_path: Path) -> None:
    found = plan(tmp_path, "{part: 0.5, bin: 2.0}", "{shift: {}, passes: 10}")
    assert found.cheap[0].values == {"part": 0.5, "bin": 2} and isinstance(found.cheap[0].values["bin"], int)
    assert list(found.costs) == pytest.approx([1.0, (3 * 10 * 0.5 / 4 + 0.3) / 30.3])
    assert found.held(0) == {"passes": 10}
    assert found.held(1) == {"passes": 10, "part": 0.5, "bin": 2}


def test_the_dearest_comes_first_however_they_are_written(tmp_path: Path) -> None:
    found = plan(tmp_path, "[{part: 0.1}, {part: 0.5}, {passes: 2}]")
    assert [dict(level.values) for level in found.cheap] == [{"part": 0.5}, {"passes": 2}, {"part": 0.1}]
    assert list(found.costs) == sorted(found.costs, reverse=True)
    assert plan(tmp_path, "[]").cheap == ()


@pytest.mark.parametrize(
    ("fidelity", "complaint"),
    [
        ("{parts: 0.5}", ".parts: there is no parameter 'parts'; did you mean 'part'?"),
        ("{shift: 0.5}", ".shift: shift is tuned; a cheap evaluation changes only what is held fixed"),
        ("{rate: 0.5}", ".rate: rate does not make an evaluation cheaper; those that do: passes, part, bin"),
        ("{method: fast}", ".method: method does not make an evaluation cheaper; those that do: passes, part, bin"),
        ("{part: half}", ".part: 'half' is not a number"),
        ("{bin: 1.5}", ".bin: 1.5 is not a whole number"),
        ("{passes: 0}", ".passes: 0 is outside the limit; the least is 1"),
        ("{bin: 8}", ".bin: 8 is outside the limit; the most is 4"),
        ("{part: 0.01}", ".part: 0.01 is outside the limit; the least is 0.05"),
        ("{part: 1}", ".part: 1 is not cheaper than the full evaluation's 1; give a value below it"),
        ("{bin: 1}", ".bin: 1 is not cheaper than the full evaluation's 1; give a value above it"),
        ("{passes: 9}", ".passes: 9 is not cheaper than the full evaluation's 8; give a value below it"),
        ("{}", ": {} is not valid; it must be a map of at least 1 key"),
    ],
)  # fmt: skip
def test_what_is_refused_and_where(fidelity: str, complaint: str, tmp_path: Path) -> None:
    assert complaints(tmp_path, fidelity) == [f"study.yaml:5: search.fidelity{complaint}"]


def test_all_mistakes_of_all_levels_at_once(tmp_path: Path) -> None:
    found = complaints(tmp_path, "[{part: 2, bin: 0}, {rat: 1}]")
    places = [complaint.split(": ")[1] for complaint in found]
    assert places == ["search.fidelity.0.part", "search.fidelity.0.bin", "search.fidelity.1.rat"]


def test_one_that_costs_no_less_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Costly, "work", lambda self, values: 5.0)
    assert complaints(tmp_path, "{part: 0.5}") == [
        "study.yaml:5: search.fidelity: costs 1.00 of a full evaluation; make it cheaper"
    ]


def test_an_objective_that_does_not_count_its_work_has_none(tmp_path: Path) -> None:
    found = complaints(tmp_path, "{passes: 2}", objective="toy:toy")
    assert "does not count its work" in found[-1] and "leave it out" in found[-1]


def test_data_are_not_tuned(tmp_path: Path) -> None:
    for parameters in ("{shift: {}, part: {low: 0.1, high: 1}}", "{shift: {}, bin: {}}"):
        (complaint,) = complaints(tmp_path, "[]", parameters)
        assert "cannot be tuned: the metric of less data is another metric" in complaint
        assert "search.fidelity" in complaint


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("key", ["fidelity: {part: 0.5}", "warm_start: other"])
def test_other_samplers_cannot_learn_from_them(sampler: str, key: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        HEAD.format("study.test_fidelity:costly")
        + f"parameters: {{shift: {{}}}}\nsearch: {{sampler: {sampler}, {key}}}\n"
    )
    with pytest.raises(InputError, match=rf"{key.split(':')[0]} needs the sampler gp; '{sampler}' cannot learn"):
        load_study(path, ())
