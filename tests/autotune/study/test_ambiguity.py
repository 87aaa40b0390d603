"""What a plan says of parameters that another unknown makes up for, and that ``check`` warns of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from autotune.objective import Parameter, Twin, Value
from autotune.study import load_study
from autotune.study.plan import Plan, plan_study
from objectives.ptychography.parameters.instrument import parameters_of
from tests.autotune.toy import Toy
from tests.objectives.ptychography.scenes import free, lens, near

LENS = ("defocus", "astigmatism", "astigmatism_angle", "spherical_aberration", "convergence_angle")
SCALE, PROBE = "scale: {low: -5, high: 5}", "probe: {choices: [free, held]}"


class Scaled(Toy):
    """The toy, and a scale that a free probe makes up for."""

    def parameters(self) -> Sequence[Parameter]:
        free = {"made_up_by": "the probe", "made_up_while": (("probe", ("free",)),)}
        return (
            *super().parameters(),
            Parameter("scale", "%", "mismatch", 0.0, low=-5.0, high=5.0, **free),  # type: ignore[arg-type]
            Parameter("probe", "1", "solver", "free", type="categorical", choices=("free", "held")),
        )


class Twinned(Toy):
    """The toy, of which every answer has a twin where the scale is tuned."""

    twin_metric = "sign"

    def parameters(self) -> Sequence[Parameter]:
        return (*super().parameters(), Parameter("scale", "%", "mismatch", 0.0, low=-200.0, high=200.0))

    def twin(self, held: Mapping[str, Value | None]) -> Twin | None:
        return None if "scale" in held else Twin("sign", ("shift",), {"scale": 180.0}, "light is bright")


def plan(folder: Path, *parameters: str, kind: type[Toy] = Scaled) -> Plan:
    path = folder / "study.yaml"
    entries = "".join(f"  {entry}\n" for entry in parameters)
    objective, metric = "objective: {name: 'tests.autotune.toy:toy'}", "metric: {name: consistency, split: in_sample}"
    text = f"name: s\n{objective}\nparameters:\n{entries}{metric}\n"
    path.write_text(text, encoding="utf-8")
    file = load_study(path)
    toy = file.open()
    toy.__class__ = kind
    return plan_study(file, toy)


@pytest.mark.parametrize(
    ("parameters", "ambiguous"),
    [
        ((SCALE,), True),
        ((SCALE, "probe: free"), True),
        ((SCALE, "probe: held"), False),
        (("shift: {low: -1, high: 1}", "scale: 2.0"), False),
    ],
)
def test_while_others_are_held(parameters: tuple[str, ...], ambiguous: bool, tmp_path: Path) -> None:
    found = plan(tmp_path, *parameters)
    assert found.made_up_by({"scale": 1.0, "shift": 0.0}) == ({"scale": "the probe"} if ambiguous else {})
    assert len(found.warnings) == ambiguous
    if ambiguous:
        assert found.warnings[0].startswith("scale is tuned, but the probe makes up for it, so that its value cannot")


@pytest.mark.parametrize(("probe", "ambiguous"), [("free", True), ("held", False)])
def test_while_another_is_tuned_it_depends_on_the_values(probe: Value, ambiguous: bool, tmp_path: Path) -> None:
    found = plan(tmp_path, SCALE, PROBE)
    assert bool(found.made_up_by({"scale": 1.0, "probe": probe})) == ambiguous
    assert found.made_up_by({"probe": probe}) == {}
    assert any(warning.startswith("scale is tuned while probe is free, but") for warning in found.warnings)


def test_in_the_far_field_a_free_probe_makes_up_for_the_scale_and_in_the_near_field_not() -> None:
    known = {
        name: {p.name: p.made_up_while for p in parameters_of(measurement) if p.made_up_by}
        for name, measurement in (("free", free()), ("lens", lens()), ("near", near()))
    }
    refined = (("probe", ("refined",)),)
    assert known == {
        "free": {"scan_scale": refined},
        "lens": {
            "camera_length": refined,
            "scan_scale": refined,
            **dict.fromkeys(("center_offset_y", "center_offset_x"), (*refined, ("slices", (1,)))),
            **dict.fromkeys(LENS, refined),
        },
        "near": {},
    }


@pytest.mark.parametrize(
    ("turn", "has"), [("{low: -180, high: 180}", True), ("{low: -20, high: 20}", False), ("3.0", False)]
)
def test_a_twin_in_the_ranges_is_warned_of_and_sought(turn: str, has: bool, tmp_path: Path) -> None:
    found = plan(tmp_path, "shift: {low: -1, high: 1}", f"scale: {turn}", kind=Twinned)
    assert (found.aims.twin is not None) == has == bool(found.warnings)
    if has:
        assert found.warnings == [
            "an answer may have a twin that explains any data alike, with shift of the other sign and scale 180 % "
            "further; the one taken is that of sign above 0: light is bright"
        ]
