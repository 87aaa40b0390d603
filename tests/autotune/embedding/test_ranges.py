"""What a program writes for the arguments of a function."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune import Dimension
from autotune.embedding.ranges import RangeSettings, read_ranges
from autotune.errors import InputError

numbers = st.floats(-1e6, 1e6) | st.integers(-1000, 1000)


@given(low=numbers, high=numbers)
def test_a_pair_is_a_range_of_numbers(low: float, high: float) -> None:
    if low < high:
        tuned, held, initial = read_ranges({"x": (low, high)})
        assert tuned == {"x": RangeSettings(low=low, high=high)} and not held and not initial
        assert tuned["x"].parameter("x").type == "float"
        assert isinstance(tuned["x"].argument(3), float)
    else:
        with pytest.raises(InputError, match="is no range"):
            read_ranges({"x": (low, high)})


plain = st.text() | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(plain, min_size=3, max_size=6))
def test_choices_come_back_as_they_were(choices: list[Any]) -> None:
    if len({str(choice) for choice in choices}) < len(choices):
        with pytest.raises(InputError, match="are no choices"):
            read_ranges({"x": choices})
        return
    settings = read_ranges({"x": choices})[0]["x"]
    names = settings.parameter("x").choices
    assert [settings.argument(name) for name in names] == choices
    again = RangeSettings.model_validate_json(settings.model_dump_json(exclude_defaults=True))
    assert [(type(one), one) for one in again.choices] == [(type(one), one) for one in choices]


def test_everything_else() -> None:
    tuned, held, initial = read_ranges(
        {
            "whole": range(1, 11),
            "rate": Dimension("rate", low=1e-3, high=1.0, log=True, unit="1/s", initial=0.1, kind="solver"),
            "mode": Dimension("mode", type="categorical", choices=("a", "b")),
            "passes": np.int64(3),
            "width": np.float32(0.5),
            "share": Fraction(1, 4),
            "name": "plain",
            "on": True,
        }
    )
    assert tuned["whole"] == RangeSettings(type="int", low=1, high=10)
    assert tuned["rate"] == RangeSettings(low=1e-3, high=1.0, log=True, unit="1/s", kind="solver")
    assert tuned["mode"].choices == ("a", "b") and initial == {"rate": 0.1}
    assert held == {"passes": 3, "width": 0.5, "share": 0.25, "name": "plain", "on": True}
    assert isinstance(held["passes"], int) and isinstance(held["width"], float) and held["on"] is True


@pytest.mark.parametrize(
    ("stated", "what"),
    [
        ((1, 2, 3), "is no pair of numbers"),
        ((False, True), "is no pair of numbers"),
        ((0, float("inf")), "is no range"),
        ((float("nan"), 1), "is no range"),
        ([0, 1], "may be a range or two choices"),
        (["a"], "are no choices"),
        (["a", object()], "is object"),
        (range(0, 10, 2), "is no range of whole numbers"),
        (range(1), "is no range of whole numbers"),
        ({"low": 0}, "is dict"),
        (float("nan"), "is float"),
        (Dimension("x", low=0, high=1, when=(("y", ("a",)),)), "with conditions"),
    ],
)
def test_what_is_none_of_these_is_refused_by_name(stated: Any, what: str) -> None:
    with pytest.raises(InputError, match=what) as refused:
        read_ranges({"x": stated, "y": (0, 1)})
    assert refused.value.problems[0].where == "ranges['x']"


def test_something_must_be_tuned() -> None:
    with pytest.raises(InputError, match="tune nothing"):
        read_ranges({"x": 1.0})
