"""``autotune result``: by name and by file, as text and as JSON; and that looking changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autotune.store.leases import Lease
from autotune.store.trials import TrialStore
from tests.end_to_end.studies import STUDY, Place, autotune

pytestmark = pytest.mark.usefixtures("in_memory")

PARAMETER = {
    "best", "estimate", "interval", "interval_of", "half_widths", "level", "unit", "kind", "verdict", "note", "choices",
    "sensitivity",
}  # fmt: skip


def as_json(study: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert autotune("result", study, "--json") == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_json_equals_the_file(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write()
    assert autotune("run", study, "--quiet") == 0
    kept = (place.home.study("toy") / "result.json").read_text(encoding="utf-8")
    for given in ("toy", study, "study.yaml"):
        assert autotune("result", given, "--json") == 0
        assert capsys.readouterr().out == kept
    other_name = place.folder / "study.txt"
    other_name.write_bytes((place.folder / "study.yaml").read_bytes())
    assert as_json(str(other_name), capsys) == json.loads(kept)
    (place.folder / "toy").write_text("a file that happens to be called as the study")
    assert as_json("toy", capsys) == json.loads(kept)


def test_the_schema_is_the_documented_one(place: Place) -> None:
    assert autotune("run", place.write(), "--quiet") == 0
    result, trials = place.result(), place.trials()
    assert list(result) == [
        "schema", "study", "status", "reason", "trials", "metric", "limits", "pareto", "parameters", "correlations",
        "noise", "confirmation", "best_trial", "remarks", "cost", "mlflow", "artifacts", "software", "seed",
    ]  # fmt: skip
    best = max(trials, key=lambda trial: trial.metrics["consistency"])
    assert (result["schema"], result["study"], result["status"]) == (1, "toy", "finished")
    assert result["reason"] == "the budget of 4 trials is used"
    assert result["trials"] == {"finished": 4, "failed": 0, "pruned": 0}
    value = best.metrics["consistency"]
    estimate = result["metric"]["estimate"]
    assert result["metric"] == {
        "name": "consistency", "best": value, "noise_ceiling": 1.0, "fraction_of_ceiling": value,
        "estimate": estimate, "deviation": result["metric"]["deviation"],
    }  # fmt: skip
    assert estimate >= value - 0.01 and result["metric"]["deviation"] > 0
    assert result["best_trial"] == best.number
    assert list(result["parameters"]) == ["shift", "rate"]
    assert all(set(parameter) == PARAMETER for parameter in result["parameters"].values())
    assert {name: parameter["best"] for name, parameter in result["parameters"].items()} == best.values
    assert [(p["unit"], p["kind"]) for p in result["parameters"].values()] == [
        ("angstrom", "mismatch"), ("1", "solver"),
    ]  # fmt: skip
    shift, rate = result["parameters"].values()
    for parameter, low, high in ((shift, -1, 1), (rate, 1e-3, 1.0)):
        assert low <= parameter["interval"][0] <= parameter["interval"][1] <= high
        assert low <= parameter["estimate"] <= high and parameter["level"] == 0.9
        assert set(parameter["sensitivity"]) == {"main", "total"} and parameter["choices"] is None
    assert result["correlations"]["shift"]["rate"] == result["correlations"]["rate"]["shift"]
    assert result["correlations"]["shift"]["shift"] == 1.0
    assert set(result["cost"]) == {
        "seconds",
        "evaluation_seconds",
        "reconstruction_equivalents",
        "interval_equivalents",
    }
    spent = result["cost"]["interval_equivalents"]
    assert spent >= 1 and result["noise"] == {"known_from": None, "replicates": 0, "equivalents": spent}
    assert {parameter["interval_of"] for parameter in result["parameters"].values()} == {"search"}
    assert result["cost"]["evaluation_seconds"] == pytest.approx(sum(trial.seconds for trial in trials))
    assert result["cost"]["seconds"] > result["cost"]["evaluation_seconds"] > 0
    assert result["cost"]["reconstruction_equivalents"] == 4.0
    posterior = json.loads((place.home.study("toy") / "posterior.json").read_text(encoding="utf-8"))
    assert {name: len(samples) for name, samples in posterior["samples"].items()} == {"shift": 512, "rate": 512}
    assert result["mlflow"] == {"tracking_uri": None, "experiment": None, "run_id": None}
    assert result["artifacts"] == str(place.home.study("toy"))
    assert {"autotune", "python", "torch", "optuna", "numpy"} <= set(result["software"])
    assert result["seed"] == 3


def test_a_table_for_people(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("run", place.write(), "--quiet") == 0
    assert autotune("result", "toy") == 0
    out = capsys.readouterr().out
    result = place.result()
    assert "Study toy: finished (the budget of 4 trials is used); 4 finished\n" in out
    best = result["metric"]["best"]
    assert f"Best consistency {best:.6f} in trial {result['best_trial']}, {100 * best:.2f} % of the noise" in out
    shift = next(line for line in out.splitlines() if line.strip().startswith("shift"))
    found = result["parameters"]["shift"]
    low, dots, high = shift.split()[2:5]
    for shown, end in zip((low, high.removesuffix("*")), found["interval"], strict=True):
        assert float(shown) == pytest.approx(end, abs=0.06 * (found["interval"][1] - found["interval"][0]))
    verdict = (found["verdict"] or "").replace("_", " ").split()
    assert shift.split()[:2] == ["shift", f"{found['best']:.5g}"] and dots == ".."
    assert shift.split()[5:] == ["angstrom", *verdict] and high.endswith("*")
    assert "90 % interval*" in out and "* of the search alone" in out
    assert "truth" not in out


def test_a_metric_without_a_ceiling_that_is_minimised(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("run", place.write(metric="error"), "--quiet") == 0
    result = place.result()
    assert result["metric"]["best"] == min(trial.metrics["error"] for trial in place.trials())
    assert (result["metric"]["noise_ceiling"], result["metric"]["fraction_of_ceiling"]) == (None, None)
    assert autotune("result", "toy") == 0
    assert "ceiling" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("toyy", "Error: study toyy: is not in {home}; did you mean 'toy'?"),
        ("completely-else", "Error: study completely-else: is not in {home}; known: toy"),
        ("nope.yaml", "Error: nope.yaml: no such file; name a study file, such as study.yaml"),
        ("other.yaml", "Error: study other: is not in {home}; known: toy"),
    ],
)
def test_an_unknown_study_is_bad_input(
    given: str, message: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert autotune("run", place.write(), "--quiet", "--trials", 1) == 0
    (place.folder / "other.yaml").write_text(json.dumps(STUDY | {"name": "other"}))
    before = place.files()
    assert autotune("result", given) == 2
    assert capsys.readouterr().err == message.format(home=place.home.folder) + "\n"
    assert place.files() == before


def test_looking_creates_nothing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write()
    assert autotune("check", study) == 0
    assert autotune("result", study) == 2
    assert capsys.readouterr().err == f"Error: study toy: is not in {place.home.folder}; none is known here\n"
    assert list(place.files()) == ["study.yaml"]
    assert autotune("run", study, "--quiet", "--trials", 1) == 0
    before = place.files()
    for command in (("check", study), ("result", study), ("result", "toy", "--json")):
        assert autotune(*command) == 0
    assert place.files() == before


def test_status_of_a_study_that_runs_and_of_one_whose_process_died(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert autotune("run", place.write(), "--quiet", "--trials", 2) == 0
    store = TrialStore.open(place.home.store_url, "toy")
    assert store is not None
    store.keep(status="running", reason="")  # as it is from the start of a run to its end
    store.study.ask()
    lease = Lease(store)
    lease.take()
    try:
        running = as_json("toy", capsys)
    finally:
        lease.give_back()
    assert (running["status"], running["reason"]) == ("running", "")
    assert running["trials"] == {"finished": 2, "failed": 0, "pruned": 0}
    dead = as_json("toy", capsys)
    assert (dead["status"], dead["reason"]) == ("stopped", "the process ended before the study did")
