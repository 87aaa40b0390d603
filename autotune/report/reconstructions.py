"""Which trials' reconstructions a report compares, and how one is drawn: on the same limits and at the same scale."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autotune.errors import InputError
from autotune.objective import ShowsFits, ShowsReconstructions, View, find_objective_type
from autotune.problem.space import Dimension
from autotune.report.data import StudyData
from autotune.report.style import plain
from autotune.store.records import TrialRecord
from autotune.text import with_unit

NEIGHBOUR = 0.15
"""Distance of a neighbour from the answer along a parameter that is aimed at, as a fraction of the searched range."""
_NANOMETRE, _MICROMETRE = 10.0, 1e4
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shown:
    """A trial and why it is shown."""

    trial: TrialRecord
    role: str


@dataclass(frozen=True)
class Gallery:
    """The reconstructions that a study's trials have kept."""

    study: StudyData

    @cached_property
    def _type(self) -> object:
        """The objective's type, which may draw them; None where the objective is not installed here."""
        try:
            return find_objective_type(self.study.objective)
        except InputError:
            return None

    def views(self, trial: TrialRecord) -> Sequence[View]:
        """Images of a trial's reconstruction; none where it kept nothing that can be shown."""
        objective = self._type
        return self._shown(trial, objective.views) if isinstance(objective, ShowsReconstructions) else ()

    def fits(self, trial: TrialRecord) -> Sequence[View]:
        """Images of how a trial fits the measurement; none where it kept nothing that can be shown."""
        objective = self._type
        return self._shown(trial, objective.fits) if isinstance(objective, ShowsFits) else ()

    def _shown(self, trial: TrialRecord, show: Callable[..., Sequence[View]]) -> Sequence[View]:
        path = self._path(trial)
        if not path.is_file():
            return ()
        try:
            return show(*_read(path))
        except Exception as error:  # the objective is faulty or the file damaged: no reason for no report
            _log.warning("Trial %d cannot be shown (%s: %s)", trial.number, type(error).__name__, error)
            return ()

    def pictures(self, trial: TrialRecord) -> list[Path]:
        """The pictures that the objective drew of a trial, each on limits of its own."""
        return sorted(self.study.folder(trial.number).glob("*.png"))

    def kept(self, trial: TrialRecord) -> bool:
        """Whether a trial kept anything to show."""
        return self._path(trial).is_file() or bool(self.pictures(trial))

    def before_and_after(self) -> list[Shown]:
        """The first trial and the best one; the best of the cheap evaluations between, where the first was cheap."""
        best, kept = self.study.best, [trial for trial in self.study.finished if self.kept(trial)]
        if best is None or best not in kept:
            return []
        first = kept[0]
        if first == best:
            return [Shown(best, "the best trial, and the first")]
        shown = [Shown(first, "before: the first trial")]
        if first.level:
            sign = self.study.metric.sign
            alike = max((t for t in kept if t.level == first.level), key=lambda t: sign * self.study.value(t))
            shown += [Shown(alike, "the best of the same kind")] if alike != first else []
        return [*shown, Shown(best, "after: the best trial")]

    def first_and_best(self) -> list[Shown]:
        """The first full evaluation and the best one; where these are the same, the first of all and the best."""
        best, kept = self.study.best, [trial for trial in self.study.finished if self.kept(trial)]
        if best is None or best not in kept:
            return []
        full = next(trial for trial in kept if trial.level == 0)
        every = next(trial for trial in self.study.finished if trial.level == 0)
        if full != best:
            before = f"before: the first full evaluation{'' if full == every else ' kept here'}"
            return [Shown(full, before), Shown(best, "after: the best trial")]
        everything = kept[0] == self.study.finished[0]
        if kept[0] != best:
            before = f"before: the first trial{'' if everything else ' kept here'}"
            return [Shown(kept[0], before), Shown(best, "after: the best trial")]
        return [Shown(best, "the best trial, and the first" if everything else "the best trial")]

    def neighbours(self) -> tuple[Dimension, list[Shown]] | None:
        """Trials below and above the answer along the mismatch that matters most, the best trial between them.

        None where no trial is on one of the sides, or it is not known what matters.
        """
        best, dimension = self.study.best, self._most_telling()
        if best is None or dimension is None or not self.kept(best):
            return None
        sides = [self._neighbour(best, dimension, side) for side in (-1, 1)]
        if sides[0] is None or sides[1] is None:
            return None
        roles = (f"lower {dimension.name}", "the best trial", f"higher {dimension.name}")
        return dimension, [Shown(t, role) for t, role in zip((sides[0], best, sides[1]), roles, strict=True)]

    def _most_telling(self) -> Dimension | None:
        """The mismatch parameter of the best trial with the largest total sensitivity; None where that is unknown."""
        best, totals = self.study.best, self._total_sensitivities()
        if best is None:
            return None
        able = [
            d
            for d in self.study.space.dimensions
            if d.kind == "mismatch" and d.type == "float" and d.name in totals and d.name in best.values
        ]
        return max(able, key=lambda d: totals[d.name], default=None)

    def _total_sensitivities(self) -> dict[str, float]:
        parameters = self.study.result.parameters
        return {name: p.sensitivity.total for name, p in parameters.items() if p.sensitivity is not None}

    def _neighbour(self, best: TrialRecord, dimension: Dimension, side: int) -> TrialRecord | None:
        """The trial on one side of the best one nearest to the point :data:`NEIGHBOUR` away along a parameter.

        Distances are weighted by total sensitivities.
        """
        space, totals = self.study.space, self._total_sensitivities()
        centre = dimension.to_unit(best.values[dimension.name])[0]
        weights = np.repeat([totals[d.name] for d in space.dimensions], [d.width for d in space.dimensions])
        wanted = space.to_unit({**best.values, dimension.name: dimension.from_unit([centre + side * NEIGHBOUR])})

        def distance(trial: TrialRecord) -> float:
            return float((weights * np.square(space.to_unit(trial.values) - wanted)).sum())

        able = [
            t
            for t in self.study.finished
            if self.kept(t) and space.contains(t.values) and dimension.name in t.values
            if side * (dimension.to_unit(t.values[dimension.name])[0] - centre) > NEIGHBOUR / 5
        ]
        return min(able, key=distance, default=None)

    def _path(self, trial: TrialRecord) -> Path:
        return self.study.folder(trial.number) / "reconstruction.h5"


