"""The colours of the pages can be told apart, in light and in dark (WCAG 2.2, 1.4.3 and 1.4.11)."""

from __future__ import annotations

import re
from itertools import product

import pytest

from autotune.service.rendering import static_file

ROOTS = re.findall(r":root \{([^}]*)\}", static_file("style.css").decode())
PAIRS = {
    4.5: list(product(("ink", "accent", "good", "bad", "ceiling"), ("paper", "soft"))),
    3.0: list(product(("edge", "accent", "ceiling"), ("paper", "soft"))),
}


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    channels = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_and_edges_have_contrast(scheme: int) -> None:
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]+)", ROOTS[scheme]))
    for least, pairs in PAIRS.items():
        for front, back in pairs:
            darker, lighter = sorted(luminance(colours[name]) for name in (front, back))
            assert (lighter + 0.05) / (darker + 0.05) >= least, (front, back)
