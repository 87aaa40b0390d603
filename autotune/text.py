"""Texts for people: numbers with as many digits as they need, addresses without their secrets."""

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
    """A metric: with so many decimals where that shows as many digits, else with so many digits in all.

    >>> metric_text(0.8995278), metric_text(1.04153e-08), metric_text(0.0, 4)
    ('0.899528', '1.04153e-08', '0.0000')
    """
    fixed = value == 0 or _SMALL <= abs(value) < _LARGE
    return f"{value:.{digits}f}" if fixed else f"{value:.{digits}g}"


def without_password(text: str) -> str:
    """An address, or a message that holds one, with ``***`` for what is secret in it."""
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text
