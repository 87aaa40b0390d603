"""Placeholders: what is filled in, and what is left as it is."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives.command.placeholders import filled, names_in


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**12), 10**12))
def test_numbers_come_back_exactly(value: float) -> None:
    text = filled("x = {{ value }};", {"value": value})
    back = ast.literal_eval(text.removeprefix("x = ").removesuffix(";"))
    assert back == value and type(back) is type(value)


@given(st.text(alphabet="{}a1_ \n", max_size=30))
def test_all_else_stays(text: str) -> None:
    names = list(names_in(text))
    assert filled(text, {name: "" for name, _ in names}) == text or names


def test_braces_of_programs_stay() -> None:
    text = "a{1} = {{1, 2}}; b = {{}}; c = {{{x}}}; d = {{x.y}}"
    assert filled(text, {"x": 4}) == "a{1} = {{1, 2}}; b = {{}}; c = {4}; d = {{x.y}}"


def test_a_value_is_not_filled_in_again() -> None:
    assert filled("{{a}} {{b}}", {"a": "{{b}}", "b": 1}) == "{{b}} 1"


def test_places_are_lines() -> None:
    assert list(names_in("{{a}}\n\n {{b}}{{a}}")) == [("a", 1), ("b", 3), ("a", 3)]


def test_what_nothing_fills_in_is_an_error() -> None:
    with pytest.raises(KeyError):
        filled("{{a}}", {})
