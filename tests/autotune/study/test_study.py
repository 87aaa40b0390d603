"""Study files: what is read, what the plan becomes, and where messages point."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from autotune.errors import InputError, Problem
from autotune.objective import Parameter
from autotune.problem.space import Dimension
from autotune.study import Plan, StudyFile, StudySpec, load_study, plan_study, study_schema
from tests.autotune.toy import Toy, ToySettings

HEAD = "name: toy\nobjective: {name: 'tests.autotune.toy:toy'}\n"


def load(folder: Path, text: str, *overrides: str) -> StudyFile:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return load_study(path, overrides)


def plan(folder: Path, parameters: str, *overrides: str) -> Plan:
    file = load(folder, f"{HEAD}parameters: {parameters}\n", *overrides)
    return plan_study(file, file.open())


def complaints(folder: Path, text: str, *overrides: str) -> list[str]:
    """What loading and planning complain about, without the folder."""
    with pytest.raises(InputError) as caught:
        file = load(folder, text, *overrides)
        plan_study(file, file.open())
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    file = load(tmp_path, HEAD + "parameters: {shift: {}}\n")
    assert file.spec.search.model_dump() == {
        "sampler": "gp", "seed": 0, "startup_trials": None, "fidelity": (), "warm_start": (), "pruner": "none",
        "per_second": False,
    }  # fmt: skip
    budget = {"trials": 40, "reconstructions": None, "seconds": None, "converged": None}
    assert file.spec.budget.model_dump() == budget
    assert file.spec.tracking.model_dump() == {"enabled": True, "uri": None, "experiment": None}
    assert file.spec.metric is None
    assert file.settings.model_dump()["iterations"] == 5
    assert file.folder == tmp_path


def test_plan_merges_the_study_with_the_objective(tmp_path: Path) -> None:
    found = plan(
        tmp_path,
        "{tilt: {low: -5, high: 5, initial: 1}, shift: {high: 1}, rate: {}, passes: 4.0, "
        "method: {choices: [slow, fast], initial: fast}}",
    )
    assert found.space.dimensions == (
        Dimension("tilt", "degree", low=-5.0, high=5.0, initial=1.0, differentiable=True),
        Dimension("shift", "angstrom", low=-2.0, high=1.0, differentiable=True),
        Dimension("rate", kind="solver", low=1e-3, high=1.0, log=True, differentiable=True),
        Dimension("method", kind="solver", type="categorical", choices=("slow", "fast"), initial="fast"),
    )
    assert found.fixed == {"passes": 4}
    assert isinstance(found.fixed["passes"], int)
    assert found.metric.name == "consistency"


def test_the_study_may_undo_the_default_log_scale(tmp_path: Path) -> None:
    found = plan(tmp_path, "{rate: {low: 0.1, log: false}, passes: {low: 2}}")
    assert [d.log for d in found.space.dimensions] == [False, False]
    assert (found.space.dimensions[1].type, found.space.dimensions[1].low) == ("int", 2.0)


@pytest.mark.parametrize("metric", ["error", "{name: error}"])
def test_metric_may_be_written_short(tmp_path: Path, metric: str) -> None:
    file = load(tmp_path, f"{HEAD}parameters: {{shift: {{}}}}\nmetric: {metric}\n")
    assert plan_study(file, file.open()).metric.goal == "minimize"


def test_overrides_replace_add_and_reach_into_missing_maps(tmp_path: Path) -> None:
    text = HEAD + "parameters:\n  shift: {low: -1, high: 1}  # kept\n"
    file = load(tmp_path, text, "search.sampler=tpe", "parameters.shift.low=-0.5", "name=other", "parameters.passes=2")
    assert (file.spec.name, file.spec.search.sampler) == ("other", "tpe")
    found = plan_study(file, file.open())
    assert (found.space.dimensions[0].low, found.fixed) == (-0.5, {"passes": 2})
    # The kept text is what was run: loading it alone gives the same study.
    assert "# kept" in file.text
    assert load(tmp_path, file.text).spec == file.spec


def test_without_overrides_the_text_is_the_file(tmp_path: Path) -> None:
    text = "# first line\n" + HEAD + "parameters: {shift: {}}  # last\n"
    assert load(tmp_path, text).text == text


@pytest.mark.parametrize(
    "override", ["budget.trials=99", "tracking.enabled=false", "description=words", "budget.seconds=3"]
)
def test_identity_ignores_budget_tracking_and_description(tmp_path: Path, override: str) -> None:
    text = HEAD + "parameters: {shift: {}}\n"
    assert load(tmp_path, text, override).identity() == load(tmp_path, text).identity()


@pytest.mark.parametrize(
    "override",
    ["name=b", "search.seed=1", "search.sampler=qmc", "parameters.shift.low=-1", "parameters.passes=2",
     "metric=error", "objective.noise=0.1"],
)  # fmt: skip
def test_identity_sees_what_decides_the_trials(tmp_path: Path, override: str) -> None:
    text = HEAD + "parameters: {shift: {}}\n"
    assert load(tmp_path, text, override).identity() != load(tmp_path, text).identity()


def test_identity_is_plain_data_with_defaults_filled_in(tmp_path: Path) -> None:
    text = HEAD + "parameters: {shift: {}}\n"
    identity = load(tmp_path, text).identity()
    assert json.loads(json.dumps(identity)) == identity
    assert identity == load(tmp_path, text, "search.seed=0", "objective.iterations=5").identity()


def test_problem_names_file_and_line_of_the_deepest_key(tmp_path: Path) -> None:
    file = load(tmp_path, HEAD + "parameters:\n  shift:\n    low: -1\n", "search.seed=3")
    places = ("parameters.shift.low", "parameters.shift.high", "parameters", "budget.trials", "search.seed")
    where = [file.problem(place, "x").where.replace(f"{tmp_path}/", "") for place in places]
    assert where == [
        "study.yaml:5: parameters.shift.low",
        "study.yaml:4: parameters.shift.high",
        "study.yaml:3: parameters",
        "study.yaml: budget.trials",
        "--set search.seed",
    ]


def test_errors_of_opening_the_data_get_file_and_line(tmp_path: Path) -> None:
    text = HEAD + "parameters: {shift: {}}\n"
    file = load(tmp_path, text)
    with pytest.raises(InputError) as caught, file.locating():
        raise InputError(Problem("objective.data", "is gone", "find it"))
    assert str(caught.value) == f"{file.path}:2: objective.data: is gone; find it"


def test_all_mistakes_come_at_once_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = """\
name: a b
objective:
  name: tests.autotune.toy:toy
  iteratoins: 3
  optimum: {method: fst}
