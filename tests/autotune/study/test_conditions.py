"""Conditions of tuned parameters: stated in the study file, or implied by the objective."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autotune.objective import InputError, Parameter
from autotune.study import plan_study, study_schema
from tests.autotune.study.test_study import HEAD, Switched, complaints, load
from tests.autotune.toy import ToySettings


class Branching(Switched):
    """A toy with parameters that only some solvers use; thickness has no default, and acts with several slices only."""

    def parameters(self) -> list[Parameter]:
        not_sgd = (("solver", ("exact", "cg")),)
        return [
            *super().parameters(),
            Parameter("solver", "1", "solver", "exact", type="categorical", choices=("exact", "cg", "sgd", "adam")),
            Parameter("rate", "1", "solver", 0.1, low=1e-3, high=1.0, log=True, idle_while=not_sgd),
            Parameter("passes", "1", "solver", 3, type="int", low=1, high=8),
            Parameter("slices", "1", "solver", 1, type="int", low=1, high=4, minimum=1),
            Parameter("thickness", "angstrom", "mismatch", None, low=1, high=9, idle_while=(("slices", (1,)),)),
            Parameter("long", "1", "solver", 0, type="int", low=0, high=10_000),
            Parameter("late", "1", "solver", 1.0, low=0, high=9, idle_while=(("long", (0,)),)),
            Parameter("chicken", "1", "solver", 0, type="int", low=0, high=2, idle_while=(("egg", (0,)),)),
            Parameter("egg", "1", "solver", 1, type="int", low=0, high=2, idle_while=(("chicken", (0,)),)),
        ]


def branching(folder: Path, parameters: str) -> dict[str, object]:
    """The conditions of every tuned parameter that has any; or the problems, by place."""
    file = load(folder, f"{HEAD}parameters: {parameters}\n")
    try:
        plan = plan_study(file, Branching(ToySettings()))
    except InputError as error:
        return {p.where.rpartition(": ")[2]: f"{p.what}; {p.remedy}" for p in error.problems}
    return {d.name: dict(d.when) for d in plan.space.dimensions if d.when}


@pytest.mark.parametrize(
    ("parameters", "conditions"),
    [
        ("{passes: {when: {solver: sgd}}, solver: {}}", {"passes": {"solver": ("sgd",)}}),
        ("{passes: {when: {solver: [adam, sgd, adam]}}, solver: {}}", {"passes": {"solver": ("sgd", "adam")}}),
        ("{shift: {when: {passes: 3}}, passes: {}}", {"shift": {"passes": (3,)}}),
        (
            "{shift: {when: {passes: [1, 8], solver: cg}}, passes: {}, solver: {choices: [cg, sgd]}}",
            {"shift": {"passes": (1, 8), "solver": ("cg",)}},
        ),
        # What the objective says
        ("{rate: {}, solver: {}}", {"rate": {"solver": ("sgd", "adam")}}),
        ("{rate: {}, solver: {choices: [cg, adam]}}", {"rate": {"solver": ("adam",)}}),
        ("{rate: {}, solver: {choices: [sgd, adam]}}", {}),
        ("{rate: {}, solver: sgd}", {}),
        ("{rate: {when: {passes: 1}}, solver: {}, passes: {}}",
         {"rate": {"passes": (1,), "solver": ("sgd", "adam")}}),
        ("{rate: {when: {solver: sgd}}, solver: {}}", {"rate": {"solver": ("sgd",)}}),
        ("{thickness: {}, slices: {}}", {"thickness": {"slices": (2, 3, 4)}}),
        ("{angle: {}, stretch: {}}", {}),  # a float is 0 by no chance
        ("{late: {}, long: {}}", {}),  # nor, in effect, one of ten thousand
        ("{chicken: {}, egg: {}}", {"chicken": {"egg": (1, 2)}}),  # both ways would be a circle
        # A parent that depends on another itself
        ("{shift: {when: {passes: 1}}, passes: {when: {solver: sgd}}, solver: {}}",
         {"shift": {"passes": (1,)}, "passes": {"solver": ("sgd",)}}),
        ("{thickness: {}, slices: {when: {solver: sgd}}, solver: {}}",
         {"thickness": {"slices": (2, 3, 4)}, "slices": {"solver": ("sgd",)}}),
    ],
)  # fmt: skip
def test_conditions(tmp_path: Path, parameters: str, conditions: dict[str, object]) -> None:
    assert branching(tmp_path, parameters) == conditions


@pytest.mark.parametrize(
    ("parameters", "place", "message"),
    [
        ("{shift: {when: {solvr: sgd}}, solver: {}}", "shift.when.solvr",
         "there is no parameter 'solvr'; did you mean 'solver'?"),
        ("{shift: {when: {solver: sgd}}}", "shift.when.solver",
         "solver is not tuned, but held at 'exact'; tune solver too, or leave the condition out"),
        ("{shift: {when: {stretch: 1}}, stretch: {}}", "shift.when.stretch",
         "stretch is tuned over a range of real numbers; name a parameter with choices or whole numbers"),
        ("{passes: {when: {passes: 1}}}", "passes.when.passes",
         "passes cannot depend on itself; name another tuned parameter"),
        ("{shift: {when: {solver: [cg, sdg]}}, solver: {}}", "shift.when.solver",
         "'sdg' is not a value that solver may have here; solver is exact, cg, sgd or adam"),
        ("{shift: {when: {solver: cg}}, solver: {choices: [sgd, adam]}}", "shift.when.solver",
         "'cg' is not a value that solver may have here; solver is sgd or adam"),
        ("{shift: {when: {passes: [2, 9]}}, passes: {}}", "shift.when.passes",
         "9 is not a value that passes may have here; passes is 1 to 8"),
        ("{shift: {when: {passes: 2.5}}, passes: {}}", "shift.when.passes",
         "2.5 is not a value that passes may have here; passes is 1 to 8"),
        ("{shift: {when: {passes: one}}, passes: {}}", "shift.when.passes",
         "'one' is not a value that passes may have here; passes is 1 to 8"),
        ("{shift: {when: {solver: []}}, solver: {}}", "shift.when.solver",
         "names no value, so that shift would never be tuned; solver is exact, cg, sgd or adam"),
        ("{shift: {when: {}}, solver: {}}", "shift.when",
         "names no parameter; such as {solver: [lsqml, epie]}; or leave it out"),
        ("{shift: {when: {solver: [sgd, adam]}}, solver: {choices: [sgd, adam]}}", "shift.when.solver",
         "always holds: solver is sgd or adam in any case; leave the condition out"),
        ("{rate: {when: {solver: [cg, sgd]}}, solver: {}}", "rate.when.solver",
         "rate has no effect while solver is 'cg'; leave 'cg' out"),
        ("{rate: {}, solver: {choices: [cg, exact]}}", "rate",
         "rate has no effect while solver is cg or exact; leave it out, or let solver have other values"),
        ("{long: {when: {passes: 1}}, passes: {when: {long: 2}}}", "long.when",
         "long and passes depend on each other; leave out the condition of one of them"),
        ("{shift: {when: {passes: 1, solver: cg}}, passes: {when: {solver: sgd}}, solver: {}}", "shift.when",
         "never holds: passes is tuned only while solver is sgd; solver cannot be cg too"),
        ("{thickness: {when: {slices: [3, 4]}}, slices: {}}", "thickness.when.slices",
         "thickness has no default, and would have no value while slices is 2; "
         "leave the condition out, or fix its value"),
        ("{thickness: {when: {solver: sgd}}, solver: {}, slices: 2}", "thickness.when.solver",
         "thickness has no default, and would have no value while solver is 'exact'; "
         "leave the condition out, or fix its value"),
    ],
)  # fmt: skip
def test_mistakes_in_conditions(tmp_path: Path, parameters: str, place: str, message: str) -> None:
    assert branching(tmp_path, parameters) == {f"parameters.{place}": message}


def test_what_has_no_default_needs_a_value_where_its_parent_is_at_its_default(tmp_path: Path) -> None:
    class Demanding(Switched):
        def parameters(self) -> list[Parameter]:
            idle = (("passes", (8,)),)
            return [
                Parameter("voltage", "kV", "mismatch", None, low=1, high=9, idle_while=idle),
                Parameter("passes", "1", "solver", 3, type="int", low=1, high=8),
                Parameter("solver", "1", "solver", "cg", type="categorical", choices=("cg", "sgd")),
            ]

    text = f"{HEAD}parameters: {{voltage: {{}}, passes: {{when: {{solver: sgd}}}}, solver: {{}}}}\n"
    with pytest.raises(InputError, match="voltage has no default, and would have no value while passes is 3"):
        plan_study(load(tmp_path, text), Demanding(ToySettings()))


def test_mistakes_in_conditions_come_with_all_others_and_only_once(tmp_path: Path) -> None:
    text = "{shift: {low: 2, when: {passes: 1, solver: cg, pases: 1}}, solver: {choices: [sgd, sdg]}, passes: 1}"
    assert list(branching(tmp_path, text)) == [
        "parameters.shift.low", "parameters.solver.choices", "parameters.shift.when.passes",
        "parameters.shift.when.pases",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("sgd", "parameters.shift.when: 'sgd' is not valid; it must be a map of keys"),
        ("{solver: true}", "parameters.shift.when.solver: true is not valid; it must be a number or text (quote it"),
        ("{solver: {is: sgd}}", "parameters.shift.when.solver: a map is not valid; it must be a number or text"),
        ("{solver: null}", "parameters.shift.when.solver: null is not valid; it must be a number or text"),
        ("{solver: [sgd, [cg]]}", "parameters.shift.when.solver"),
    ],
)
def test_conditions_of_a_wrong_form(tmp_path: Path, when: str, message: str) -> None:
    [found] = complaints(tmp_path, f"{HEAD}parameters: {{shift: {{when: {when}}}, solver: {{}}}}\n")
    assert message in found


def test_a_condition_changes_the_identity_only_where_there_is_one(tmp_path: Path) -> None:
    def identity(parameters: str) -> dict[str, object]:
        return load(tmp_path, f"{HEAD}parameters: {parameters}\n").identity()

    one = identity("{shift: {when: {passes: 1}}, passes: {}}")
    assert one == identity("{shift: {when: {passes: [1]}}, passes: {}}")
    assert one != identity("{shift: {when: {passes: 2}}, passes: {}}")
    assert "when" not in json.dumps(identity("{shift: {}, passes: {}}"))


def test_the_schema_allows_a_value_or_a_list() -> None:
    when = study_schema()["$defs"]["ParameterSpec"]["properties"]["when"]
    [by_name] = [branch for branch in when["anyOf"] if branch["type"] == "object"]
    kinds = {branch.get("type") for branch in by_name["additionalProperties"]["anyOf"]}
    assert kinds == {"integer", "number", "string", "array"}
