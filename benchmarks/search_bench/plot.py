"""Median regret against trials, one panel per problem."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from search_bench.summary import Summary

# The palette of M. Okabe and K. Ito, "Color Universal Design" (2008), is distinct with any colour vision; dashes make
# the same distinction in grey.
_STYLES = {
    "gp-gradients": ("#D55E00", "-", 2.6),
    "gp": ("#D55E00", "--", 2.2),
    "optuna-tpe": ("#56B4E9", "-", 1.4),
    "optuna-gp": ("#0072B2", "-.", 1.4),
    "botorch": ("#009E73", (0, (5, 1, 1, 1, 1, 1)), 1.4),
    "ax": ("#CC79A7", "-", 1.4),
    "skopt": ("#000000", ":", 1.6),
}
_COLUMNS = 4


def plot_regret(summaries: Sequence[Summary], path: Path) -> None:
    """Draw the median curves of ``summaries`` into a PNG file."""
    columns = min(_COLUMNS, len(summaries))
    rows = math.ceil(len(summaries) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.6 * columns, 3.0 * rows + 0.8), squeeze=False)
    for panel, summary in zip(axes.flat, summaries, strict=False):
        _panel(panel, summary)
    for panel in list(axes.flat)[len(summaries) :]:
        panel.axis("off")
    handles = {
        label: line for panel in axes.flat for line, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.8 / (3.0 * rows + 0.8), 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(panel: Axes, summary: Summary) -> None:
    problem = summary.problem
    for row in summary.rows:
        colour, dashes, width = _STYLES[row.kind.name]
        trials = np.arange(1, len(row.regret) + 1)
        shown = np.maximum(row.regret, problem.resolution)
        panel.plot(trials, shown, color=colour, linestyle=dashes, linewidth=width, label=row.kind.title)
    panel.axhline(problem.target, color="0.6", linewidth=0.8, zorder=0)
    panel.set_yscale("log")
    panel.set_xlabel("trials")
    panel.set_ylabel("regret" if problem.optimum is not None else "regret / noise ceiling")
    panel.set_title(problem.title, fontsize=9)
