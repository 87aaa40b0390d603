"""Sections in which reconstructions are compared."""

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
    """What tuning changed in the reconstruction."""
    shown = gallery.before_and_after()
    groups = _compared(study, gallery, shown, "before_after", most=2)
    if not groups:
        return
    views = {one.trial.number: gallery.views(one.trial) for one in shown}
    best = views[shown[-1].trial.number]
    if best and not _alike([of_one[0] for of_one in views.values() if of_one]):
        said = _said(study, shown[-1])
        whole = [_view(shown[-1], v, limits_of(v), size_of(v), f"best_{k}", said) for k, v in enumerate(best[:2])]
        groups.append(("All of the best reconstruction", whole))
    if len(shown) == 1:
        yield Section("The reconstruction", [] if best else [_OWN_LIMITS], groups=groups, layout="side")
    else:
        yield Section("Before and after", [_explained(gallery, shown)], groups=groups, layout="side")


def fit_to_the_data(study: StudyData, gallery: Gallery) -> Iterator[Section]:
    """What was measured beside what the model says, and the probe, before and after."""
    shown = [(one, views) for one in gallery.first_and_best() if (views := gallery.fits(one.trial))]
    if not shown or shown[-1][0].trial != study.best:
        return
    alike = list(zip(*(views for _, views in shown), strict=False))
    limits = [_widest([limits_of(view) for view in of_one]) for of_one in alike]
    frames = [common_frame(of_one) for of_one in alike]
    groups: Groups = []
    for k, (one, views) in enumerate(shown):
        parts = enumerate(zip(views, limits, frames, strict=False))
        pictures = [_view(one, v, to, frame, f"fit_{k}_{i}", _headed(v)) for i, (v, to, frame) in parts]
        groups.append((_said(study, one), pictures))
    text = "What was measured, what the model makes of it, and what is left."
    if len(shown) > 1:
        text += " The same limits and the same scale in both trials."
    if any(one.trial.level for one, _ in shown):
        text += " A cheap evaluation may show another pattern than a full one."
    yield Section("Fit to the data", [text], groups=groups, layout="side")


def _widest(limits: Sequence[tuple[float, float]]) -> tuple[float, float]:
    lows, highs = zip(*limits, strict=True)
    return min(lows), max(highs)


def _headed(view: View) -> str:
    return unit_label(view.name[0].upper() + view.name[1:], view.unit)


def neighbours(study: StudyData, gallery: Gallery) -> Iterator[Section]:
    """What reconstructions beside the answer look like, along the mismatch that matters most."""
    found = gallery.neighbours()
    if found is None:
        return
    dimension, shown = found
    groups = _compared(study, gallery, shown, "neighbours", most=1, parameter=dimension.name)
    if groups:
        text = (
            f"Stored trials on both sides of the answer along {dimension.name}, which matters most of the mismatch. "
            "They differ in other parameters, too; those nearest in what matters were taken."
        )
        yield Section("What its neighbours look like", [text, _explained(gallery, shown)], groups=groups, layout="side")


def _explained(gallery: Gallery, shown: Sequence[Shown]) -> str:
    views = [of_one for one in shown if (of_one := gallery.views(one.trial))]
    if not views:
        return _OWN_LIMITS
    part = "" if _alike([of_one[0] for of_one in views]) else "the middle part that all of them have, "
    return f"The same scale in all, {part}and the colour limits of the best trial."


def _alike(views: Sequence[View]) -> bool:
    """Whether images show about as much."""
    return all(np.allclose(size_of(view), size_of(views[0]), rtol=0.1) for view in views)


def _compared(
    study: StudyData, gallery: Gallery, shown: Sequence[Shown], name: str, *, most: int, parameter: str = ""
) -> Groups:
    """Rows of pictures: for each view, or each picture where there are no views, one of every trial."""
    best = next((one for one in shown if one.trial == study.best), None)
    if best is None:
        return []
    views = {one.trial.number: gallery.views(one.trial) for one in shown}
    groups: Groups = []
    for i, view in enumerate(views[best.trial.number][:most]):
        row = [(one, of_one[i]) for one in shown if len(of_one := views[one.trial.number]) > i]
        frame, limits = common_frame([v for _, v in row]), limits_of(view)
        pictures = [
            _view(one, v, limits, frame, f"{name}_{i}_{k}", _said(study, one, parameter))
            for k, (one, v) in enumerate(row)
        ]
        groups.append((view.label, pictures))
    return groups or _as_drawn(study, gallery, shown, name, parameter)


def _as_drawn(study: StudyData, gallery: Gallery, shown: Sequence[Shown], name: str, parameter: str) -> Groups:
    """The objective's own pictures."""
    pictures = [
        Picture(
            f"{name}_{k}", path.read_bytes(), f"Trial {one.trial.number}, {one.role}.", _said(study, one, parameter)
        )
        for k, one in enumerate(shown)
        for path in gallery.pictures(one.trial)[:1]
    ]
    return [("", pictures)] if pictures else []


def _view(
    one: Shown, view: View, limits: tuple[float, float], frame: tuple[float, float], name: str, caption: str
) -> Picture:
    low, high = limits
    colours = with_unit(f"{low:.3g} to {high:.3g}", view.unit)
    alt = f"{view.name} of trial {one.trial.number}, {one.role}; colours from {colours}"
    return drawing(name, draw_view(view, limits, frame), alt, caption, raster=True)


def _said(study: StudyData, one: Shown, parameter: str = "") -> str:
    """Which trial it is."""
    trial = one.trial
    kind = f", a cheap evaluation ({trial.equivalents:.2g} of a full one)" if trial.level else ""
    at = f"; {parameter} {with_unit(number(trial.values[parameter]).text, study.unit(parameter))}" if parameter else ""
    role = one.role[0].upper() + one.role[1:]
    return f"{role}: trial {trial.number}{kind}{at}; {study.metric.name} {metric_text(study.value(trial), 5)}"
