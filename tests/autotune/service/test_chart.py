"""The chart of the best value against the noise ceiling, and durations in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.service.chart import chart, time_left
from autotune.service.event_log import append_event
from autotune.service.progress import Follower, Progress

SEARCH = Progress(trials=20, budget=40, metric="consistency", best=0.94, noise_ceiling=0.95)


def points(curve: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (point.split(",") for point in curve.split())]


def test_the_curve_rises_in_steps_towards_the_ceiling() -> None:
    drawn = chart(SEARCH, [(1, 0.2), (4, 0.9), (10, 0.94)])
    curve = points(drawn.curve)
    assert [x for x, _ in curve] == [2.5, 10, 10, 25, 25, 50]  # of 40 trials, 20 have ended
    heights = [y for _, y in curve]
    assert heights == sorted(heights, reverse=True) and 0 <= min(heights) <= max(heights) <= 100
    assert drawn.ceiling is not None and drawn.ceiling < heights[-1]
    assert drawn.last == 40
    assert float(drawn.bottom) < 0.94 < 0.95 < float(drawn.top)


def test_smaller_may_be_better_and_the_ceiling_unknown() -> None:
    loss = Progress(trials=3, budget=None, metric="loss", best=0.1, noise_ceiling=None)
    drawn = chart(loss, [(1, 0.5), (3, 0.1)])
    assert points(drawn.curve)[0][1] < points(drawn.curve)[-1][1]
    assert drawn.ceiling is None and drawn.words.endswith("The noise ceiling is not known.")


@pytest.mark.parametrize("value", [0.0, 1e-12, -3.0, 1e12])
def test_a_single_value_is_drawn(value: float) -> None:
    drawn = chart(Progress(trials=1, budget=5, best=value), [(1, value)])
    assert points(drawn.curve) == [(20, 50)]
    assert float(drawn.bottom) < value < float(drawn.top)


def test_before_a_value_there_is_no_curve() -> None:
    drawn = chart(Progress(trials=2, budget=5), [])
    assert drawn.curve == "" and drawn.words == "No trial has a value yet."


def test_a_resumed_study_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    metric = {"name": "consistency", "goal": "maximize", "noise_ceiling": None}

    def run(ended: int, *values: float) -> None:
        append_event(path, "started", metric=metric, ended=ended, budget=9)
        for value in values:
            append_event(path, "ended", best={"trial": 0, "value": value})

    follower = Follower(path)
    run(0, 0.1, 0.1, 0.3, 0.5)
    assert follower.now().trials == 4 and follower.steps == [(1, 0.1), (3, 0.3), (4, 0.5)]
    run(3, 0.3, 0.4)  # the last trial was not finished before the study was interrupted
    assert follower.now().trials == 5 and follower.steps == [(1, 0.1), (3, 0.3), (5, 0.4)]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0, "about 5 s"),
        (42, "about 40 s"),
        (100, "about 2 min"),
        (5400, "about 2 h"),
        (40 * 3600, "about 40 h"),
        (200_000, "about 2 days"),
    ],
)
def test_a_duration_is_as_exact_as_an_estimate(seconds: float | None, words: str) -> None:
    assert time_left(seconds) == words
