"""Figures of the search: convergence, curves of the trials, parallel coordinates, trade-offs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from autotune.objective import Metric
from autotune.problem.goals import SECONDS
from autotune.problem.space import Dimension, Floats
from autotune.report.data import StudyData
from autotune.report.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SEQUENTIAL,
    SMALL,
    TEXT,
    VERMILION,
    label,
    new_axes,
    plain,
    value_text,
    worth_showing,
)
from autotune.store.records import TrialRecord

_BRIGHTEST = 0.93
"""Largest fraction of the colour map in use: beyond it, a line is hardly seen on white."""
_SHADE = {"facecolor": "w", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}


def draw_convergence(study: StudyData) -> Figure:
    """The metric of every trial, and the best one so far, against what the search had cost by then."""
    figure, axes = new_axes(height=3.9, top=1.0)
    spent = study.spent()
    ended = list(zip(study.trials, spent, strict=True))
    full = [(cost, study.value(t)) for t, cost in ended if t.answers(study.limits)]
    broken = [(cost, study.value(t)) for t, cost in ended if t.answers() and not t.answers(study.limits)]
    cheap = [(cost, study.value(t)) for t, cost in ended if t.state == "finished" and t.level > 0]
    ceiling = study.metric.noise_ceiling
    low, high = worth_showing(map(study.value, study.scaling), up=study.up, always=[] if ceiling is None else [ceiling])
    _scatter(axes, cheap, (low, high), "cheap evaluation", GREY, filled=False)
    _scatter(axes, broken, (low, high), "breaks a limit", ORANGE, filled=False)
    _scatter(axes, full, (low, high), "full evaluation", BLUE)
    lost = [cost for t, cost in ended if t.state in ("failed", "pruned")]
    if lost:
        edge = low if study.up else high
        axes.plot(lost, [edge] * len(lost), "x", color=VERMILION, ms=7, mew=2, clip_on=False, label="failed or stopped")
    for full_ones, style, name, colour in (
        (False, ":", "best cheap so far", GREY),
        (True, "-", "best so far", GREEN),
    ):
        steps = incumbents(study, full=full_ones)
        if any(low <= value <= high for _, value in steps):
            x, y = zip(*steps, strict=True)
            axes.plot([*x, spent[-1]], [*y, y[-1]], style, drawstyle="steps-post", color=colour, lw=2, label=name)
    if ceiling is not None:
        axes.axhline(ceiling, color=GREY, ls="--", lw=1.2, label="noise ceiling")
    axes.set_ylim(low, high)
    axes.set_xlim(0, (spent[-1] if spent else 1) * 1.03)
    axes.set_xlabel("cost (full evaluations)", fontsize=TEXT)
    axes.set_ylabel(label(study.metric.name, study.metric.unit), fontsize=TEXT)
    axes.legend(fontsize=SMALL, frameon=False, loc="lower left", bbox_to_anchor=(-0.1, 1.06), ncols=2)
    return figure


def incumbents(study: StudyData, *, full: bool = True) -> list[tuple[float, float]]:
    """Pairs of the search's cost and the best metric of full or of cheap evaluations, whenever that improved."""
    steps: list[tuple[float, float]] = []
    sign = study.metric.sign
    for trial, cost in zip(study.trials, study.spent(), strict=True):
        counts = trial.answers(study.limits) if full else trial.state == "finished" and trial.level > 0
        if counts and (not steps or sign * study.value(trial) > sign * steps[-1][1]):
            steps.append((cost, study.value(trial)))
    return steps


def _scatter(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    ends: tuple[float, float],
    name: str,
    colour: str,
    *,
    filled: bool = True,
) -> None:
    """Draw points, and triangles at the end of the axis for the points off it."""
    if not points:
        return
    x, y = np.array(points).T
    inside = (y >= ends[0]) & (y <= ends[1])
    face = colour if filled else "none"
    axes.plot(x[inside], y[inside], "o", ms=6, label=name, ls="none", color=colour, mfc=face)
    for off, end, pointing in ((y < ends[0], ends[0], "v"), (y > ends[1], ends[1], "^")):
        if off.any():
            axes.plot(x[off], np.full(off.sum(), end), pointing, ms=6, clip_on=False, ls="none", color=colour, mfc=face)


