"""The best value by trial against the noise ceiling, as what a template draws, and the same in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.service.progress import Progress

_MARGIN = 0.06
"""Part of the height that is left free above and below."""


@dataclass(frozen=True)
class Chart:
    """A chart of 100 by 100 units, y downwards.

    Attributes:
        curve: points of the best value, as SVG has them; empty before there is one.
        ceiling: y of the noise ceiling; None where it is not known.
        top, bottom: values at the upper and the lower edge, as text.
        last: number of the trial at the right edge.
        words: what the chart says.
    """

    curve: str
    ceiling: float | None
    top: str
    bottom: str
    last: int
    words: str


def chart(progress: Progress, steps: Sequence[tuple[int, float]]) -> Chart:
    """The chart of a study.

    Args:
        progress: how far it is.
        steps: where the best value changed: how many trials had ended, and the value. The chart begins where a tenth
            of them have ended: the first values are so much worse that they would flatten the rest.
    """
    last = max(progress.budget or 0, progress.trials, 1)
    words = describe(progress)
    if not steps:
        return Chart("", None, "", "", last, words)
    early = [value for trials, value in steps if trials <= max(progress.trials // 10, steps[0][0])]
    shown = [early[-1], steps[-1][1], *([] if progress.noise_ceiling is None else [progress.noise_ceiling])]
    low, high = min(shown), max(shown)
    free = _MARGIN * ((high - low) or abs(high) or 1.0)
    low, high = low - free, high + free

    def y(value: float) -> float:
        return round(100 * (1 - (min(max(value, low), high) - low) / (high - low)), 2)

    points: list[str] = []
    height = 0.0
    for trials, value in steps:
        x = round(100 * trials / last, 2)
        points += [f"{x:g},{height:g}"] if points else []
        height = y(value)
        points.append(f"{x:g},{height:g}")
    if steps[-1][0] < progress.trials:
        points.append(f"{round(100 * progress.trials / last, 2):g},{height:g}")
    ceiling = None if progress.noise_ceiling is None else y(progress.noise_ceiling)
    return Chart(" ".join(points), ceiling, *_labels(high, low), last, words)


def _labels(high: float, low: float) -> tuple[str, str]:
    """Two ends of an axis, with as many digits as tell them apart."""
    digits = 2 + max(0, math.ceil(math.log10(max(abs(high), abs(low)) / (high - low))))
    return f"{high:.{digits}g}", f"{low:.{digits}g}"


def describe(progress: Progress) -> str:
    """The best value and the noise ceiling in a sentence or two."""
    name = progress.metric or "metric"
    if progress.best is None:
        return "No trial has a value yet."
    ended = f"{progress.trials} of {progress.budget}" if progress.budget else f"{progress.trials}"
    words = f"Best {name} after {ended} trials: {progress.best:.6g}."
    if progress.noise_ceiling is None:
        return f"{words} The noise ceiling is not known."
    return f"{words} The noise ceiling is {progress.noise_ceiling:.6g}."


def time_left(seconds: float | None) -> str:
    """A duration in words, as exact as the estimate is; empty where it is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"about {minutes} min"
    hours = round(seconds / 3600)
    return f"about {hours} h" if hours < 48 else f"about {round(hours / 24)} days"
