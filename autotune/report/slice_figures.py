"""Figures of cuts through the surrogate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from autotune.problem.space import Dimension
from autotune.report.data import StudyData
from autotune.report.slices import Cuts, Line, Plane
from autotune.report.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    SEQUENTIAL,
    SKY,
    SMALL,
    label,
    new_axes,
    plain,
    value_text,
    worth_showing,
)
from autotune.store.records import TrialRecord

BAND = 1.645
"""Standard deviations to each side of a mean that hold 90 % of a normal distribution."""
_SIZE = (3.7, 2.7)
_FEW_DECADES = 2.0
"""On a shorter logarithmic axis, 1, 2 and 5 of each decade are labelled."""


def draw_line(study: StudyData, cuts: Cuts, line: Line) -> Figure:
    """Mean and 90 % band along one parameter, the answer, and the trials: the fainter, the farther from the cut."""
    figure, axes = new_axes(*_SIZE)
    d = line.dimension
    x = np.arange(len(line.values)) if d.type == "categorical" else np.array(line.values, dtype=np.float64)
    low, high = line.mean - BAND * line.deviation, line.mean + BAND * line.deviation
    if d.type == "float":
        axes.fill_between(x, low, high, color=SKY, alpha=0.45, lw=0, label="90 % band")
        axes.plot(x, line.mean, color=BLUE, lw=2, label="mean")
    else:
        axes.errorbar(
            x, line.mean, BAND * line.deviation, fmt="s", color=BLUE, ms=5, capsize=4, label="mean, 90 % band"
        )
    ends = worth_showing([*line.mean, *low, *high], up=study.up, always=[*line.mean])
    _trials(axes, study, cuts, d, ends)
    _mark_answer(axes, study, d)
    axes.set_ylim(*ends)
    _scale(axes.xaxis, axes.set_xscale, axes.set_xlim, d)
    axes.set_xlabel(label(d.name, d.unit), fontsize=SMALL)
    axes.set_ylabel(label(study.metric.name, study.metric.unit), fontsize=SMALL)
    return figure


def _trials(axes: Axes, study: StudyData, cuts: Cuts, dimension: Dimension, ends: tuple[float, float]) -> None:
    """Draw trials as dots where they are on the axes, and the places of all trials along the bottom."""
    shown = [t for t in study.finished if _has(dimension, t)]
    places = [_number(dimension, t) for t in shown]
    axes.plot(places, np.full(len(places), 0.015), "|", color="0.35", ms=6, transform=axes.get_xaxis_transform())
    for trial, place in zip(shown, places, strict=True):
        value = study.value(trial)
        if ends[0] <= value <= ends[1]:
            face = "none" if trial.level else BLACK
            shade = 0.25 + 0.75 * cuts.nearness.get(trial.number, 0.0)
            axes.plot(place, value, "o", color=BLACK, ms=4.5, alpha=shade, mew=0.9, mfc=face)


def _mark_answer(axes: Axes, study: StudyData, dimension: Dimension) -> None:
    """Draw the estimate as a line and the interval as a band."""
    parameter = study.result.parameters[dimension.name]
    if dimension.type == "categorical":
        return
    if parameter.interval is not None:
        axes.axvspan(*parameter.interval, color=GREEN, alpha=0.22, lw=0)
    estimate = parameter.best if parameter.estimate is None else parameter.estimate
    if estimate is not None:
        axes.axvline(float(estimate), color=GREEN, lw=1.5)


def _has(dimension: Dimension, trial: TrialRecord) -> bool:
    return dimension.name in trial.values and dimension.contains(trial.values[dimension.name])


def _number(dimension: Dimension, trial: TrialRecord) -> float:
    value = trial.values[dimension.name]
    return float(dimension.choices.index(str(value)) if dimension.type == "categorical" else value)


def _scale(axis: Any, set_scale: Any, set_limits: Any, dimension: Dimension) -> None:
    """Set ticks, scale and ends of the axis of a parameter."""
    if dimension.type == "categorical":
        axis.set_ticks(range(len(dimension.choices)), [plain(choice) for choice in dimension.choices])
        set_limits(-0.5, len(dimension.choices) - 0.5)
        return
    if dimension.log:
        set_scale("log")
        _round_ticks(axis, dimension)
    else:
        axis.get_major_formatter().set_powerlimits((-3, 5))  # beyond, the numbers are too long for the margin
        axis.get_major_locator().set_params(integer=dimension.type == "int")
    low, high = dimension.edges()
    set_limits(low, high)


def _round_ticks(axis: Any, dimension: Dimension) -> None:
    """Label a logarithmic axis with few plain numbers, and its minor ticks with none."""
    decades = math.log10(dimension.high / dimension.low)
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < _FEW_DECADES else (1.0,)))
    if decades < _FEW_DECADES:
        axis.set_major_formatter(FuncFormatter(lambda value, _: value_text(value)))
    axis.set_minor_formatter(NullFormatter())


def draw_plane(study: StudyData, plane: Plane) -> Figure:
    """Mean over two parameters in colours, standard deviation as white contours, the answer and the trials."""
    figure, axes = new_axes(4.1, 3.1, left=0.95, right=0.85)
    low, high = worth_showing(plane.mean.ravel(), up=study.up)
    low, high = max(low, float(plane.mean.min())), min(high, float(plane.mean.max()))
    shown = axes.pcolormesh(
        plane.x_values,
        plane.y_values,
        plane.mean,
        cmap=SEQUENTIAL if study.up else f"{SEQUENTIAL}_r",
        vmin=low,
        vmax=high,
        shading="gouraud",
        rasterized=True,
    )
    if np.ptp(plane.deviation) > 1e-3 * float(plane.deviation.max()):
        contours = axes.contour(
            plane.x_values, plane.y_values, plane.deviation, 3, colors="w", linewidths=0.8, linestyles="dashed"
        )
        axes.clabel(contours, fmt="%.1g", fontsize=7)
    _scale(axes.xaxis, axes.set_xscale, axes.set_xlim, plane.x)
    _scale(axes.yaxis, axes.set_yscale, axes.set_ylim, plane.y)
    axes.grid(False)
    for trial in study.finished:
        if _has(plane.x, trial) and _has(plane.y, trial):
            face = "none" if trial.level else "w"
            place = _number(plane.x, trial), _number(plane.y, trial)
            axes.plot(*place, "o", mfc=face, mec="w" if trial.level else BLACK, ms=4.5, mew=0.9, clip_on=False)
    _mark_answers(axes, study, (plane.x, plane.y))
    bar = figure.colorbar(shown, cax=axes.inset_axes((1.03, 0, 0.05, 1)))
    bar.ax.tick_params(labelsize=7)
    bar.formatter.set_locs(list(bar.get_ticks()))
    power = bar.formatter.get_offset()  # where matplotlib would write it, the name is
    bar.ax.yaxis.get_offset_text().set_visible(False)
    head = f"{plain(study.metric.name)} {power}" if power else plain(study.metric.name)
    bar.ax.text(0, 1.02, head, fontsize=7, transform=bar.ax.transAxes)
    axes.set_xlabel(label(plane.x.name, plane.x.unit), fontsize=SMALL)
    axes.set_ylabel(label(plane.y.name, plane.y.unit), fontsize=SMALL)
    return figure


def _mark_answers(axes: Axes, study: StudyData, pair: Sequence[Dimension]) -> None:
    """Draw the answer as a star and its intervals as a cross."""
    along_x, along_y = (study.result.parameters[d.name] for d in pair)
    x, y = (p.best if p.estimate is None else p.estimate for p in (along_x, along_y))
    if x is None or y is None:
        return
    if along_x.interval is not None and along_y.interval is not None:
        (left, right), (bottom, top) = along_x.interval, along_y.interval
        axes.plot([left, right], [y, y], "-", color=ORANGE, lw=1.8)
        axes.plot([x, x], [bottom, top], "-", color=ORANGE, lw=1.8)
    axes.plot(x, y, "*", color=ORANGE, mec=BLACK, mew=0.6, ms=12, clip_on=False)
