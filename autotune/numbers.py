"""Numbers as people read them."""

from __future__ import annotations

_SMALL, _LARGE = 1e-3, 1e6


def metric_text(value: float, digits: int = 6) -> str:
    """A metric: with so many decimals where that shows as many digits, else with so many digits in all.

    >>> metric_text(0.8995278), metric_text(1.04153e-08), metric_text(0.0, 4)
    ('0.899528', '1.04153e-08', '0.0000')
    """
    fixed = value == 0 or _SMALL <= abs(value) < _LARGE
    return f"{value:.{digits}f}" if fixed else f"{value:.{digits}g}"
