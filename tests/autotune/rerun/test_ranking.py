"""What trials evaluated again say of their ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from scipy.stats import t

from autotune.rerun.ranking import Candidate, Comparison, Kind


def candidate(
    trial: int | None,
    data: Sequence[float | None],
    repeated: Sequence[float | None] = (),
    recorded: float | None = None,
) -> Candidate:
    """Evaluated so; ``recorded`` as on the data where it is not said."""
    made = Candidate(trial, {"shift": float(trial or 0)}, data[0] if recorded is None and trial else recorded)
    rounds: Mapping[Kind, Sequence[float | None]] = {"data": data, "repeated": repeated}
    for kind, values in rounds.items():
        for index, value in enumerate(values):
            made.keep(kind, index, value, "it broke")
    return made


def test_a_gap_beyond_the_noise_holds() -> None:
    best, other = candidate(3, [0.9], [0.91, 0.92, 0.93]), candidate(5, [0.8], [0.82, 0.81, 0.85])
    verdict = Comparison([best, other], 1).verdict()
    assert verdict.holds is True and (verdict.wins, verdict.rounds) == ((4, 0), 4)
    half_width = t.ppf(0.95, 2) * np.std([0.09, 0.11, 0.08], ddof=1)
    assert verdict.sentence == (
        f"the ranking holds: trial 3 is best in 4 of 4; the next, trial 5, is behind by 0.1 ± {half_width:.1g} (90 %)"
    )


def test_a_gap_within_the_noise_cannot_be_told() -> None:
    best = candidate(3, [0.9], [0.90, 0.92, 0.88])
    other, third = candidate(5, [0.895], [0.88, 0.93, 0.90]), candidate(6, [0.1], [0.11, 0.12, 0.10])
    verdict = Comparison([best, other, third], 1).verdict()
    assert verdict.holds is None and verdict.wins[2] == 0
    assert verdict.sentence.startswith("trials 3 and 5 cannot be told apart: they lie within 0.005, and noise may")


def test_another_one_ahead_over_fresh_seeds_does_not_hold() -> None:
    best = candidate(3, [0.80, 0.81, 0.80], recorded=0.95)  # lucky when it was recorded
    other = candidate(5, [0.85, 0.86, 0.86], recorded=0.90)
    verdict = Comparison([best, candidate(4, [0.7, 0.7, 0.71], recorded=0.92), other], 1).verdict()
    assert verdict.holds is False and verdict.wins == (0, 0, 3)
    assert "does NOT hold: trial 5 is ahead of trial 3 by 0.053 ± " in verdict.sentence
    assert verdict.sentence.endswith("trial 3 is best in 0 of 3")


def test_what_rounds_have_in_common_drops_out() -> None:
    """Seeds that change the metric by far more than trials differ, but all trials alike."""
    common = np.array([0.3, -0.2, 0.1, 0.25])
    best, other = candidate(1, list(0.501 + common)), candidate(2, list(0.500 + common + [0, 1e-5, 0, -1e-5]))
    behind = Comparison([best, other], 1).behind(other)
    assert behind is not None and behind.mean == pytest.approx(1e-3) and behind.sign == 1
    assert Comparison([best, other], 1).verdict().holds is True


def test_seeds_and_noise_add_up() -> None:
    """Against the formula: Satterthwaite's degrees of freedom of s_m^2 + s_n^2 / n."""
    seeds, noise = [0.01, 0.03, 0.02, 0.01], [0.00, 0.04, 0.01]
    best = candidate(1, [0.5 + d for d in seeds], [0.6 + d for d in noise], recorded=0.9)
    other = candidate(2, [0.5] * 3 + [0.5 + 1e-15], [0.6] * 3, recorded=0.8)
    parts = [np.var(noise, ddof=1), np.var(seeds, ddof=1) / 4]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 3)
    behind = Comparison([best, other], 1).behind(other)
    assert behind is not None and behind.mean == pytest.approx(np.mean(seeds))
    assert behind.half_width == pytest.approx(t.ppf(0.95, freedom) * np.sqrt(sum(parts)))


def test_the_intervals_hold_as_often_as_they_say() -> None:
    random, covered = np.random.default_rng(0), 0
    for _ in range(1000):
        noise, seeds = random.normal(0, 1.0, 6), random.normal(0, 1.5, 5)
        shift = random.normal(0, 1.0)  # of this measurement, which is one of those that there might have been
        best = candidate(1, list(shift + seeds), list(noise), recorded=9.0)
        behind = Comparison([best, candidate(2, [0.0], [0.0] * 6)], 1).behind(candidate(2, [0.0], [0.0] * 6))
        assert behind is not None and behind.half_width is not None
        covered += abs(behind.mean) < behind.half_width
    assert 870 < covered < 930


