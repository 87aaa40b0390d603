"""Simulate, check, run, review: the whole line on a ptychography small enough for a test."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.end_to_end.studies import Place, autotune

STUDY = {
    "name": "small",
    "objective": {
        "name": "ptychography",
        "data": {"file": "small.h5"},
        "device": "cpu",
        "simulate": {
            "seed": 5,
            "angular_sampling_mrad": 3.0,
            "detector_pixels": 24,
            "scan_points": 8,
            "scan_step_angstrom": 1.2,
            "mismatch": {"defocus": [60, 180], "scan_rotation": 0.0},
        },
    },
    "parameters": {"defocus": {"low": 0, "high": 250}, "iterations": 6},
    "search": {"sampler": "gp", "seed": 0},
    "budget": {"trials": 9},
    "tracking": {"enabled": False},
    "report": False,
}


def test_simulate_check_run_result(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write(STUDY)
    assert autotune("run", study) == 2
    assert "was not simulated yet; make it with `autotune simulate STUDY`" in capsys.readouterr().err
    assert not place.home.folder.exists()
    assert autotune("simulate", study) == 0
    assert autotune("check", study) == 0
    out = capsys.readouterr().out
    assert "64 of 24 x 24 pixels" in out and "0 to 250" in out
    truth = json.loads(next(place.folder.glob("small*truth*")).read_text())["truth"]["defocus"]
    assert f"{truth:.4g}" not in out  # hidden until the search is over

    assert autotune("run", study) == 0
    out = capsys.readouterr().out
    result = place.result("small")
    found = result["parameters"]["defocus"]
    assert abs(found["best"] - truth) < 10, (found, truth)  # angstrom, of a range of 250
    assert 0.9 < result["metric"]["fraction_of_ceiling"] < 1.05
    row = next(line.split() for line in out.splitlines() if line.strip().startswith("defocus"))
    assert found["interval"][0] - 5 < truth < found["interval"][1] + 5  # angstrom; the model of a few pixels is biased
    assert row[:2] == ["defocus", f"{found['best']:.5g}"] and row[3] == ".."
    parts = found["half_widths"]
    assert row[5:7] == [f"±{parts['noise_and_search']:.2g},", f"±{parts['model']:.2g}"]
    verdict = found["verdict"].split("_")
    assert row[7:] == [f"{truth:.5g}", f"{found['best'] - truth:.5g}", "angstrom", *verdict]

    best = Path(result["artifacts"]) / "trials" / f"{result['best_trial']:05d}"
    assert (best / "reconstruction.png").read_bytes().startswith(b"\x89PNG")
    with h5py.File(best / "reconstruction.h5") as file:
        assert np.iscomplexobj(file["object"][()]) and file["object"].ndim >= 2
        assert file.attrs["consistency"] == result["metric"]["best"]


@pytest.mark.slow
def test_measurements_of_another_simulation_are_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write(STUDY)
    assert autotune("simulate", study) == 0
    assert autotune("run", study, "--quiet", "--trials", 1) == 0
    change = ("--set", "objective.simulate.seed=6")
    assert autotune("run", study, *change) == 2
    assert "was simulated with other settings" in capsys.readouterr().err
    assert autotune("simulate", study, *change) == 0
    assert autotune("run", study, *change) == 2
    err = capsys.readouterr().err
    assert "- content_hash: " in err and "+ objective.simulate.seed: 6" in err
    assert autotune("run", study, *change, "--fresh", "--quiet", "--trials", 1) == 0
