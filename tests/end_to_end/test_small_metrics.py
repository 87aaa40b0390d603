"""What the commands print of a metric that is small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from autotune.cli.confirm_tables import print_confirmation
from autotune.objective import Evaluation, Metric, Progress, Value, never_stop
from autotune.results.document import Confirmation
from autotune.tracking.registry import Calibration
from tests.autotune.results.example import CONFIRMATION
from tests.autotune.toy import BareToyType, ToySettings
from tests.end_to_end.studies import STUDY, Place, Quick, autotune

pytestmark = pytest.mark.usefixtures("in_memory")

SCALE = 1e-8


class Small(Quick):
    """The quick toy with a consistency of the size 1e-8."""

    def metrics(self) -> Sequence[Metric]:
        return (Metric("consistency", "maximize", noise_ceiling=SCALE),)

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        found = super().evaluate(values, metric=metric, seed=seed)
        consistency = found.metrics["consistency"] * SCALE
        progress(1, 2, {"consistency": consistency})
        gradient = {name: slope * SCALE for name, slope in found.gradient.items()}
        return replace(found, metrics={"consistency": consistency}, gradient=gradient, curve={})


class SmallType(BareToyType):
    """The small toy as an objective type."""

    def open(self, settings: BaseModel, *, folder: Path) -> Small:
        assert isinstance(settings, ToySettings)
        return Small(settings)


small = SmallType()


def test_a_small_metric_is_not_shown_as_zero(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> str:
        assert autotune(*arguments) == 0
        out = capsys.readouterr().out
        assert "0.00000" not in out
        return out

    study = place.write(STUDY, objective={"name": "tests.end_to_end.test_small_metrics:small"})
    assert "noise ceiling 1e-08" in said("check", study)
    ran = said("run", study)
    best = place.result()["metric"]["best"]
    assert 0 < best < SCALE
    text = f"{best:.6g}"
    assert "(noise ceiling 1e-08)" in ran and f"best {best:.5g} (trial" in ran and f"Best consistency {text}" in ran
    assert "of the noise ceiling 1e-08" in said("result", "toy")
    assert f"{text} consistency" in said("status")
    assert f"Best: consistency {text} in" in said("status", "toy")
    other = place.write(STUDY, objective={"name": "tests.end_to_end.test_small_metrics:small"}, name="other")
    said("run", other)
    assert text in said("compare", "toy", "other")
    assert f"{best:.8g}" in said("reproduce", "toy")
    said("confirm", other, "--candidates", "2", "--repeats", "2")


def test_a_small_difference_of_candidates_is_not_shown_as_zero(capsys: pytest.CaptureFixture[str]) -> None:
    def candidate(trial: int, behind: Any) -> dict[str, Any]:
        kept: dict[str, Any] = {"trial": trial, "values": {}, "recorded": 9e-9, "on_data": [9e-9, 8e-9], "failures": []}
        return kept | {"on_repeated": [], "behind": behind, "best_in": None}

    found = CONFIRMATION | {
        "study": "s", "complete": True, "metric": "loss", "noise": "", "rounds": 2, "repeats": 2, "seed_matters": True,
        "verdict": "v", "estimate": "", "examination_failed": "", "metrics": {},
        "candidates": [candidate(0, None), candidate(1, {"mean": 2.34e-9, "half_width": 1.2e-9})],
    }  # fmt: skip
    print_confirmation(Confirmation.model_validate(found))
    out = capsys.readouterr().out
    assert "9e-09" in out and "8.5e-09" in out and "2.3e-09" in out and "± 1e-09" in out
    found["candidates"] = [candidate(0, None), candidate(1, {"mean": 0.0234, "half_width": 0.0012})]
    print_confirmation(Confirmation.model_validate(found))
    out = capsys.readouterr().out
    assert "0.023" in out and "± 0.001" in out


def test_a_small_calibration_is_not_shown_as_zero(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Calibration("c", 1, "toy", "run", "loss", 1.04e-8, {}, "file:///nowhere")
    monkeypatch.setattr("autotune.tracking.registry.calibration", lambda name, alias: kept)
    assert autotune("calibration", "c") == 0
    assert "loss 1.04e-08\n" in capsys.readouterr().out
