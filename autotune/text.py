"""Texts for people: numbers with as many digits as they need, units, addresses without their secrets."""

from __future__ import annotations

import re

_SMALL, _LARGE = 1e-3, 1e6
_SECRETS = (
    # what stands before the host; a password may itself hold / and @
    (re.compile(r"(://[^/@:\s]*):\S*@"), r"\1:***@"),
    # a token in the place of the user
    (re.compile(r"(https?://)[^/@:\s]+@"), r"\1***@"),
    (re.compile(r"([?&](?:password|sslpassword|token|access_token)=)[^&\s]*", re.IGNORECASE), r"\1***"),
)


def metric_text(value: float, digits: int = 6) -> str:
    """A metric as text: ``digits`` decimals where that shows enough of it, else ``digits`` significant digits.

    >>> metric_text(0.8995278), metric_text(1.04153e-08), metric_text(0.0, 4)
    ('0.899528', '1.04153e-08', '0.0000')
    """
    fixed = value == 0 or _SMALL <= abs(value) < _LARGE
    return f"{value:.{digits}f}" if fixed else f"{value:.{digits}g}"


def shown_unit(unit: str) -> str:
    """The unit as people see it: nothing for the unit ``1`` of a plain number.

    >>> shown_unit("mrad"), shown_unit("1")
    ('mrad', '')
    """
    return "" if unit == "1" else unit


def with_unit(text: str, unit: str) -> str:
    """A value's text followed by its unit, where it has one.

    >>> with_unit("24", "mrad"), with_unit("0.5", "1")
    ('24 mrad', '0.5')
    """
    return f"{text} {shown_unit(unit)}".rstrip()


def unit_label(name: str, unit: str) -> str:
    """A name with its unit in brackets, where it has one: the heading of a column, the label of an axis.

    >>> unit_label("defocus", "angstrom"), unit_label("slices", "1")
    ('defocus (angstrom)', 'slices')
    """
    return f"{name} ({unit})" if shown_unit(unit) else name


def without_password(text: str) -> str:
    """An address, or a message that holds one, with ``***`` for what is secret in it."""
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text
