"""Sections that compare reconstructions: before and after tuning, with the data, with the answer's neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from autotune.objective import View
from autotune.report.data import StudyData
from autotune.report.parts import Picture, Section, drawing, number
from autotune.report.reconstructions import Gallery, Shown, common_frame, draw_view, limits_of, size_of
from autotune.text import metric_text, unit_label, with_unit

_OWN_LIMITS = "As the objective drew them: each picture has limits of its own."
Groups = list[tuple[str, list[Picture]]]


def before_and_after(study: StudyData, gallery: Gallery) -> Iterator[Section]:
    """The section that shows the reconstruction before and after tuning."""
    shown = gallery.before_and_after()
    groups = _compared(study, gallery, shown, "before_after", most=2)
    if not groups:
        return
    views = {entry.trial.number: gallery.views(entry.trial) for entry in shown}
    best = views[shown[-1].trial.number]
    if best and not _alike([of_trial[0] for of_trial in views.values() if of_trial]):
        caption = _caption(study, shown[-1])
        whole = [_view(shown[-1], v, limits_of(v), size_of(v), f"best_{k}", caption) for k, v in enumerate(best[:2])]
        groups.append(("All of the best reconstruction", whole))
    if len(shown) == 1:
        yield Section("The reconstruction", [] if best else [_OWN_LIMITS], groups=groups, layout="side")
    else:
        yield Section("Before and after", [_explained(gallery, shown)], groups=groups, layout="side")


def fit_to_the_data(study: StudyData, gallery: Gallery) -> Iterator[Section]:
    """The section that shows the measurement beside the model, and the probe, before and after tuning."""
    shown = [(entry, views) for entry in gallery.first_and_best() if (views := gallery.fits(entry.trial))]
    if not shown or shown[-1][0].trial != study.best:
        return
    alike = list(zip(*(views for _, views in shown), strict=False))
    limits = [_widest([limits_of(view) for view in of_trial]) for of_trial in alike]
    frames = [common_frame(of_trial) for of_trial in alike]
    groups: Groups = []
    for k, (entry, views) in enumerate(shown):
        parts = enumerate(zip(views, limits, frames, strict=False))
        pictures = [_view(entry, v, to, frame, f"fit_{k}_{i}", _headed(v)) for i, (v, to, frame) in parts]
        groups.append((_caption(study, entry), pictures))
    text = "What was measured, what the model makes of it, and what is left."
    if len(shown) > 1:
        text += " The same limits and the same scale in both trials."
    if any(entry.trial.level for entry, _ in shown):
        text += " A cheap evaluation may show another pattern than a full one."
    yield Section("Fit to the data", [text], groups=groups, layout="side")


def _widest(limits: Sequence[tuple[float, float]]) -> tuple[float, float]:
    lows, highs = zip(*limits, strict=True)
    return min(lows), max(highs)


def _headed(view: View) -> str:
    return unit_label(view.name[0].upper() + view.name[1:], view.unit)


def neighbours(study: StudyData, gallery: Gallery) -> Iterator[Section]:
    """The section that shows trials on both sides of the answer, along the mismatch that matters most."""
    beside = gallery.neighbours()
    if beside is None:
        return
    dimension, shown = beside
    groups = _compared(study, gallery, shown, "neighbours", most=1, parameter=dimension.name)
    if groups:
        text = (
            f"Stored trials on both sides of the answer along {dimension.name}, which matters most of the mismatch. "
            "They differ in other parameters, too; those nearest in what matters were taken."
        )
        yield Section("What its neighbours look like", [text, _explained(gallery, shown)], groups=groups, layout="side")


def _explained(gallery: Gallery, shown: Sequence[Shown]) -> str:
    views = [of_trial for entry in shown if (of_trial := gallery.views(entry.trial))]
    if not views:
        return _OWN_LIMITS
    part = "" if _alike([of_trial[0] for of_trial in views]) else "the middle part that all of them have, "
    return f"The same scale in all, {part}and the colour limits of the best trial."


def _alike(views: Sequence[View]) -> bool:
    """Whether images show areas of about the same size."""
    return all(np.allclose(size_of(view), size_of(views[0]), rtol=0.1) for view in views)


def _compared(
    study: StudyData, gallery: Gallery, shown: Sequence[Shown], name: str, *, most: int, parameter: str = ""
) -> Groups:
    """Rows of pictures, a picture of every trial in each: a row for each view, or each picture without views."""
    best = next((entry for entry in shown if entry.trial == study.best), None)
    if best is None:
        return []
    views = {entry.trial.number: gallery.views(entry.trial) for entry in shown}
    groups: Groups = []
    for i, view in enumerate(views[best.trial.number][:most]):
        row = [(entry, of_trial[i]) for entry in shown if len(of_trial := views[entry.trial.number]) > i]
        frame, limits = common_frame([v for _, v in row]), limits_of(view)
        pictures = [
            _view(entry, v, limits, frame, f"{name}_{i}_{k}", _caption(study, entry, parameter))
            for k, (entry, v) in enumerate(row)
        ]
        groups.append((view.label, pictures))
    return groups or _as_drawn(study, gallery, shown, name, parameter)


def _as_drawn(study: StudyData, gallery: Gallery, shown: Sequence[Shown], name: str, parameter: str) -> Groups:
    """The pictures that the objective drew."""
    pictures = [
        Picture(
            f"{name}_{k}",
            path.read_bytes(),
            f"Trial {entry.trial.number}, {entry.role}.",
            _caption(study, entry, parameter),
        )
        for k, entry in enumerate(shown)
        for path in gallery.pictures(entry.trial)[:1]
    ]
    return [("", pictures)] if pictures else []


def _view(
    entry: Shown, view: View, limits: tuple[float, float], frame: tuple[float, float], name: str, caption: str
) -> Picture:
    low, high = limits
    colours = with_unit(f"{low:.3g} to {high:.3g}", view.unit)
    alt = f"{view.name} of trial {entry.trial.number}, {entry.role}; colours from {colours}"
    return drawing(name, draw_view(view, limits, frame), alt, caption, raster=True)


def _caption(study: StudyData, entry: Shown, parameter: str = "") -> str:
    """The caption: which trial it is, where it is, and its metric."""
    trial = entry.trial
    kind = f", a cheap evaluation ({trial.equivalents:.2g} of a full one)" if trial.level else ""
    at = f"; {parameter} {with_unit(number(trial.values[parameter]).text, study.unit(parameter))}" if parameter else ""
    role = entry.role[0].upper() + entry.role[1:]
    return f"{role}: trial {trial.number}{kind}{at}; {study.metric.name} {metric_text(study.value(trial), 5)}"
