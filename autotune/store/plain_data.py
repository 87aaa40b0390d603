"""Checks of plain data from the database, each of which returns the data in its type or raises.

Raises:
    TypeError, ValueError: the data are of another type, or no such value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from autotune.objective import Metric


def as_text(plain: Any) -> str:
    """Plain data as text."""
    if not isinstance(plain, str):
        raise TypeError(f"{plain!r} is no text")
    return plain


def as_text_or_none(plain: Any) -> str | None:
    """Plain data as text, or None."""
    return None if plain is None else as_text(plain)


def as_number(plain: Any) -> float:
    """Plain data as a number that is not NaN; neither text nor true or false."""
    if isinstance(plain, bool) or not isinstance(plain, int | float) or math.isnan(plain):
        raise TypeError(f"{plain!r} is no number")
    return plain


def as_whole(plain: Any) -> int:
    """Plain data as a whole number."""
    if isinstance(plain, bool) or not isinstance(plain, int):
        raise TypeError(f"{plain!r} is no whole number")
    return plain


def as_whole_or_none(plain: Any) -> int | None:
    """Plain data as a whole number, or None."""
    return None if plain is None else as_whole(plain)


def as_mapping(plain: Any) -> Mapping[str, Any]:
    """Plain data as a mapping."""
    if not isinstance(plain, Mapping):
        raise TypeError(f"{plain!r} is no mapping")
    return plain


def as_metric(plain: Any) -> Metric:
    """The metric that ``dataclasses.asdict`` made plain."""
    metric = Metric(**plain)
    if metric.goal not in ("maximize", "minimize"):
        raise ValueError(f"{metric.goal!r} is no goal of a metric")
    return metric
