"""When a search ends, for what reason, and that it ends with a full evaluation within its budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.runs.stopping import FEWEST, IN_A_ROW, Ending, Next
from autotune.store.records import TrialRecord, TrialState
from autotune.study.blocks.budget import BudgetSpec


def ending(cheap: float | None = None, by_model: bool = False, **budget: Any) -> Ending:
    return Ending(BudgetSpec(**budget), "consistency", cheap, by_model)


def records(levels: Sequence[int], costs: Sequence[float] = (1.0, 0.25), **named: Any) -> list[TrialRecord]:
    """One finished trial per level, of that level's cost."""
    return [
        TrialRecord(i, "finished", {}, {"consistency": 0.5}, level=level, equivalents=costs[level], **named)
        for i, level in enumerate(levels)
    ]


def never_asked() -> float | None:
    raise AssertionError("the expectation does not decide here, and costs seconds")


@pytest.mark.parametrize(
    ("budget", "trials", "seconds", "reason"),
    [
        ({"trials": 3}, 2, 0.0, ""),
        ({"trials": 3}, 3, 0.0, "the budget of 3 trials is used"),
        ({"seconds": 1.5}, 0, 1.4, ""),
        ({"seconds": 1.5}, 0, 1.5, "the time budget of 1.5 s is used"),
        ({"reconstructions": 3.5}, 2, 0.0, ""),
        ({"reconstructions": 3.5}, 3, 0.0, "the budget of 3.5 reconstructions is used"),
        ({"reconstructions": 3}, 2, 0.0, ""),
        ({}, 39, 1e9, ""),
    ],
)
def test_limits(budget: dict[str, Any], trials: int, seconds: float, reason: str) -> None:
    assert ending(**budget).after(records([0] * trials), seconds, never_asked) == Next(reason)


def expecting(*expected: float | None) -> list[TrialRecord]:
    return [TrialRecord(i, "finished", {}, {}, expected_improvement=each) for i, each in enumerate(expected)]


SMALL = [1e-5] * IN_A_ROW


@pytest.mark.parametrize(
    ("before", "next_one", "ends"),
    [
        (SMALL, 1e-5, True),
        (SMALL, 1e-3, False),  # the model has been corrected
        (SMALL, None, False),
        ([*SMALL, 1e-2, None], 1e-5, True),  # settled before; what matters now is the next trial
    ],
)
def test_converged_once_settled_and_the_next_promises_nothing(
    before: list[float | None], next_one: float | None, ends: bool
) -> None:
    coming = ending(converged=1e-4).after(expecting(*before), 0.0, lambda: next_one)
    assert coming == Next("converged: no trial is expected to improve consistency by 0.0001" if ends else "")


@pytest.mark.parametrize("before", [SMALL[1:], [1e-5, 1e-5, 1e-3, 1e-5, 1e-5], [1e-5, 1e-5, None, 1e-5, 1e-5], []])
def test_not_settled_by_fewer_in_a_row(before: list[float | None]) -> None:
    assert ending(converged=1e-4).after(expecting(*before), 0.0, never_asked) == Next()


def test_without_a_tolerance_it_never_converges() -> None:
    assert ending().after(expecting(*[0.0] * 20), 0.0, never_asked) == Next()


@pytest.mark.parametrize(
    "budget", [{"trials": 6}, {"seconds": 5.0}, {"reconstructions": 2.6}, {"converged": 1e-4}], ids=str
)
def test_an_answer_from_cheap_trials_is_evaluated_in_full_first(budget: dict[str, Any]) -> None:
    cheap = [1] * (5 if budget == {"trials": 6} else 6)
    trials = records(cheap, expected_improvement=1e-6)
    assert ending(0.25, **budget).after(trials, 6.0, lambda: 1e-6) == Next(finish=True)
    full = [*trials, TrialRecord(len(cheap), "finished", {}, {"consistency": 0.6}, equivalents=1.0)]
    assert ending(0.25, **budget).after(full, 6.0, lambda: 1e-6).reason


