"""Cheap evaluations, earlier studies and pruners through the command: what is shown, kept, refused and repeated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autotune.study import load_study, plan_study
from tests.end_to_end.studies import STUDY, Place, autotune, make_place
from tests.end_to_end.test_demo_like import STUDY as SMALL

pytestmark = pytest.mark.usefixtures("in_memory")

CHEAP: dict[str, Any] = SMALL | {
    "parameters": {"defocus": {"low": 0, "high": 250}, "iterations": 20},
    "search": {"sampler": "gp", "seed": 1, "fidelity": {"iterations": 3, "scan_fraction": 0.25}},
    "budget": {"trials": 11},
}


def cheap_cost(place: Place) -> float:
    file = load_study(place.folder / "study.yaml", ())
    return plan_study(file, file.open()).costs[1]


@pytest.mark.slow
def test_a_study_with_cheap_evaluations(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write(CHEAP)
    assert autotune("simulate", study) == 0
    assert autotune("check", study) == 0
    cost = cheap_cost(place)
    assert 0.05 < cost < 0.5
    assert f"iterations 3, scan_fraction 0.25 ({cost:.2f} of a full one)" in capsys.readouterr().out

    assert autotune("run", study) == 0
    out = capsys.readouterr().out
    trials, result = place.trials("small"), place.result("small")
    full = [trial for trial in trials if trial.level == 0]
    cheap = [trial for trial in trials if trial.level == 1]
    assert len(trials) == 11 and len(cheap) >= 6 and any(trial.level == 0 for trial in trials[-4:])
    expected = len(full) + len(cheap) * cost
    assert result["cost"]["reconstruction_equivalents"] == pytest.approx(expected)
    assert f"Cost: {expected:.3g} full reconstructions' worth" in out
    assert out.count(" (cheap); best ") == len(cheap)
    assert {len(trial.curve["consistency"]) for trial in cheap} == {3}
    assert {len(trial.curve["consistency"]) for trial in full} == {20}
    # The best is a full one, whatever the cheap ones reach.
    assert result["metric"]["best"] == max(trial.metrics["consistency"] for trial in full)
    assert result["parameters"]["defocus"]["interval"] is not None
    truth = json.loads(next(place.folder.glob("small*truth*")).read_text())["truth"]["defocus"]
    assert abs(result["parameters"]["defocus"]["best"] - truth) < 25


@pytest.mark.slow
def test_stopped_and_continued_it_asks_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, levels and what was expected; also the same again in another place, since seeds are equal."""
    seen = []
    for name, budgets in (("undisturbed", (9,)), ("stopped", (3, 6, 9))):
        place = make_place(tmp_path / name, monkeypatch)
        study = place.write(CHEAP | {"budget": {"seconds": 1e6}})
        assert autotune("simulate", study) == 0
        # A budget of trials that is used up ends with a full evaluation, so the interruption is another one here.
        for trials in budgets:
            stop_after(place, study, trials, monkeypatch)
        seen.append([(t.values, t.level, t.expected_improvement, t.metrics) for t in place.trials("small")])
    assert len(seen[0]) == 9 and {level for _, level, _, _ in seen[0]} == {0, 1}
    assert seen[0] == seen[1]


def stop_after(place: Place, study: str, trials: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run until so many trials have ended; then Ctrl-C between two trials."""
    from autotune.runs.loop import Loop

    ordinary = Loop._next

    def following(self: Loop) -> Any:
        if len(self._study.tuner.counted()) >= trials:
            raise KeyboardInterrupt
        return ordinary(self)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_next", following)
        assert autotune("run", study, "--quiet") == 130
    assert len(place.trials("small")) == trials


@pytest.mark.slow
def test_a_budget_in_reconstructions_is_kept(place: Place) -> None:
    study = place.write(CHEAP | {"budget": {"reconstructions": 3.0}})
    assert autotune("simulate", study) == 0
    assert autotune("run", study, "--quiet") == 0
    result, trials = place.result("small"), place.trials("small")
    assert result["reason"] == "the budget of 3 reconstructions is used"
    assert 1.5 < result["cost"]["reconstruction_equivalents"] <= 3.0 + 1e-9
    assert len(trials) > 4 and any(trial.level == 0 for trial in trials[-4:])


GP: dict[str, Any] = STUDY | {"search": {"sampler": "gp", "seed": 3}, "budget": {"trials": 12}}


def test_a_study_that_starts_from_an_earlier_one(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("run", place.write(GP), "--quiet") == 0
    warm = GP | {"name": "warm", "search": {"sampler": "gp", "seed": 4, "warm_start": "toy"}, "budget": {"trials": 3}}
    study = place.write(warm)
    assert autotune("check", study) == 0
    assert "learns from  toy" in capsys.readouterr().out
    assert autotune("run", study, "--quiet") == 0
    cold, best = place.result("toy")["metric"]["best"], place.result("warm")["metric"]["best"]
    assert best > 0.999 * cold  # after 3 trials what took the other 12
    assert place.result("warm")["parameters"]["shift"]["interval"] is None  # of too few trials of its own
    assert autotune("run", place.write(warm), "--quiet", "--trials", 5) == 0
    assert place.result("warm")["parameters"]["shift"]["interval"] is not None


@pytest.mark.parametrize(
    ("source", "changes", "complaint"),
    [
        ("nowhere", {}, "nowhere is no other study here"),
        ("warm", {}, "warm is no other study here"),
        ("toy", {"parameters": {"shift": {"low": -1, "high": 1}}}, "toy does not tune the same parameters (rate)"),
        ("toy", {"metric": "error"}, "toy tunes consistency, not error"),
    ],
)
def test_what_cannot_teach_is_refused(
    source: str, changes: dict[str, Any], complaint: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert autotune("run", place.write(), "--quiet") == 0
    capsys.readouterr()
    study = place.write(GP | {"name": "warm", "search": {"sampler": "gp", "warm_start": [source]}} | changes)
    assert autotune("run", study) == 2
    err = capsys.readouterr().err
    assert f"study.yaml:1: search.warm_start: {complaint}; name a finished study of the same kind" in err
    assert not place.trials("warm")


def test_a_study_without_a_finished_trial_teaches_nothing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    failing = STUDY | {"objective": STUDY["objective"] | {"fail_above": -5}}
    assert autotune("run", place.write(failing), "--quiet") == 4
    study = place.write(GP | {"name": "warm", "search": {"sampler": "gp", "warm_start": ["toy", "nowhere"]}})
    assert autotune("run", study) == 2
    err = capsys.readouterr().err
    assert "toy has no finished trial" in err and "nowhere is no other study here" in err


@pytest.mark.parametrize("pruner", ["curve", "median", "percentile"])
def test_a_pruner_saves_reconstructions(pruner: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {"search": {"sampler": "random", "seed": 1, "pruner": pruner}, "budget": {"trials": 14}}
    study = place.write(STUDY | changes)
    assert autotune("check", study) == 0
    assert f"pruner    {pruner}" in capsys.readouterr().out
    assert autotune("run", study, "--quiet") == 0
    trials, result = place.trials(), place.result()
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert pruned and result["trials"] == {"finished": 14 - len(pruned), "failed": 0, "pruned": len(pruned)}
    assert all(trial.equivalents == len(trial.curve["error"]) / 5 for trial in pruned)
    shares = [len(trial.curve["error"]) / 5 for trial in trials]
    assert result["cost"]["reconstruction_equivalents"] == pytest.approx(sum(shares))
    assert sum(shares) < 14
