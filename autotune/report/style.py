"""How the figures of a report look: legible at the width of a phone, and with colours that everyone can tell apart.

Matplotlib's object interface only (no pyplot state), and margins in inches instead of its automatic layouts, which take
longer than all the drawing.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autotune.problem.space import Floats
from autotune.text import unit_label

# Okabe and Ito, "Color Universal Design" (2008).
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#6B6B6B"
SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"
TEXT = 10
"""Size of text in points. A figure 4.8 inches wide is 3.7 inches wide on a phone."""
SMALL = 9
WIDTH, HEIGHT = 4.8, 3.1
"""Size of a figure, in inches."""
_DOTS_PER_INCH = 150
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.78, 0.16, 0.52, 0.18


def new_axes(
    width: float = WIDTH, height: float = HEIGHT, *, left: float = _LEFT, right: float = _RIGHT, top: float = _TOP
) -> tuple[Figure, Axes]:
    """A figure with one pair of axes; all lengths are in inches."""
    figure = Figure(figsize=(width, height))
    place = (left / width, _BOTTOM / height, 1 - (left + right) / width, 1 - (_BOTTOM + top) / height)
    axes = figure.add_axes(place)
    axes.tick_params(labelsize=SMALL)
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_offset_text().set_fontsize(SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def label(name: str, unit: str = "1") -> str:
    """A name with its unit as the text of an axis."""
    return plain(unit_label(name, unit))


def value_text(value: float) -> str:
    """A number as the text of a mark."""
    return f"{value:g}".replace("-", "−")


def plain(text: str) -> str:
    """A text with dollar signs escaped, so that matplotlib sees no formula."""
    return text.replace("$", r"\$")


def as_svg(figure: Figure) -> bytes:
    """The figure as SVG, its letters as outlines."""
    return _written(figure, "svg")


def as_png(figure: Figure) -> bytes:
    """The figure as PNG."""
    return _written(figure, "png")


def _written(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=_DOTS_PER_INCH, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def data_uri(content: bytes) -> str:
    """A picture, SVG or PNG, as an address that holds it."""
    kind = "png" if content.startswith(b"\x89PNG") else "svg+xml"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def worth_showing(values: Iterable[float], *, up: bool, always: Iterable[float] = ()) -> tuple[float, float]:
    """Ends of an axis on which the better values can be told apart; values that are far worse are off it.

    Args:
        values: values of a metric; those that are not finite do not count.
        up: whether larger is better.
        always: values that must be on the axis.
    """
    finite = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
    held: Floats = np.array([value for value in always if math.isfinite(value)], dtype=np.float64)
    if not len(finite) + len(held):
        return 0.0, 1.0
    kept = held
    if len(finite):
        good, usual = np.quantile(finite, [1.0, 0.4] if up else [0.0, 0.6])
        reach = 2.5 * abs(good - usual)
        kept = np.concatenate([held, finite[np.abs(finite - good) <= reach]])
    low, high = float(kept.min()), float(kept.max())
    room = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    return low - room, high + room