def draw_curves(study: StudyData, name: str) -> Figure:
    """The metric ``name`` after every iteration of every trial that kept its curve, coloured by where it ended.

    Grey and behind are trials that cannot be the answer.
    """
    figure, axes = new_axes()
    shown = [t for t in study.trials if np.isfinite(t.curve.get(name, ())).any()]
    kinds = _kinds(study)
    shown.sort(key=lambda t: kinds[t.number], reverse=True)
    lines = [np.column_stack([np.arange(1, len(t.curve[name]) + 1), t.curve[name]]) for t in shown]
    scaling = {t.number for t in study.scaling}.intersection(t.number for t in shown) or {t.number for t in shown}
    values = np.concatenate([line[:, 1] for t, line in zip(shown, lines, strict=True) if t.number in scaling])
    low, high = worth_showing([t.curve[name][-1] for t in shown if t.number in scaling], up=study.up)
    starts = np.quantile(values[np.isfinite(values)], 0.1 if study.up else 0.9)
    low, high = min(low, float(starts)), max(high, float(starts))
    styles = ["-" if t.level == 0 else (0, (3, 1.5)) for t in shown]
    colours = _colours([line[-1, 1] for line in lines], [kinds[t.number] for t in shown], study.up)
    axes.add_collection(LineCollection(lines, colors=colours, linestyles=styles, linewidths=1.2))
    best = study.best
    if best is not None and len(best.curve.get(name, ())):
        curve = best.curve[name]
        axes.plot(range(1, len(curve) + 1), curve, "o-", color=GREEN, lw=2.5, ms=4, label=f"trial {best.number}, best")
        axes.legend(fontsize=SMALL, loc="lower right" if study.up else "upper right")
    axes.set_xlim(0.8, max(len(line) for line in lines) + 0.2)
    axes.set_ylim(low, high)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("iteration", fontsize=TEXT)
    axes.set_ylabel(plain(name), fontsize=TEXT)
    return figure


def _kinds(study: StudyData) -> dict[int, int]:
    """Number of each trial -> its kind: metrics of one kind compare; -1 for the trials that may be the answer."""
    return {t.number: t.level for t in study.trials} | {t.number: -1 for t in study.compared}


def _colours(values: Sequence[float], kinds: Sequence[int], up: bool) -> Floats:
    """A colour for each value, RGBA (n, 4).

    Values of kind -1 are the brighter, the better, down to the worst value that is worth showing; those of other kinds
    are grey, the best the darkest.
    """
    given, of_kind = np.array(values, dtype=np.float64), np.array(kinds)
    colours = np.zeros((len(given), 4))
    for kind in np.unique(of_kind):
        chosen = of_kind == kind
        low, high = worth_showing(given[chosen], up=up)
        scaled = np.clip((given[chosen] - low) / (high - low), 0.0, 1.0)
        good = scaled if up else 1.0 - scaled
        bright = colormaps[SEQUENTIAL](good * _BRIGHTEST)
        colours[chosen] = bright if kind == -1 else colormaps["Greys"](0.2 + 0.3 * good)
    return colours


def draw_parallel(study: StudyData) -> Figure:
    """Every finished trial as a line across the axes of all parameters, one below the other, coloured by its metric.

    Grey and behind are trials that cannot be the answer; the best one is thick and in front.
    """
    dimensions = study.space.dimensions
    height = 0.75 + 0.62 * max(len(dimensions), 2)
    figure, axes = new_axes(height=height, left=0.3, right=0.3, top=0.05)
    sign, best = study.metric.sign, study.best
    kinds = _kinds(study)
    shown = sorted(study.finished, key=lambda t: (t == best, -kinds[t.number], sign * study.value(t)))
    rows = np.arange(len(dimensions))[::-1].astype(np.float64)
    lines = [np.column_stack([[_place(d, t) for d in dimensions], rows]) for t in shown]
    colours = _colours([study.value(t) for t in shown], [kinds[t.number] for t in shown], study.up)
    widths = [3.0 if t == best else 1.0 for t in shown]
    # A line is broken where a parameter was not used: a value between two breaks is a dot.
    axes.add_collection(LineCollection(_unbroken(lines), colors=_repeat(colours, lines), linewidths=1.1))
    for line, colour, width in zip(lines, colours, widths, strict=True):
        axes.plot(line[:, 0], line[:, 1], "o", color=colour, ms=3 + width)
    if best is not None:
        axes.plot(lines[-1][:, 0], lines[-1][:, 1], "-", color=colours[-1], lw=3)
    for d, row in zip(dimensions, rows, strict=True):
        _axis_of(axes, d, float(row))
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.45, len(dimensions) - 0.45), xticks=[], yticks=[])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.grid(False)
    _colour_key(figure, study)
    return figure


