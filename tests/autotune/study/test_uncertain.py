"""Held values that are not known exactly: how a study states them, and what its plan makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from autotune.errors import InputError
from autotune.objective import Parameter
from autotune.study import load_study
from autotune.study.plan import Plan, plan_study
from tests.autotune.toy import Toy


class Unsure(Toy):
    """The toy, with an aperture that is known to within 0.2."""

    def parameters(self) -> Sequence[Parameter]:
        aperture = Parameter(
            "aperture", "mrad", "mismatch", 24.0, low=20, high=30, differentiable=True, uncertainty=0.2, maximum=24.1
        )
        return (*super().parameters(), aperture)


def plan(folder: Path, *parameters: str) -> Plan:
    path = folder / "study.yaml"
    entries = "".join(f"  {entry}\n" for entry in ("shift: {low: -1, high: 1}", *parameters))
    path.write_text(
        f"name: s\nobjective: {{name: 'tests.autotune.toy:toy'}}\nparameters:\n{entries}"
        "metric: {name: consistency, split: in_sample}\n",
        encoding="utf-8",
    )
    file = load_study(path)
    toy = file.open()
    toy.__class__ = Unsure
    return plan_study(file, toy)


def test_the_objective_says_how_well_its_default_is_known(tmp_path: Path) -> None:
    """24.2 is beyond the parameter's maximum, so the step is downwards."""
    assert plan(tmp_path).uncertain == {"aperture": (24.0, 23.8)}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("aperture: 23.0", {"aperture": (23.0, 23.2)}),
        ("aperture: {value: 23.0, uncertainty: 0.05}", {"aperture": (23.0, 23.05)}),
        ("aperture: {value: 23.0, uncertainty: 0}", {}),
        ("aperture: {low: 22, high: 24}", {}),
        ("tilt: {value: 3.0, uncertainty: 0.5}", {"aperture": (24.0, 23.8), "tilt": (3.0, 3.5)}),
    ],
)
def test_a_study_states_it(entry: str, expected: dict[str, tuple[float, float]], tmp_path: Path) -> None:
    found = plan(tmp_path, entry)
    assert {name: pytest.approx(pair) for name, pair in found.uncertain.items()} == expected
    if "value" in entry:
        assert found.fixed[entry.split(":")[0]] in (23.0, 3.0)


@pytest.mark.parametrize(
    ("entry", "quoted"),
    [
        ("aperture: {value: 23.0, uncertainty: -1}", ["uncertainty", "-1", "0 or more"]),
        ("aperture: {value: 23.0}", ["aperture", "uncertainty"]),
        ("aperture: {value: 23.0, uncertainty: 0.1, low: 1}", ["low"]),
        ("passes: {value: 3, uncertainty: 0.1}", ["passes", "not a quantity"]),
        ("rate: {value: 0.1, uncertainty: 0.1}", ["rate", "not a quantity"]),
        ("aperture: {value: 99.0, uncertainty: 0.1}", ["99", "24.1"]),
    ],
)
def test_mistakes_are_named(entry: str, quoted: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        plan(tmp_path, entry)
    for part in quoted:
        assert part in str(caught.value)


@pytest.mark.parametrize("changes", [{"in_quadrature": 0.0}, {"in_quadrature": 0.1, "by_square": False}])
def test_what_adds_in_quadrature_adds_to_what_acts_by_its_square(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="what adds in quadrature is above 0"):
        Parameter("a", "1", "mismatch", 1.0, **{"minimum": 0.0, "by_square": True, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{"minimum": None}, {"minimum": -1.0}, {"type": "int"}])
def test_only_a_number_that_is_not_negative_acts_by_its_square(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="whose minimum is 0 can act by its square"):
        Parameter("a", "1", "mismatch", 1, **{"minimum": 0.0, "by_square": True, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{"uncertainty": -0.1}, {"uncertainty": 0.1, "type": "int"}])
def test_a_parameter_whose_uncertainty_makes_no_sense_is_refused(changes: dict[str, object]) -> None:
    stated = changes
    with pytest.raises(ValueError, match="only a float parameter has an uncertainty, of 0 at least"):
        Parameter("a", "1", "mismatch", 1.0, **stated)  # type: ignore[arg-type]
