"""Figures of the answer: intervals, sensitivities, correlations and the probabilities of choices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from autotune.objective import Value
from autotune.problem.space import Dimension
from autotune.report.data import StudyData
from autotune.report.style import (
    BLACK,
    BLUE,
    DIVERGING,
    ORANGE,
    SKY,
    SMALL,
    TEXT,
    VERMILION,
    label,
    new_axes,
    plain,
    value_text,
)
from autotune.results.document import Sensitivity

_ROW = 0.52
"""Height of a parameter's row, in inches."""


def draw_intervals(study: StudyData) -> Figure:
    """Best value, estimate and interval of every number that the best trial used, over the range that was searched."""
    results = study.result.parameters
    shown = [
        (d, results[d.name], best)
        for d in study.space.dimensions
        if d.type != "categorical" and (best := results[d.name].best) is not None
    ]
    figure, axes = new_axes(height=0.85 + _ROW * max(len(shown), 1), left=0.2, right=0.2, top=0.05)
    for row, (d, parameter, best) in enumerate(reversed(shown)):
        axes.plot([0, 1], [row, row], color="0.8", lw=6, solid_capstyle="butt", zorder=0)
        if parameter.interval is not None:
            ends = [_place(d, end) for end in parameter.interval]
            axes.plot(
                ends, [row, row], "|-", color=BLUE, lw=6, ms=13, mew=2, solid_capstyle="butt", label="90 % interval"
            )
        if parameter.estimate is not None:
            axes.plot(_place(d, parameter.estimate), row, "o", color="w", mec=BLACK, ms=8, label="estimate")
        axes.plot(_place(d, best), row, "D", color=ORANGE, mec=BLACK, mew=0.5, ms=5, label="best trial")
        axes.text(0, row + 0.2, label(d.name, d.unit), fontsize=SMALL, va="bottom")
        for end, side, value in ((0, "left", d.low), (1, "right", d.high)):
            axes.text(end, row - 0.18, value_text(value), fontsize=8, va="top", ha=side, color="0.35")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.55, len(shown) - 0.3), xticks=[], yticks=[])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.grid(False)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if handles:
        figure.legend(handles.values(), handles, fontsize=SMALL, loc="lower center", ncols=3, frameon=False)
    return figure


def _place(dimension: Dimension, value: Value) -> float:
    """Where a value lies on the searched range, 0 to 1."""
    return min(max(dimension.to_unit(value)[0], 0.0), 1.0)


def draw_sensitivities(sensitivities: Mapping[str, Sensitivity]) -> Figure:
    """Share of the metric's variance that each parameter brings about by itself, and together with others."""
    order = sorted(sensitivities, key=lambda name: sensitivities[name].total)
    figure, axes = new_axes(height=1.1 + 0.46 * len(order), left=0.2, right=0.3, top=0.4)
    for row, name in enumerate(order):
        axes.barh(row, sensitivities[name].total, 0.34, color=SKY, label="with all others (total)")
        axes.barh(row, sensitivities[name].main, 0.34, color=BLUE, label="by itself (main)")
        axes.text(0.004, row + 0.2, plain(name), fontsize=SMALL, va="bottom")
    axes.set(xlim=(0, 1.02), ylim=(-0.4, len(order) - 0.2), yticks=[])
    axes.set_xlabel("share of the metric's variance over the searched ranges", fontsize=TEXT)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(
        handles.values(), handles, fontsize=SMALL, frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2
    )
    return figure


def draw_correlations(correlations: Mapping[str, Mapping[str, float]]) -> Figure:
    """Correlation coefficients (name -> name -> coefficient) of the optimum's location."""
    names = list(correlations)
    values = np.array([[correlations[name][other] for other in names] for name in names], dtype=np.float64)
    left, size = 0.45 + 0.075 * max(map(len, names)), 0.45 * max(len(names), 3)
    figure, axes = new_axes(left + size + 0.15, size + 0.67, left=left, right=0.15, top=0.15)
    axes.imshow(values, cmap=DIVERGING, vmin=-1, vmax=1)
    for (i, j), value in np.ndenumerate(values):
        colour = "w" if abs(value) > 0.6 else "k"
        if len(names) <= 12:
            axes.text(j, i, f"{value:.2f}".replace("-", "−"), ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(names)), [str(i + 1) for i in range(len(names))], fontsize=SMALL)
    axes.set_yticks(range(len(names)), [f"{plain(name)}  {i + 1}" for i, name in enumerate(names)], fontsize=SMALL)
    axes.grid(False)
    return figure


def draw_choices(choices: Mapping[str, float]) -> Figure:
    """How probable it is that each choice of a categorical parameter is the best, all else held."""
    figure, axes = new_axes(3.6, 0.9 + 0.4 * len(choices), left=0.2, right=0.3)
    for row, (choice, probability) in enumerate(reversed(list(choices.items()))):
        axes.barh(row, probability, 0.34, color=VERMILION if probability == max(choices.values()) else SKY)
        axes.text(0.01, row + 0.2, plain(choice), fontsize=SMALL, va="bottom")
    axes.set(xlim=(0, 1.02), ylim=(-0.4, len(choices) - 0.2), yticks=[])
    axes.set_xlabel("probability of being the best", fontsize=TEXT)
    return figure