def test_one_that_failed_is_not_tried_for_ever() -> None:
    trials = records([1] * 6)
    made = ending(0.25, seconds=5.0)
    assert made.after(trials, 6.0, never_asked).finish
    failed = TrialRecord(6, "failed", {}, reason="diverged")
    assert made.after([*trials, failed], 7.0, never_asked) == Next("the time budget of 5 s is used")


@pytest.mark.parametrize(("levels", "finish"), [([1, 1, 0, 1, 1], False), ([1, 0, 1, 1, 1], True), ([1] * 5, True)])
def test_the_last_trial_is_a_full_one_unless_one_was_just_made(levels: list[int], finish: bool) -> None:
    """Also where the last full one would be too old only after one cheap trial more."""
    assert ending(0.25, trials=6).after(records(levels), 0.0, never_asked) == Next(finish=finish)


@settings(max_examples=200, deadline=None)
@given(
    cheap=st.sampled_from([None, 0.02, 0.3, 0.9]),
    trials=st.integers(1, 30),
    reconstructions=st.none() | st.floats(1.0, 12.0),
    converged=st.sampled_from([None, 1e-3]),
    data=st.data(),
)
def test_every_search_ends_within_its_budget_with_a_full_evaluation_among_the_last(
    cheap: float | None, trials: int, reconstructions: float | None, converged: float | None, data: st.DataObject
) -> None:
    made = ending(cheap, trials=trials, reconstructions=reconstructions, converged=converged)
    seen: list[TrialRecord] = []
    while True:
        coming = made.after(seen, 0.0, lambda: data.draw(st.sampled_from([None, 1e-9, 1.0])))
        if coming.reason:
            break
        level = 0 if coming.finish or cheap is None else data.draw(st.integers(0, 1))
        cost = 1.0 if level == 0 else data.draw(st.floats(0.01, 1.0)) * (cheap or 0.0)
        state: TrialState = data.draw(st.sampled_from(["finished", "failed", "pruned"]))
        expected = data.draw(st.sampled_from([None, 1e-9, 1.0]))
        seen.append(TrialRecord(len(seen), state, {}, level=level, equivalents=cost, expected_improvement=expected))
        assert len(seen) <= trials
    assert not coming.finish
    assert seen and any(trial.level == 0 for trial in seen[-IN_A_ROW:])
    if reconstructions is not None:
        assert sum(trial.equivalents for trial in seen) <= reconstructions + 1e-6


def followed(made: Ending, seen: list[TrialRecord], expects: Callable[[], float | None] = lambda: None) -> str:
    """Trials are added to ``seen`` as they are asked for, each of a full reconstruction, to the end; the reason."""
    while not (coming := made.after(seen, 0.0, expects)).reason:
        trial = TrialRecord(len(seen), "finished", {}, {"consistency": 0.5}, equivalents=1.0, finish=coming.finish)
        seen.append(trial)
        assert len(seen) < 1000
    return coming.reason


@settings(max_examples=200, deadline=None)
@given(trials=st.integers(1, 40), reconstructions=st.none() | st.floats(1.0, 30.0), by_model=st.booleans())
def test_where_every_trial_is_full_the_last_of_a_search_by_a_model_is_of_its_answer(
    trials: int, reconstructions: float | None, by_model: bool
) -> None:
    """One of the trials and of the reconstructions is kept for it, and nothing is left over or overrun."""
    seen: list[TrialRecord] = []
    followed(ending(by_model=by_model, trials=trials, reconstructions=reconstructions), seen)
    most = trials if reconstructions is None else min(trials, int(reconstructions + 1e-9))
    assert len(seen) == most
    expected = [False] * (most - 1) + [True] if by_model and most > FEWEST else [False] * most
    assert [trial.finish for trial in seen] == expected


