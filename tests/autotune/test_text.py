"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.text import metric_text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.8995278, "0.899528"), (-0.25, "-0.250000"), (0.0, "0.000000"), (1.04153e-8, "1.04153e-08"), (2e7, "2e+07")],
)
def test_texts(value: float, text: str) -> None:
    assert metric_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda value: value == 0 or abs(value) > 1e-300))
def test_no_number_is_shown_as_another_one(value: float) -> None:
    assert math.isclose(float(metric_text(value)), value, rel_tol=1e-3)
