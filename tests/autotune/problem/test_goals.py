"""Limits and fronts: what they keep, and that every best and every curve heeds them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autotune.objective import Metric
from autotune.problem.goals import SECONDS, Limit, non_dominated
from autotune.store.records import TrialRecord, best_of, front_of
from autotune.tracking import StudyFacts, study_summary
from autotune.tracking.points import Incumbents

CONSISTENCY = Metric("consistency", "maximize")
ERROR = Metric("error", "minimize")


def trial(number: int, consistency: float, error: float = 0.0, seconds: float = 1.0, level: int = 0) -> TrialRecord:
    metrics = {"consistency": consistency, "error": error}
    return TrialRecord(number, "finished", {}, metrics, seconds=seconds, level=level)


@pytest.mark.parametrize(
    ("limit", "value", "kept"),
    [
        (Limit("m", below=1.0), 1.0, True),
        (Limit("m", below=1.0), 1.1, False),
        (Limit("m", above=1.0), 1.0, True),
        (Limit("m", above=1.0), 0.9, False),
        (Limit("m", above=1.0, below=2.0), 1.5, True),
        (Limit("m", above=1.0, below=2.0), 2.5, False),
        (Limit("m", above=1.0), math.nan, False),
    ],
)
def test_what_keeps_a_limit(limit: Limit, value: float, kept: bool) -> None:
    assert limit.kept_by({"m": value}) is kept
    assert not limit.kept_by({"other": value})


def test_how_far_a_limit_is_missed() -> None:
    limit = Limit("m", above=1.0, below=2.0)
    assert [limit.missed_by({"m": value}) for value in (0.5, 1.5, 4.0)] == [0.5, 0.0, 2.0]
    assert str(limit) == "m above 1 and below 2"


def test_limits_without_meaning_are_refused() -> None:
    with pytest.raises(ValueError, match="the limit of m says neither below nor above what"):
        Limit("m")
    with pytest.raises(ValueError, match="no m is above 2 and below 1"):
        Limit("m", above=2.0, below=1.0)


def test_non_dominated_rows() -> None:
    rows = np.array([[0.0, 3.0], [1.0, 1.0], [0.5, 1.0], [2.0, 0.0], [2.0, 0.0], [1.0, 2.0]])
    assert non_dominated(rows).tolist() == [True, False, False, True, True, True]
    assert non_dominated(rows[:0]).tolist() == []


def test_the_best_keeps_the_limits() -> None:
    trials = [trial(0, 0.9, 2.0), trial(1, 0.7, 0.5), trial(2, 0.8, 0.9, seconds=9.0), trial(3, 0.95, 0.1, level=1)]
    limits = [Limit("error", below=1.0)]
    best = best_of(trials, CONSISTENCY, limits)
    assert best is not None and best.number == 2
    best = best_of(trials, CONSISTENCY, [*limits, Limit("seconds", below=5.0)])
    assert best is not None and best.number == 1
    assert best_of(trials, CONSISTENCY, [Limit("error", below=0.2)]) is None
    assert best_of(trials, CONSISTENCY, [Limit("unheard_of", below=0.2)]) is None


def test_the_incumbent_in_mlflow_keeps_the_limits() -> None:
    trials = [trial(0, 0.9, 2.0), trial(1, 0.7, 0.5), trial(2, 0.8, 0.9)]
    limits = (Limit("error", below=1.0),)
    told = Incumbents(CONSISTENCY, limits).advance(dict(enumerate(trials)))
    assert [(each.number, best and best.number) for each, best, _ in told] == [(0, None), (1, 1), (2, 2)]
    assert study_summary(CONSISTENCY, trials, limits) == {"consistency": 0.8}
    facts = StudyFacts("id", "n", "e", "", CONSISTENCY, {}, limits=limits)
    assert StudyFacts.from_dict(facts.as_dict()) == facts
    old = {key: value for key, value in facts.as_dict().items() if key != "limits"}
    assert StudyFacts.from_dict(old).limits == ()


def test_the_front_is_ordered_by_the_tuned_metric() -> None:
    trials = [
        trial(0, 0.7, 0.1),
        trial(1, 0.9, 0.5),
        trial(2, 0.8, 0.5),
        trial(3, 0.8, 0.3),
        trial(4, 0.99, 0.9, level=1),
    ]
    assert [t.number for t in front_of(trials, [CONSISTENCY, ERROR])] == [1, 3, 0]
    assert [t.number for t in front_of(trials, [CONSISTENCY, ERROR], [Limit("error", below=0.4)])] == [3, 0]
    assert front_of([], [CONSISTENCY, ERROR]) == []


def test_seconds_are_a_metric_of_every_trial() -> None:
    trials = [trial(0, 0.7, seconds=1.0), trial(1, 0.9, seconds=5.0), trial(2, 0.8, seconds=6.0)]
    assert [t.number for t in front_of(trials, [CONSISTENCY, SECONDS])] == [1, 0]