def test_where_measurements_were_simulated_is_no_advantage() -> None:
    """On the measurement the two are 1e-3 apart; where it is repeated, at the best trial, that one leads by 1."""
    scatter = [-0.01, 0.01, 0.0]
    best = candidate(1, [0.900], [2.0 - d for d in scatter])
    other = candidate(2, [0.899], [1.0 + d for d in scatter])
    verdict = Comparison([best, other], 1).verdict()
    assert verdict.holds is None and (verdict.wins, verdict.rounds) == ((3, 1), 4)


def test_smaller_is_better_where_it_is() -> None:
    best, other = candidate(3, [0.1], [0.11, 0.12]), candidate(5, [0.2], [0.21, 0.22])
    assert Comparison([best, other], -1).verdict().holds is True
    assert Comparison([best, other], -1).verdict().wins == (3, 0)
    assert Comparison([best, other], 1).verdict().holds is False


def test_differences_of_no_interest() -> None:
    best, other = candidate(3, [0.9], [0.9, 0.91]), candidate(5, [0.9001], [0.9001, 0.9101])
    assert Comparison([best, other], 1).verdict().holds is False
    verdict = Comparison([best, other], 1, tolerance=1e-3).verdict()
    assert verdict.holds is None
    assert "trials 3 and 5 are equally good: they lie within 0.0001, and the study ends for 0.001" in verdict.sentence


def test_the_estimate_is_no_trial() -> None:
    best, other = candidate(3, [0.9], [0.9, 0.91]), candidate(5, [0.8], [0.8, 0.811])
    estimate = candidate(None, [0.95, 0.95], [0.96, 0.969])
    verdict = Comparison([best, other, estimate], 1).verdict()
    assert verdict.holds is True and verdict.wins == (3, 0, None)
    assert verdict.estimate.startswith("the estimate is ahead of trial 3 (0.05 ± ")
    assert Comparison([best, other], 1).verdict().estimate == ""


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        ([], "there is no other trial to compare trial 3 with"),
        ([candidate(5, [None], recorded=0.7)], "there is no other trial to compare trial 3 with"),
        ([candidate(5, [0.8])], "nothing says whether noise could change the ranking: the seed changes nothing"),
    ],
)
def test_nothing_to_say(others: list[Candidate], sentence: str) -> None:
    verdict = Comparison([candidate(3, [0.9]), *others], 1).verdict()
    assert verdict.holds is None and verdict.sentence.startswith(sentence)


def test_the_best_trial_fails_when_evaluated_again() -> None:
    verdict = Comparison([candidate(3, [None], recorded=0.9), candidate(5, [0.8])], 1).verdict()
    assert verdict.holds is False
    assert verdict.sentence == "the ranking does NOT hold: trial 3 failed when evaluated again: it broke"
    assert Comparison([Candidate(3, {}, 0.9)], 1).verdict().sentence == "trial 3 was not evaluated again yet"


def test_rounds_that_fail_or_are_missing() -> None:
    """One that fails has lost its round; one that was not run says nothing."""
    best = candidate(3, [0.9, None, 0.91], recorded=0.95)
    other = candidate(5, [0.8, 0.81], recorded=0.85)
    comparison = Comparison([best, other], 1)
    assert (comparison.verdict().wins, comparison.verdict().rounds) == ((1, 1), 2)
    behind = comparison.behind(other)
    assert behind is not None and behind.mean == pytest.approx(0.1) and behind.half_width is None


@pytest.mark.parametrize(
    ("data", "recorded", "matters"),
    [
        ([], 0.9, True),
        ([0.9], 0.9, False),
        ([0.9], 0.8, True),
        ([0.9], None, True),
        ([0.9, 0.9], None, False),
        ([0.9, 0.9], 0.8, False),  # recorded on another machine
        ([0.9, 0.91], 0.9, True),
        ([None, None], 0.9, True),
    ],
)
def test_whether_the_seed_matters(data: list[float | None], recorded: float | None, matters: bool) -> None:
    made = Candidate(1, {}, recorded)
    for index, value in enumerate(data):
        made.keep("data", index, value)
    assert made.seed_matters is matters
    assert made.known("data", 4) is not matters
