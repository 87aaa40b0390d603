"""What ``objective.simulate`` takes for each engine, and what it refuses by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from objectives.ptychography.simulation.settings import LAYERS, Engine, SimulationSettings, SpecimenSettings
from objectives.ptychography.simulation.simulate import _ENGINES, engine

THICK: dict[str, Any] = {"builtin": "SrTiO3", "thickness_angstrom": 40.0}


@pytest.mark.parametrize(
    ("settings", "quoted"),
    [
        ({"specimen": THICK}, ["specimen", "'direct'", "engine: abtem"]),
        ({"mismatch": {"tilt_y": 1.0}}, ["mismatch.tilt_y", "'direct'", "engine: abtem"]),
        ({"specimen": THICK, "mismatch": {"thickness": 30.0}}, ["specimen and mismatch.thickness", "them out"]),
        ({"engine": "abtem"}, ["specimen is missing", "builtin: MoS2"]),
        ({"engine": "abtem", "specimen": {}}, ["exactly one of 'file' and 'builtin'", "neither"]),
        ({"engine": "abtem", "specimen": {"builtin": "MoS2", "file": "a.cif"}}, ["a.cif", "MoS2"]),
        ({"engine": "abtem", "specimen": {"builtin": "Unobtainium"}}, ["builtin", "SrTiO3"]),
        ({"engine": "abtem", "specimen": {"builtin": "WS2", "thickness_angstrom": 30}}, ["30", "WS2", "SrTiO3"]),
        (
            {"engine": "abtem", "specimen": {"builtin": "WS2"}, "mismatch": {"thickness": 30}},
            ["mismatch.thickness", "WS2 is one layer"],
        ),
        (
            {"engine": "abtem", "specimen": THICK, "mismatch": {"thickness": [30, 50]}},
            ["mismatch.thickness and specimen.thickness_angstrom"],
        ),
        (
            {"engine": "abtem", "specimen": THICK | {"tilt_x": 2.0}, "mismatch": {"tilt_x": [-5, 5]}},
            ["mismatch.tilt_x and specimen.tilt_x"],
        ),
        (
            {"engine": "abtem", "specimen": {"builtin": "SrTiO3"}, "mismatch": {"thickness": [0, 50]}},
            ["mismatch.thickness: 0 is not above 0"],
        ),
        (
            {"engine": "abtem", "specimen": THICK | {"vibration_angstrom": 0.1}},
            ["vibration_angstrom 0.1", "state frozen_phonons"],
        ),
        ({"engine": "abtem", "specimen": THICK | {"vacancies": 1.0}}, ["vacancies", "less than 1"]),
        ({"engine": "abtem", "specimen": THICK | {"slice_thickness_angstrom": 0}}, ["slice_thickness_angstrom"]),
        ({"engine": "prism", "specimen": THICK}, ["engine", "'direct'", "'abtem'"]),
        ({"mismatch": {"focus": 1.0, "tilt": 2.0}}, ["mismatch.focus", "mismatch.tilt ", "thickness"]),
    ],
)
def test_refusals_name_what_is_wrong(settings: dict[str, Any], quoted: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        SimulationSettings.model_validate(settings)
    for part in quoted:
        assert part in str(caught.value)


def test_layers_need_no_thickness_and_crystals_take_one() -> None:
    for name in LAYERS:
        SimulationSettings.model_validate({"engine": "abtem", "specimen": {"builtin": name}})
    SimulationSettings.model_validate(
        {
            "engine": "abtem",
            "specimen": {"builtin": "SrTiO3", "tilt_x": 2.0},
            "mismatch": {"thickness": [30, 50], "tilt_y": 1},
        }
    )


def test_specimen_file_is_relative_to_the_study(tmp_path: Path) -> None:
    stated = SimulationSettings(engine="abtem", specimen=SpecimenSettings(file=Path("cell.cif")))
    resolved = stated.resolved(tmp_path)
    assert resolved.specimen is not None and resolved.specimen.file == tmp_path / "cell.cif"
    assert stated.specimen is not None and stated.specimen.file == Path("cell.cif")
    absolute = stated.model_copy(update={"specimen": SpecimenSettings(file=tmp_path / "other.cif")})
    assert absolute.resolved(Path("elsewhere")) == absolute
    assert SimulationSettings().resolved(tmp_path) == SimulationSettings()


@pytest.mark.parametrize("specimen", [{"builtin": "MoS2"}, {"builtin": "SrTiO3", "frozen_phonons": 2, "tilt_y": 3.0}])
def test_settings_survive_being_written_and_read(specimen: dict[str, object]) -> None:
    """The truth's file keeps them in full; read back they mean the same."""
    settings = SimulationSettings.model_validate({"engine": "abtem", "specimen": specimen})
    assert SimulationSettings.model_validate(settings.model_dump(mode="json")) == settings


def test_what_the_specimen_states_is_truth() -> None:
    specimen = {"builtin": "SrTiO3", "thickness_angstrom": 20, "tilt_y": 3}
    stated = {"engine": "abtem", "specimen": specimen, "mismatch": {"defocus": 50}}
    assert SimulationSettings.model_validate(stated).stated_truth == {"thickness", "tilt_y", "defocus"}
    assert SimulationSettings.model_validate({"mismatch": {"defocus": 50}}).stated_truth == {"defocus"}


def test_every_engine_that_can_be_stated_has_a_module() -> None:
    assert tuple(_ENGINES) == get_args(Engine)
    assert all(callable(engine(name)) for name in _ENGINES)