def _place(dimension: Dimension, trial: TrialRecord) -> float:
    """Where a trial's value lies on the axis of a parameter, 0 to 1; NaN where it has none there."""
    value = trial.values.get(dimension.name)
    if value is None or not dimension.contains(value):
        return math.nan
    if dimension.type == "categorical":
        return dimension.choices.index(str(value)) / max(len(dimension.choices) - 1, 1)
    return dimension.to_unit(value)[0]


def _unbroken(lines: Sequence[Floats]) -> list[Floats]:
    return [np.array(pair) for line in lines for pair in pairwise(line)]


def _repeat(colours: Floats, lines: Sequence[Floats]) -> Floats:
    return np.repeat(colours, [max(len(line) - 1, 0) for line in lines], axis=0)


def _axis_of(axes: Axes, dimension: Dimension, row: float) -> None:
    """The line of a parameter, with its name above and its ends below."""
    axes.plot([0, 1], [row, row], color="0.6", lw=0.8, zorder=0)
    axes.text(0, row + 0.12, label(dimension.name, dimension.unit), fontsize=SMALL, va="bottom", bbox=_SHADE)
    if dimension.type == "categorical":
        texts = {i / max(len(dimension.choices) - 1, 1): choice for i, choice in enumerate(dimension.choices)}
    else:
        scale = "" if dimension.scale == "linear" else f" ({dimension.scale})"
        texts = {0.0: value_text(dimension.low), 1.0: value_text(dimension.high) + scale}
    for place, text in texts.items():
        side = "left" if place == 0 else "right" if place == 1 else "center"
        axes.text(place, row - 0.12, plain(text), fontsize=8, va="top", ha=side, color="0.35", bbox=_SHADE)


def _colour_key(figure: Figure, study: StudyData) -> None:
    """Draw along the bottom which metric each colour stands for."""
    values = set(map(study.value, study.compared))
    if len(values) < 2:
        return
    low, high = worth_showing(values, up=study.up)
    bar = figure.add_axes((0.25, 0.30 / figure.get_figheight(), 0.5, 0.1 / figure.get_figheight()))
    ramp = np.linspace(0, _BRIGHTEST, 64)[None]
    bar.imshow(
        ramp if study.up else ramp[:, ::-1], aspect="auto", cmap=SEQUENTIAL, vmin=0, vmax=1, extent=(low, high, 0, 1)
    )
    bar.set_yticks([])
    bar.set_xticks([low, high], [f"{low:.4g}", f"{high:.4g}"], fontsize=8)
    bar.set_xlabel(label(study.metric.name, study.metric.unit), fontsize=SMALL, labelpad=-8)


def draw_front(study: StudyData, other: Metric) -> Figure:
    """The tuned metric of all full trials against another metric; those of the Pareto front stand out."""
    figure, axes = new_axes()
    name = study.metric.name
    front = {trial.trial for trial in study.result.pareto or ()}
    full = [t for t in study.trials if t.answers() and other.name in t.reported]
    for on_front, colour, text in ((False, GREY, "beaten"), (True, ORANGE, "not beaten")):
        chosen = [t for t in full if (t.number in front) == on_front]
        x, y = [t.reported[other.name] for t in chosen], [t.metrics[name] for t in chosen]
        if chosen:
            axes.plot(x, y, "o", color=colour, ms=8 if on_front else 5, mec=BLACK if on_front else colour, label=text)
        for t, place in zip(chosen, zip(x, y, strict=True), strict=True) if on_front else ():
            axes.annotate(f"{t.number}", place, (5, 4), textcoords="offset points", fontsize=8)
    better = "to the right" if other.goal == "maximize" else "to the left"
    axes.set_xlabel(f"{label(other.name, other.unit)}, better {better}", fontsize=TEXT)
    axes.set_ylabel(label(name, study.metric.unit), fontsize=TEXT)
    if other.name == SECONDS.name:
        axes.set_xlim(left=0)
    if full:
        axes.legend(fontsize=SMALL)
    return figure