def _read(path: Path) -> tuple[dict[str, np.ndarray[Any, Any]], Mapping[str, Any]]:
    """The arrays and attributes that :mod:`autotune.execution.artifacts` wrote."""
    import h5py

    with h5py.File(path) as file:
        arrays = {name: part[()] for name, part in file.items() if isinstance(part, h5py.Dataset)}
        return arrays, {
            name: value.item() if isinstance(value, np.generic) else value for name, value in file.attrs.items()
        }


def limits_of(view: View) -> tuple[float, float]:
    """Colour limits of a view: those that it states, or the range of its image without outliers."""
    if view.limits is not None:
        return view.limits
    finite = view.image[np.isfinite(view.image)]
    low, high = (float(q) for q in np.quantile(finite, (0.005, 0.995))) if finite.size else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def draw_view(view: View, limits: tuple[float, float], frame: tuple[float, float]) -> Figure:
    """The middle of an image, with a scale bar and a colour bar.

    Args:
        view: the image.
        limits: limits of the colours, the same for all images that are compared.
        frame: height and width of the part that is shown, in the view's unit of length; the same, too.
    """
    (height, width), below = frame, 0.5
    tall = 3.0 * min(max(height / width, 0.3), 3.0)
    figure = Figure(figsize=(3.0, tall + below))
    axes = figure.add_axes((0.01, below / (tall + below), 0.98, 0.99 * tall / (tall + below)))
    rows, columns = view.image.shape
    half_y, half_x = rows * view.pixel_y / 2, columns * view.pixel_x / 2
    extent = (-half_x, half_x, half_y, -half_y)
    shown = axes.imshow(view.image, cmap=view.colours, vmin=limits[0], vmax=limits[1], extent=extent)
    axes.set(xlim=(-width / 2, width / 2), ylim=(height / 2, -height / 2), xticks=[], yticks=[], facecolor="0.85")
    _scale_bar(axes, view.length_unit, width)
    bar = figure.colorbar(shown, cax=figure.add_axes((0.03, 0.31 / (tall + below), 0.94, 0.12 / (tall + below))),
                          orientation="horizontal")  # fmt: skip
    ticks = [limits[0], (limits[0] + limits[1]) / 2, limits[1]]
    bar.set_ticks(ticks, labels=[f"{tick:.3g}".replace("-", "−") for tick in ticks])
    bar.ax.tick_params(labelsize=11)
    first, _, last = bar.ax.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    return figure


def _scale_bar(axes: Axes, unit: str, width: float) -> None:
    """Draw a bar of a round length, about a quarter of the shown width."""
    length = _round_length(width / 4)
    place = axes.transAxes
    for colour, thick in (("k", 7), ("w", 5)):  # rimmed, to be seen on white
        ends = [0.04, 0.04 + length / width]
        axes.plot(ends, [0.05, 0.05], "-", color=colour, lw=thick, solid_capstyle="butt", transform=place)
    shade = {"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 2}
    text = plain(_length(length, unit))
    axes.text(0.045, 0.09, text, color="w", fontsize=12, va="bottom", bbox=shade, transform=place)


def size_of(view: View) -> tuple[float, float]:
    """Height and width of an image, in its unit of length."""
    rows, columns = view.image.shape
    return rows * view.pixel_y, columns * view.pixel_x


def common_frame(views: Sequence[View]) -> tuple[float, float]:
    """Height and width of the middle part that all images have."""
    heights, widths = zip(*map(size_of, views), strict=True)
    return min(heights), min(widths)


def _round_length(most: float) -> float:
    decade: float = 10.0 ** math.floor(math.log10(most))
    return max(step * decade for step in (1, 2, 5) if step * decade <= most)


def _length(length: float, unit: str) -> str:
    if unit == "angstrom" and length >= _MICROMETRE / 10:
        return f"{length / _MICROMETRE:g} µm"
    if unit == "angstrom" and length >= _NANOMETRE:
        return f"{length / _NANOMETRE:g} nm"
    return with_unit(f"{length:g}", unit)
