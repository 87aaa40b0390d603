"""Limits, several metrics, and gradient descent, through the commands."""

from __future__ import annotations

import pytest

from tests.end_to_end.studies import Place, autotune

pytestmark = pytest.mark.usefixtures("in_memory")

SHIFT_AND_RATE = {"shift": {"low": -1, "high": 1}, "rate": {}, "tilt": 4, "passes": 5, "method": "fast"}


def test_the_best_keeps_the_limits_and_the_result_says_so(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("run", place.write(), "--quiet") == 0
    free = place.result()
    errors = sorted(trial.metrics["error"] for trial in place.trials())
    between = (errors[0] + errors[1]) / 2
    metric = {"limits": {"error": {"above": between}}}
    assert autotune("run", place.write(name="limited", metric=metric)) == 0
    out = capsys.readouterr().out
    result = place.result("limited")
    assert result["metric"]["best"] == sorted(t.metrics["consistency"] for t in place.trials())[-2]
    assert result["best_trial"] != free["best_trial"]
    assert result["limits"] == [{"metric": "error", "below": None, "above": between, "kept_by": 3, "broken_by": 1}]
    assert f"Limit: error above {between:.5g}, broken by 1 trial" in out
    # The surrogate's optimum would be the one that the limit excludes.
    assert free["metric"]["estimate"] is not None and result["metric"]["estimate"] is None
    assert result["pareto"] is None and free["limits"] == []


def test_a_study_whose_trials_all_break_a_limit_has_failed(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write(metric={"limits": {"error": {"below": 1e-9}, "seconds": {"below": 1000}}})
    assert autotune("run", study, "--quiet") == 4
    error = capsys.readouterr().err
    assert "none of 4 trials is a full evaluation that keeps the limits: error below 1e-09 (nearest " in error
    assert autotune("result", "toy") == 0
    assert "No full trial keeps the limits." in capsys.readouterr().out


def test_several_metrics_give_a_front(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write(
        metric={"against": ["seconds"]}, search={"sampler": "gp", "seed": 1}, budget={"trials": 7}, name="front"
    )
    assert autotune("check", study) == 0
    assert "weighed against" in capsys.readouterr().out
    assert autotune("run", study) == 0
    out = capsys.readouterr().out
    result = place.result("front")
    trials = {trial.number: trial for trial in place.trials("front")}
    front = result["pareto"]
    assert front[0]["trial"] == result["best_trial"]
    assert [row["metrics"]["consistency"] for row in front] == sorted(
        (row["metrics"]["consistency"] for row in front), reverse=True
    )
    for row in front:
        trial = trials[row["trial"]]
        assert row["metrics"] == {"consistency": trial.metrics["consistency"], "seconds": trial.seconds}
        assert row["values"] == trial.values
        assert not any(
            other.metrics["consistency"] > row["metrics"]["consistency"] and other.seconds < row["metrics"]["seconds"]
            for other in trials.values()
        )
    assert "No trial beats these in consistency or seconds without losing elsewhere:" in out


def test_gradient_descent_of_a_study(place: Place) -> None:
    study = place.write(search={"sampler": "gradient"}, parameters=SHIFT_AND_RATE)
    assert autotune("run", study, "--quiet", "--trials", 12) == 0
    values = place.values()
    assert values[0] == {"shift": pytest.approx(0.0), "rate": pytest.approx(0.1)}  # the objective's defaults
    assert place.result()["metric"]["best"] > 0.9999
    assert place.result()["parameters"]["shift"]["best"] == pytest.approx(0.7, abs=0.01)


def test_gradient_descent_of_a_study_without_derivatives_is_bad_input(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    objective = {"name": "tests.end_to_end.studies:quick", "gradients": False}
    study = place.write(search={"sampler": "gradient"}, parameters=SHIFT_AND_RATE, objective=objective)
    assert autotune("run", study, "--quiet") == 2
    assert "parameters.shift: the metric has no derivative for shift, which gradient needs" in capsys.readouterr().err