@settings(max_examples=100, deadline=None)
@given(trials=st.integers(1, 30), reconstructions=st.none() | st.floats(1.0, 20.0), data=st.data())
def test_trials_that_cost_less_than_a_full_one_leave_its_worth_for_the_answer(
    trials: int, reconstructions: float | None, data: st.DataObject
) -> None:
    """Stopped, failed and pruned ones: however little they cost, neither limit is overrun."""
    made = ending(by_model=True, trials=trials, reconstructions=reconstructions)
    seen: list[TrialRecord] = []
    while not (coming := made.after(seen, 0.0, lambda: None)).reason:
        cost = data.draw(st.floats(0.05, 1.0))
        state: TrialState = data.draw(st.sampled_from(["finished", "failed", "pruned"]))
        seen.append(TrialRecord(len(seen), state, {}, equivalents=cost, finish=coming.finish))
    assert len(seen) <= trials
    if reconstructions is not None:
        assert sum(trial.equivalents for trial in seen) <= reconstructions + 1e-6
    if len(seen) > FEWEST:
        assert seen[-1].finish


def test_the_answer_is_evaluated_when_the_search_converges_before_its_budget_is_used() -> None:
    made = ending(by_model=True, trials=20, converged=1e-4)
    seen = expecting(*SMALL)
    assert made.after(seen, 0.0, lambda: 1e-6) == Next(finish=True)
    seen.append(TrialRecord(len(seen), "finished", {}, {}, expected_improvement=1e-6, finish=True))
    assert made.after(seen, 0.0, lambda: 1e-6).reason.startswith("converged")
    # An answer that taught something is searched on from, and due again at the end.
    assert made.after(seen, 0.0, lambda: 1.0) == Next()
    seen.append(TrialRecord(len(seen), "finished", {}, {}, expected_improvement=1e-6))
    assert made.after(seen, 0.0, lambda: 1e-6) == Next(finish=True)


def test_an_answer_that_failed_is_not_tried_for_ever() -> None:
    made = ending(by_model=True, seconds=5.0)
    seen = records([0] * FEWEST)
    assert made.after(seen, 6.0, never_asked).finish
    failed = TrialRecord(FEWEST, "failed", {}, reason="diverged", finish=True)
    assert made.after([*seen, failed], 7.0, never_asked) == Next("the time budget of 5 s is used")


@pytest.mark.parametrize("by_model", [True, False])
def test_a_study_that_was_finished_goes_on_with_a_larger_budget(by_model: bool) -> None:
    """Its answer is one trial more like any other; the last one is the new answer."""
    seen: list[TrialRecord] = []
    assert followed(ending(by_model=by_model, trials=6), seen) == "the budget of 6 trials is used"
    assert [trial.number for trial in seen if trial.finish] == ([5] if by_model else [])
    assert followed(ending(by_model=by_model, trials=9), seen) == "the budget of 9 trials is used"
    assert [trial.number for trial in seen if trial.finish] == ([5, 8] if by_model else [])


def test_an_extension_by_one_trial_is_its_answer() -> None:
    seen: list[TrialRecord] = []
    followed(ending(by_model=True, trials=6), seen)
    assert ending(by_model=True, trials=7).after(seen, 0.0, never_asked) == Next(finish=True)


def test_a_full_evaluation_of_the_wrong_twin_is_not_the_answer_yet() -> None:
    """Where all others are cheap, the search ends with a full one of the other twin."""
    trials, spec = records([1, 0, 1, 1]), BudgetSpec(seconds=5)
    ends = Next("the time budget of 5 s is used")
    assert Ending(spec, "consistency", 0.25, True).after(trials, 6.0, never_asked) == ends
    wrong = Ending(spec, "consistency", 0.25, True, lambda trial: trial.level == 0)
    assert wrong.after(trials, 6.0, never_asked) == Next(finish=True)
    # That it was evaluated, however that ended, is enough.
    after = [*trials, replace(records([0])[0], number=4, finish=True)]
    assert wrong.after(after, 6.0, never_asked) == ends