parameters:
  shift: {low: 300, high: 120}
  passes: true
search: {sampler: gpp}
budget: {trials: many, seconds: .inf}
budget: 3
"""
    assert [line.split(": ")[0] for line in complaints(tmp_path, text)] == [
        f"study.yaml:{line}" for line in (1, 4, 5, 7, 8, 9, 10, 10, 11)
    ]


def test_the_promised_wording(tmp_path: Path) -> None:
    text = HEAD + "parameters:\n  shift: {low: 300, high: 120}\nsearch: {smapler: gp}\n"
    assert complaints(tmp_path, text) == [
        "study.yaml:4: parameters.shift.low: 300 is not below high (120)",
        "study.yaml:5: search.smapler: there is no key 'smapler' here; did you mean 'sampler'?",
    ]


PLAN_MISTAKES = [
    ("{shfit: {}}", "parameters.shfit: there is no parameter 'shfit'; did you mean 'shift'?"),
    ("{tilt: {low: 1}}", "parameters.tilt: high must be given; tilt (degree) has no default range"),
    ("{shift: {low: 3}}", "parameters.shift.low: 3 is not below high (2, the default); give high as well"),
    ("{shift: {high: -3}}", "parameters.shift.high: -3 is not above low (-2, the default); give low as well"),
    ("{shift: {high: 11}}", "parameters.shift.high: 11 is above the limit; the most is 10 angstrom"),
    ("{shift: {low: -11}}", "parameters.shift.low: -11 is below the limit; the least is -10 angstrom"),
    ("{passes: {low: 1.5}}", "parameters.passes.low: 1.5 is not a whole number; passes takes whole numbers"),
    (
        "{shift: {low: -1, log: true}}",
        "parameters.shift.low: -1 is not above 0; a logarithmic scale needs low above 0",
    ),
    (
        "{shift: {log: true}}",
        "parameters.shift.log: low -2 is not above 0; a logarithmic scale needs low above 0",
    ),
    ("{rate: {low: 0}}", "parameters.rate.low: 0 is below the limit; the least is 1e-06"),
    (
        "{shift: {choices: [a, b]}}",
        "parameters.shift.choices: shift is a number, without choices; give low and high",
    ),
    ("{shift: {initial: 2.5}}", "parameters.shift.initial: 2.5 is outside the range -2 to 2"),
    ("{shift: {initial: mid}}", "parameters.shift.initial: 'mid' is not a number; shift is in angstrom"),
    (
        "{passes: {initial: 2.5}}",
        "parameters.passes.initial: 2.5 is not a whole number; passes takes whole numbers",
    ),
    (
        "{method: {choices: [plain, fsat]}}",
        "parameters.method.choices: 'fsat' is not a choice of method; did you mean 'fast'?",
    ),
    (
        "{method: {low: 1}}",
        "parameters.method.low: method is not a number; it has choices: plain, fast, slow",
    ),
    (
        "{method: {choices: [plain, fast], initial: slow}}",
        "parameters.method.initial: 'slow' is not one of the choices: plain, fast",
    ),
    (
        "{method: {initial: 3}}",
        "parameters.method.initial: 3 is not a choice of method; known: fast, plain, slow",
    ),
    ("{rate: {}, shift: 12}", "parameters.shift: 12 is above the limit; the most is 10 angstrom"),
    ("{rate: {}, shift: left}", "parameters.shift: 'left' is not a number; shift is in angstrom"),
    ("{rate: {}, passes: 1.5}", "parameters.passes: 1.5 is not a whole number; passes takes whole numbers"),
    ("{rate: {}, method: 3}", "parameters.method: 3 is not a choice of method; known: fast, plain, slow"),
    ("{rate: {}, mode: 3}", "parameters.mode: there is no parameter 'mode'; did you mean 'method'?"),
]


@pytest.mark.parametrize(("parameters", "message"), PLAN_MISTAKES, ids=[p for p, _ in PLAN_MISTAKES])
def test_mistakes_against_the_objective(tmp_path: Path, parameters: str, message: str) -> None:
    assert complaints(tmp_path, f"{HEAD}parameters: {parameters}\n") == [f"study.yaml:3: {message}"]


def test_mistakes_against_the_objective_come_at_once(tmp_path: Path) -> None:
    text = f"{HEAD}parameters: {{shfit: 1, tilt: {{}}, passes: {{high: 1000}}}}\nmetric: consitency\n"
    assert [line.split(": ")[1] for line in complaints(tmp_path, text)] == [
        "parameters.shfit", "parameters.tilt", "parameters.passes.high", "metric.name",
    ]  # fmt: skip


def test_a_parameter_without_default_must_be_tuned_or_fixed(tmp_path: Path) -> None:
    class Demanding(Toy):
        def parameters(self) -> Sequence[Parameter]:
            return (*super().parameters(), Parameter("voltage", "kV", "mismatch", None))

    objective = Demanding(ToySettings())
    text = HEAD + "parameters:\n  shift: {}\n"
    with pytest.raises(InputError, match=r"yaml:3: parameters: voltage \(kV\) must be given; it has no default"):
        plan_study(load(tmp_path, text), objective)
    assert plan_study(load(tmp_path, text, "parameters.voltage=80"), objective).fixed == {"voltage": 80.0}


def test_schema_describes_the_file() -> None:
    schema = study_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(schema["properties"]) == set(StudySpec.model_fields)
    assert schema["required"] == ["name", "objective", "parameters"]
    assert schema["additionalProperties"] is False
    assert all("description" in p for p in schema["properties"].values())
    names = [schema["$defs"][b["$ref"].rpartition("/")[2]]["properties"]["name"]["const"]
             for b in schema["$defs"]["ObjectiveSpec"]["oneOf"] if "$ref" in b]  # fmt: skip
    assert "ptychography" in names


def test_every_reference_of_the_schema_leads_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.autotune.toy import toy

    monkeypatch.setattr("autotune.study.schema.objective_names", lambda: ["toy"])
    monkeypatch.setattr("autotune.study.schema.find_objective_type", lambda name: toy)
    schema = study_schema()
    text = json.dumps(schema)
    references = {part.split('"')[0] for part in text.split('"#/$defs/')[1:]}
    assert {"objective.toy", "objective.toy.Optimum", "ParameterSpec"} <= references
    assert references <= set(schema["$defs"])
    assert schema["$defs"]["objective.toy"]["properties"]["iterations"]["maximum"] == 1000


def test_loading_a_study_imports_neither_torch_nor_optuna_nor_mlflow(tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "study.yaml").write_text(HEAD + "parameters: {shift: {}}\n", encoding="utf-8")
    code = (
        "import sys, pathlib; from autotune.study import load_study, plan_study\n"
        "f = load_study(pathlib.Path(sys.argv[1])); plan_study(f, f.open())\n"
        "print(sorted({'torch', 'optuna', 'mlflow', 'scipy'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "study.yaml")],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


class Switched(Toy):
    """A toy whose angle acts only where its stretch is not 0, and which knows why a parameter is absent."""

    def parameters(self) -> list[Parameter]:
        return [
            Parameter("shift", "1", "mismatch", 0.0, low=-1, high=1),
            Parameter("stretch", "1", "mismatch", 0.0, low=-1, high=1),
            Parameter("angle", "degree", "mismatch", 0.0, low=0, high=180, idle_while=(("stretch", (0.0,)),)),
        ]

    def why_absent(self, name: str) -> str:
        return "state the aperture" if name == "defocus" else ""


def switched(folder: Path, parameters: str) -> list[str]:
    file = load(folder, f"{HEAD}parameters: {parameters}\n")
    try:
        plan_study(file, Switched(ToySettings()))
    except InputError as error:
        return [str(problem).replace(f"{folder}/", "") for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "parameters",
    ["{angle: {}}", "{angle: {}, stretch: 0}", "{angle: 30, shift: {}}", "{angle: 30, stretch: 0, shift: {}}"],
)
def test_a_stated_parameter_that_has_no_effect_is_refused(tmp_path: Path, parameters: str) -> None:
    assert switched(tmp_path, parameters) == [
        "study.yaml:3: parameters.angle: angle has no effect while stretch is held at 0; "
        "tune stretch too, or fix it at another value"
    ]


@pytest.mark.parametrize(
    "parameters",
    ["{angle: {}, stretch: 0.5}", "{angle: {}, stretch: {}}", "{angle: 30, stretch: {}}", "{angle: 0, shift: {}}"],
)
def test_a_parameter_that_has_an_effect_is_tuned(tmp_path: Path, parameters: str) -> None:
    assert switched(tmp_path, parameters) == []


def test_an_objective_may_say_why_a_parameter_is_absent(tmp_path: Path) -> None:
    assert switched(tmp_path, "{defocus: {}, strech: {}}") == [
        "study.yaml:3: parameters.defocus: there is no parameter 'defocus'; state the aperture",
        "study.yaml:3: parameters.strech: there is no parameter 'strech'; did you mean 'stretch'?",
    ]


@pytest.mark.parametrize("count", [0, 2, 6, 1000])
def test_how_often_the_measurement_is_repeated(count: int, tmp_path: Path) -> None:
    text = HEAD + "parameters: {shift: {}}\n"
    assert load(tmp_path, text, f"intervals.replicates={count}").spec.intervals.replicates == count
    assert load(tmp_path, text).spec.intervals.replicates == 6


@pytest.mark.parametrize("count", ["1", "-1", "1001", "2.5"])
def test_repetitions_that_make_no_sense(count: str, tmp_path: Path) -> None:
    """Among them 1, which says nothing about a scatter."""
    (found,) = complaints(tmp_path, HEAD + f"parameters: {{shift: {{}}}}\nintervals: {{replicates: {count}}}\n")
    assert "study.yaml:4" in found and "intervals.replicates" in found and count in found
    assert ("give 0, or at least 2" in found) == (count == "1")
