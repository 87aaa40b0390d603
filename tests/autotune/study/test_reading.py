"""Reading study files: YAML 1.2, pydantic's complaints in plain words, and arbitrary input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autotune.errors import InputError
from autotune.study import load_study, plan_study
from autotune.study.error_messages import coercions, faults_of
from autotune.study.yaml_source import Fault, read_yaml

GOOD = """\
name: toy
objective: {name: 'tests.autotune.toy:toy'}
parameters: {shift: {}, method: {}}
"""

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("ab é漢:#'\"-[]{},&*!|>%@`?\\0.", max_size=12)
)
plain = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcdef", min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


PLACES = [
    "name",
    "objective",
    "objective.optimum",
    "parameters",
    "parameters.shift",
    "parameters.method.choices",
    "metric",
    "search",
    "budget.trials",
]


class Grid(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["grid"]
    step: float = Field(gt=0)


class Spiral(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["spiral"]
    turns: int


class Scanned(BaseModel):
    model_config = ConfigDict(extra="forbid")
    scan: Annotated[Grid | Spiral, Field(discriminator="kind")]
    files: list[Path] = []
    either: int | None = None


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (
            {"scan": {"kind": "grid", "stpe": 1, "step": 1}},
            Fault(("scan", "stpe"), "there is no key 'stpe' here", "did you mean 'step'?"),
        ),
        ({"scan": {"kind": "grid"}}, Fault(("scan", "step"), "is missing")),
        (
            {"scan": {"kind": "gird", "step": 1}},
            Fault(
                ("scan", "kind"),
                "'gird' is not valid",
                "it must be one of grid, spiral (did you mean 'grid'?)",
            ),
        ),
        (
            {"scan": {"step": 1}},
            Fault(("scan", "kind"), "is missing", "it says which of the forms of this map is meant"),
        ),
        (
            {"scan": {"kind": "spiral", "turns": 1}, "files": ["a", {}]},
            Fault(("files", 1), "{} is not valid", "it must be a path"),
        ),
        (
            {"scan": {"kind": "spiral", "turns": 1}, "either": "x"},
            Fault(("either",), "'x' is not valid", "it must be a whole number"),
        ),
    ],
)
def test_objective_settings_with_unions_are_explained(data: dict[str, object], fault: Fault) -> None:
    with pytest.raises(ValidationError) as caught:
        Scanned.model_validate(data)
    assert faults_of(caught.value, Scanned, data) == [fault]


@pytest.mark.parametrize(
    ("text", "value"),
    [("yes", "yes"), ("no", "no"), ("on", "on"), ("012", 12), ("0o14", 12), ("0x1F", 31), ("1e3", 1000.0),
     ("1_000", "1_000"),
     ("1:30", "1:30"), ("2026-01-31", "2026-01-31"), ("~", None), ("", None), ("true", True),
     ("'5'", "5"), (".5", 0.5), ("-3", -3), ("1.", 1.0), ("[1, {a: b}]", [1, {"a": "b"}])],
)  # fmt: skip
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    source = read_yaml(f"key: {text}\n", "f")
    assert source.faults == ()
    assert source.data == {"key": value}
    assert type(source.data["key"]) is type(value)


def test_slips_of_lax_validation_are_found() -> None:
    class Lax(BaseModel):
        counts: list[int]
        on: bool = False
        name: str = ""

    raw = {"counts": [1, "2", True], "on": 1, "name": "5"}
    assert coercions(raw, Lax.model_validate(raw).model_dump(), ("objective",)) == [
        Fault(("objective", "counts", 1), "'2' is not valid", "it must be a number"),
        Fault(("objective", "counts", 2), "true is not valid", "it must be a number"),
        Fault(("objective", "on"), "1 is not valid", "it must be true or false"),
    ]


def test_escaped_pairs_of_surrogates_are_one_character() -> None:
    r"""As JSON writes them, in values and in keys."""
    source = read_yaml(r'{"a": "\ud83d\ude00", "\ud83d\ude00": 1}', "study.yaml")
    assert source.data == {"a": "\U0001f600", "\U0001f600": 1} and not source.faults
    halves = read_yaml(r'{"\ud83d": 1, "b": 2}', "study.yaml")
    assert halves.data == {"b": 2} and halves.faults
    for problem in halves.problems(list(halves.faults)):
        str(problem).encode()


def test_half_a_character_is_refused() -> None:
    [fault] = read_yaml('a: "\\ud800"\n', "f").faults
    assert (fault.place, fault.line) == (("a",), 1)
    assert "surrogate" in fault.what


@given(st.dictionaries(st.text("abcxyz", min_size=1, max_size=4), plain, max_size=4))
def test_json_is_read_as_yaml(data: dict[str, object]) -> None:
    source = read_yaml(json.dumps(data), "f")
    assert source.faults == ()
    assert source.data == data


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text("ab:{}[]-,'\"&*!|>#% \n\t0.é", max_size=60).map(str.encode))
def test_any_other_bytes_are_an_input_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "study.yaml").write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_study(tmp_path / "study.yaml")
    assert all("study.yaml" in problem.where for problem in caught.value.problems)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(plain, st.sampled_from(PLACES))
def test_any_value_anywhere_loads_or_is_an_input_error(tmp_path: Path, value: object, place: str) -> None:
    override = f"{place}={json.dumps(value)}"
    study = tmp_path / "study.yaml"
    study.write_text(GOOD, encoding="utf-8")
    try:
        file = load_study(study, [override])
        plan_study(file, file.open())
    except InputError as error:
        assert all(place in problem.where for problem in error.problems)
    else:
        study.write_text(file.text, encoding="utf-8")
        assert load_study(study).spec == file.spec


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("? " * 1000, 1, "nested deeper than 20 levels"),
        ("[" * 5000, 1, "nested deeper than 20 levels"),
        ("- " * 5000, 1, "nested deeper than 20 levels"),
        ("{? {a: " * 3000, 1, "nested deeper than 20 levels"),
        ("".join(f"k{i}: {i}\n" for i in range(90_000)), 20_000, "holds more than 20000 values"),
        ("[" + "1," * 90_000 + "1]", 1, "holds more than 20000 values"),
        ("".join(f"k{i}: &a{i} 1\n" for i in range(50_000)), 50, "more than 48 mistakes"),
    ],
)
def test_depth_size_and_mistakes_have_limits(text: str, line: int, what: str) -> None:
    """Reading ends there: it takes no longer, and no more memory, for more of it."""
    with pytest.raises(InputError) as caught:
        read_yaml(text, "study.yaml")
    last = str(caught.value.problems[-1])
    assert what in last and last.startswith(f"study.yaml:{line}: ")
    assert len(caught.value.problems) <= 50


def test_of_many_problems_the_first_are_told_and_how_many_there_are(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(GOOD + "".join(f"wrong_{i}: 1\n" for i in range(4000)))
    with pytest.raises(InputError) as caught:
        load_study(study)
    assert len(caught.value.problems) == 50
    assert str(caught.value.problems[0]).startswith(f"{study}:4: wrong_0: ")
    assert str(caught.value.problems[-1]) == "and 3951 more problems like these"
