"""Learning curves: which trials are given up, and what a stopped one is taken for."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.objective import Metric
from autotune.search.learning_curves import FEWEST_CURVES, MARGIN, Curves
from autotune.store.records import TrialRecord

# After iteration 1 these gain 0.4, 0.2, 0.1 and 0.3; the best ends at 0.9.
FOUR = Curves([[0.5, 0.8, 0.9], [0.4, 0.5, 0.6], [0.2, 0.3, 0.3], [0.1, 0.3, 0.4]])


def test_gains_are_those_left_after_an_iteration() -> None:
    assert FOUR.gains(1) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert FOUR.gains(2) == pytest.approx([0.0, 0.1, 0.1, 0.1])
    assert FOUR.gains(3) == pytest.approx([0.0] * 4)
    assert FOUR.gains(4) == []


def test_hopeless_below_the_best_less_a_margin_of_the_greatest_gain() -> None:
    limit = 0.9 - MARGIN * 0.4
    assert not FOUR.hopeless(1, limit + 1e-9) and FOUR.hopeless(1, limit - 1e-9)
    limit = 0.9 - MARGIN * 0.1
    assert not FOUR.hopeless(2, limit + 1e-9) and FOUR.hopeless(2, limit - 1e-9)


def test_heading_for_the_median_gain_more() -> None:
    assert FOUR.heading_for(1, 0.05) == pytest.approx(0.05 + 0.3)
    assert FOUR.heading_for(2, 0.05) == pytest.approx(0.15)


def test_too_few_curves_say_nothing() -> None:
    few = Curves(list(FOUR.curves)[: FEWEST_CURVES - 1])
    assert few.gains(1) == [] and few.heading_for(1, 0.0) is None and not few.hopeless(1, -1e9)
    shorter = Curves([*FOUR.curves[:3], [0.1]])
    assert shorter.gains(1) and not shorter.gains(2)
    assert not Curves([]).hopeless(1, -1e9)


def test_curves_that_only_fall_are_no_reason_to_hope() -> None:
    falling = Curves([[0.9, 0.7], [0.8, 0.6], [0.6, 0.5], [0.5, 0.4]])
    assert falling.hopeless(1, 0.69) and not falling.hopeless(1, 0.71)


def record(number: int, curve: list[float], last: float, **named: Any) -> TrialRecord:
    state = named.pop("state", "finished")
    return TrialRecord(number, state, {}, {"error": last}, curve={"error": curve}, **named)


@pytest.mark.parametrize(("goal", "sign"), [("maximize", 1.0), ("minimize", -1.0)])
def test_only_finished_trials_of_the_level_with_a_curve_count(
    goal: Literal["maximize", "minimize"], sign: float
) -> None:
    """The last value is the trial's own metric, which may have been computed more exactly than the curve."""
    trials = [
        record(0, [3.0, 2.0], 1.9),
        record(1, [3.0, 2.0], 1.9, state="pruned"),
        record(2, [3.0, 2.0], 1.8, level=1),
        TrialRecord(3, "finished", {}, {"error": 1.0}),
        record(4, [], 1.0),
        record(5, [4.0], 4.5),
    ]
    metric = Metric("error", goal)
    assert Curves.of(trials, metric, 0).curves == [[sign * 3.0, sign * 1.9], [sign * 4.5]]
    assert Curves.of(trials, metric, 1).curves == [[sign * 3.0, sign * 1.8]]


def test_a_minimised_metric_is_given_up_where_it_is_too_high() -> None:
    trials = [record(i, [start, end], end) for i, (start, end) in enumerate([(5, 3), (6, 5), (7, 6), (8, 7)])]
    curves = Curves.of(trials, Metric("error", "minimize"), 0)
    assert curves.hopeless(1, -6.1) and not curves.hopeless(1, -5.9)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(5, 12), iterations=st.integers(2, 8))
def test_the_best_is_never_given_up_where_no_gain_exceeds_the_margin(seed: int, count: int, iterations: int) -> None:
    """Trials one after the other: none that would have been the best so far is stopped."""
    random = np.random.default_rng(seed)
    shape = np.sort(random.random(iterations))[::-1] - random.random() * 0.1  # what is still to be gained
    seen: list[list[float]] = []
    for number in range(count):
        gain = random.uniform(1.0, MARGIN) if number >= FEWEST_CURVES else random.uniform(0.5, 1.0)
        # Among the first there is one of gain 1, so that no later one exceeds the margin times the greatest seen.
        gain = 1.0 if number == 0 else gain
        left = np.maximum(shape - shape[-1], 0.0) * gain
        curve = (random.normal() - left).tolist()
        known = Curves(seen)
        given_up = any(known.hopeless(i, value) for i, value in enumerate(curve[:-1], start=1))
        if given_up:
            assert curve[-1] < max(other[-1] for other in seen)
        seen.append(curve)
