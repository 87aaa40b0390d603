from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from autotune.objective import InputError, KnowsTruth, ObjectiveType, Simulates, find_objective_type
from autotune.testing import ObjectiveTypeConformance
from objectives.diffraction.data.formats.autotune_hdf5 import write_measurement
from objectives.ptychography.plugin import Ptychography, ptychography
from objectives.ptychography.settings import PtychographySettings
from tests.objectives.ptychography.scenes import LENS, free, near

SIMULATE = LENS.model_dump(mode="json") | {"mismatch": {"defocus": [60.0, 100.0], "scan_rotation": 4.0}}
SETTINGS: dict[str, Any] = {"data": {"file": "demo.h5"}, "simulate": SIMULATE, "precision": "float64", "device": "cpu"}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    ptychography.simulate(PtychographySettings.model_validate(SETTINGS), folder=folder, output=None)
    return folder


class TestType(ObjectiveTypeConformance):
    name: ClassVar[str | None] = "ptychography"
    _folder: Path

    @pytest.fixture(autouse=True)
    def _use(self, simulated: Path) -> None:
        self._folder = simulated

    def objective_type(self) -> ObjectiveType:
        return ptychography

    def settings(self) -> Mapping[str, Any]:
        return SETTINGS

    def folder(self) -> Path:
        return self._folder


def opened(folder: Path, **settings: Any) -> Any:
    return ptychography.open(PtychographySettings.model_validate({**SETTINGS, **settings}), folder=folder)


def refusal(folder: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        opened(folder, **settings)
    return str(caught.value)


def test_simulates_and_reveals_its_truth(simulated: Path) -> None:
    assert isinstance(ptychography, Simulates)
    problem = opened(simulated)
    assert isinstance(problem, KnowsTruth)
    truth = problem.truth()
    assert set(truth) == {"defocus", "scan_rotation"} and truth["scan_rotation"] == 4.0
    assert 60 <= truth["defocus"] <= 100
    values = {**truth, "iterations": 10}
    at = problem.evaluate(values, metric="consistency", seed=0).metrics["consistency"]
    off = problem.evaluate({**values, "defocus": truth["defocus"] + 20}, metric="consistency", seed=0)
    assert at > off.metrics["consistency"] + 1e-3


def test_facts_of_a_simulation_keep_the_truth_hidden(tmp_path: Path) -> None:
    settings = PtychographySettings.model_validate(SETTINGS)
    facts = ptychography.simulate(settings, folder=tmp_path, output=tmp_path / "elsewhere.h5")
    assert facts["measurement"].endswith("elsewhere.h5") and facts["patterns"] == "25 of 24 x 24 pixels"
    assert not any("defocus" in text or "rotation" in text for text in facts.values())
    assert (tmp_path / "elsewhere.truth.json").exists() and not (tmp_path / "demo.h5").exists()


def test_without_simulate_there_is_no_truth(simulated: Path) -> None:
    problem = ptychography.open(PtychographySettings.model_validate({"data": {"file": "demo.h5"}}), folder=simulated)
    assert isinstance(problem, KnowsTruth) and problem.truth() == {}


def test_not_simulated_yet(tmp_path: Path) -> None:
    message = refusal(tmp_path)
    assert "demo.h5" in message and "not simulated yet" in message and "autotune simulate" in message


def test_measurement_missing_beside_its_truth(simulated: Path, tmp_path: Path) -> None:
    (tmp_path / "demo.truth.json").write_bytes((simulated / "demo.truth.json").read_bytes())
    assert "not simulated yet" in refusal(tmp_path)


def test_simulated_with_other_settings(simulated: Path) -> None:
    message = refusal(simulated, simulate={**SIMULATE, "seed": 4})
    assert "other settings" in message and "autotune simulate" in message


def test_nothing_to_simulate(tmp_path: Path) -> None:
    for settings, where in (
        ({"data": {"file": "demo.h5"}}, "objective.simulate"),
        ({"data": {"record": "mos2_60kv"}, "simulate": {}}, "objective.data.file"),
    ):
        with pytest.raises(InputError, match=where):
            ptychography.simulate(PtychographySettings.model_validate(settings), folder=tmp_path, output=None)


def test_precision_and_device_are_taken(simulated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "float64" in opened(simulated).summary()["backend"]
    assert "float32" in opened(simulated, precision="float32").summary()["backend"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "cpu" in opened(simulated, device="auto").summary()["backend"]
    assert "objective.device" in refusal(simulated, device="cuda")


@pytest.mark.parametrize("measured", [free, near], ids=["free", "near"])
def test_opens_other_kinds_of_measurement(measured, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    write_measurement(tmp_path / "m.h5", measured())
    problem = ptychography.open(PtychographySettings.model_validate({"data": {"file": "m.h5"}}), folder=tmp_path)
    assert problem.summary()["content hash"] == measured().content_hash
    assert problem.evaluate({"iterations": 1}, metric="consistency", seed=0).metrics["consistency"] > 0


def test_naming_the_type_does_not_import_torch() -> None:
    program = (
        "import sys; from autotune.objective import find_objective_type; "
        "find_objective_type('ptychography').settings.model_json_schema(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_found_by_its_dotted_path() -> None:
    assert isinstance(find_objective_type("objectives.ptychography.plugin:ptychography"), Ptychography)


def test_simulate_writes_to_the_home_folder_where_open_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = SETTINGS | {"data": {"file": "~/demo.h5"}}
    ptychography.simulate(PtychographySettings.model_validate(settings), folder=tmp_path / "study", output=None)
    assert (tmp_path / "demo.h5").is_file()
    assert opened(tmp_path / "study", data={"file": "~/demo.h5"}).truth()
