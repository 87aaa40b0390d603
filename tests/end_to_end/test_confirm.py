"""``autotune confirm``: what a user sees, what is kept, what is refused, and Ctrl-C."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from tests.end_to_end.studies import GATED, STUDY, Place, autotune, make_gate, wait_for_evaluation
from tests.end_to_end.test_demo_like import STUDY as SMALL

pytestmark = pytest.mark.usefixtures("in_memory")


def rows(out: str) -> dict[str, list[str]]:
    """First word of a line -> the other words."""
    return {words[0]: words[1:] for line in out.splitlines() if (words := line.split())}


def test_a_second_opinion(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a study whose evaluations depend on the seed."""
    study = place.write(objective=STUDY["objective"] | {"noise": 0.01}, budget={"trials": 3})
    assert autotune("run", study, "--quiet") == 0
    before = place.result()
    assert before["confirmation"] is None
    assert autotune("confirm", study, "--candidates", 2, "--repeats", 3, "--json", "out.json") == 0
    out = capsys.readouterr().out
    found = json.loads((place.folder / "out.json").read_text(encoding="utf-8"))
    assert place.result() == before | {"confirmation": found}
    best, second = found["candidates"]
    assert best["trial"] == before["best_trial"] and len(best["on_data"]) == len(second["on_data"]) == 3
    assert "Second opinion on toy, the best trials evaluated again in full:\n" in out
    assert rows(out)["shift"] == [f"{c['values']['shift']:.5g}" for c in found["candidates"]]
    assert f"{sum(best['on_data']) / 3:.6f}" in out and f"{best['recorded']:.6f}" in out
    assert "Mean ± standard deviation of 3 fresh seeds, the same for all." in out
    assert f"Verdict: {found['verdict']}.\n" in out

    assert autotune("result", "toy") == 0
    shown = capsys.readouterr().out
    assert shown.endswith(out) and "Study toy: finished" in shown  # as it was printed, below the result
    assert autotune("result", "toy", "--json") == 0
    assert json.loads(capsys.readouterr().out)["confirmation"] == found
    assert autotune("confirm", study, "--repeats", 3, "--quiet") == 0
    assert capsys.readouterr().out == ""


def test_a_study_run_with_another_seed(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write(budget={"trials": 2})
    assert autotune("run", study, "--seed", 8, "--quiet") == 0
    assert autotune("confirm", study, "--seed", 8) == 0
    assert "Second opinion on toy-seed8" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study.yaml"], "Error: study toy: is not in {home}; run it first: autotune run study.yaml"),
        (["nope.yaml"], "Error: nope.yaml: no such file; name a study file, such as study.yaml"),
        (["study.yaml", "--json", "nowhere/x.json"], "Error: --json nowhere/x.json: its folder does not exist; "),
        (
            ["study.yaml", "--repeats", "1"],
            "Error: Invalid value for '--repeats': Input should be greater than or equal to 2",
        ),
        (
            ["study.yaml", "--candidates", "1"],
            "Error: Invalid value for '--candidates': Input should be greater than or equal to 2",
        ),
    ],
)
def test_bad_input(arguments: list[str], message: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write()
    before = place.files()
    assert autotune("confirm", *arguments) == 2
    err = capsys.readouterr().err
    assert message.format(home=place.home.folder) in err and "Traceback" not in err
    assert place.files() == before


@pytest.mark.slow
def test_the_whole_line(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Ptychography in worker processes: the ranking, and a close look at the best reconstruction."""
    study = place.write(SMALL)
    assert autotune("simulate", study) == 0
    assert autotune("run", study, "--quiet") == 0
    assert autotune("confirm", study, "--repeats", 4) == 0
    out = capsys.readouterr().out
    found: dict[str, Any] = place.result("small")["confirmation"]
    assert found["complete"] is True and found["noise"].startswith("Poisson")
    for candidate in found["candidates"]:
        assert len(candidate["on_repeated"]) == 4 and None not in candidate["on_repeated"]
        if candidate["trial"] is not None:
            assert candidate["on_data"] == [candidate["recorded"]]  # L-BFGS draws no random numbers
    assert "Another seed changes nothing here, so each was evaluated once; the measurement repeated 4 times" in out
    worst = found["candidates"][4]
    assert worst["behind"]["mean"] > worst["behind"]["half_width"] > 0 and worst["best_in"] == 0
    looked = {words[0]: words[1] for line in out.splitlines() if len(words := line.split()) > 2}
    for name in ("held_out_consistency", "poisson_deviance", "fraction_of_ceiling", "truth_correlation"):
        assert looked[name] == f"{found['metrics'][name]['value']:.5g}"
    assert 0.8 < found["metrics"]["truth_correlation"]["value"] < 1


@pytest.mark.slow
@pytest.mark.usefixtures("on_disk")
def test_interrupted_and_continued(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    gate = make_gate(place, 6)  # three trials, then the third evaluation of the confirmation
    study = place.write(GATED, budget={"trials": 3})
    assert autotune("run", study, "--quiet") == 0
    process = place.start("confirm", study)
    wait_for_evaluation(gate, 6, process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "Interrupted; what was evaluated is kept. The same command goes on.\n"
    part = place.result()["confirmation"]
    assert (part["complete"], part["evaluations"]) == (False, 2)
    (gate / "hold-6").unlink()
    assert autotune("result", "toy") == 0
    assert "(so far: it was interrupted)" in capsys.readouterr().out
    assert autotune("confirm", study) == 0
    whole = place.result()["confirmation"]
    assert (whole["complete"], whole["evaluations"]) == (True, 3)
    assert (gate / "began").read_text().count("evaluation") == 7
