"""The sections of a report, in the order in which people ask.

A new section is a function that yields it, or yields nothing where a study has nothing for it, and a row of the table
in :func:`all_sections`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from autotune.objective import Metric
from autotune.report.comparisons import before_and_after, fit_to_the_data, neighbours
from autotune.report.data import StudyData
from autotune.report.interval_figures import draw_choices, draw_correlations, draw_intervals, draw_sensitivities
from autotune.report.parts import Section, Table, drawing, number
from autotune.report.reconstructions import Gallery
from autotune.report.search_figures import draw_convergence, draw_curves, draw_front, draw_parallel
from autotune.report.slice_figures import draw_line, draw_plane
from autotune.report.slices import Cuts
from autotune.report.tables import confirmation, every_trial, failures
from autotune.store.records import TrialRecord
from autotune.text import unit_label

MANY = 300
"""With more trials than this, figures are written as pixels, not as outlines."""


def all_sections(study: StudyData, cuts: Cuts | str, gallery: Gallery) -> list[Section]:
    """All sections that this study has something for.

    Args:
        study: the study.
        cuts: cuts through its surrogate; why there are none, in a sentence.
        gallery: its reconstructions.
    """
    table = (
        before_and_after(study, gallery),
        fit_to_the_data(study, gallery),
        _convergence(study),
        _intervals(study),
        _slices(study, cuts),
        _planes(study, cuts),
        _parallel(study),
        _sensitivities(study),
        _choices(study),
        _correlations(study),
        _curves(study),
        _fronts(study),
        neighbours(study, gallery),
        failures(study),
        confirmation(study),
        every_trial(study),
    )
    return list(chain.from_iterable(table))


def _convergence(study: StudyData) -> Iterator[Section]:
    if not study.trials:
        return
    name, spent = study.metric.name, study.spent()[-1]
    alt = f"{name} of every trial, and the best so far, against cost, from 0 to {spent:.3g} full evaluations."
    text = f"The {name} of every trial against what the search had cost by then; triangles are off the axis."
    if study.own_levels > 1:
        text += " Values of cheap evaluations (grey) do not compare with those of full ones."
    picture = drawing("convergence", draw_convergence(study), alt, raster=len(study.trials) > MANY)
    yield Section("Convergence", [text], [picture])


def _intervals(study: StudyData) -> Iterator[Section]:
    if study.best is None or all(d.type == "categorical" for d in study.space.dimensions):
        return
    alt = "Best value, estimate and 90 % interval of every parameter over its searched range; numbers as in the table."
    picture = drawing("intervals", draw_intervals(study), alt)
    yield Section("Intervals", ["Each over the range that was searched."], [picture])


def _slices(study: StudyData, cuts: Cuts | str) -> Iterator[Section]:
    if not study.space.dimensions:
        return
    if isinstance(cuts, str):
        yield Section("Slices of the surrogate", [cuts])
        return
    name = study.metric.name
    pictures = [
        drawing(
            f"slice_{line.dimension.name}",
            draw_line(study, cuts, line),
            f"Mean of {name} by the surrogate, with its 90 % band, along {line.dimension.name}.",
            raster=len(study.trials) > MANY,
        )
        for line in cuts.lines
    ]
    where = "the answer" if study.result.metric.estimate is not None else "the best trial"
    cheap = "; open ones are cheap" if study.own_levels > 1 else ""
    text = [
        "What the Gaussian process has made of the trials: its mean (blue) and 90 % band along each parameter, all "
        f"others held at {where}. Dots are trials, the fainter the farther from the slice{cheap}; strokes along the "
        "bottom show where all of them were. Green: estimate and 90 % interval."
    ]
    unused = [d.name for d in study.space.dimensions if d.name not in cuts.at]
    if unused:
        text.append(f"Not used there, so without a slice: {', '.join(unused)}.")
    yield Section("Slices of the surrogate", text, pictures, layout="grid")


def _planes(study: StudyData, cuts: Cuts | str) -> Iterator[Section]:
    if isinstance(cuts, str) or not cuts.planes:
        return
    pictures = [
        drawing(
            f"plane_{plane.x.name}_{plane.y.name}",
            draw_plane(study, plane),
            f"Mean of {study.metric.name} by the surrogate over {plane.x.name} and {plane.y.name}, with the trials.",
            raster=True,
        )
        for plane in cuts.planes
    ]
    text = (
        "The pairs that matter most, each by itself or together. Colours: mean of the surrogate; dashed white lines: "
        "its standard deviation; star and cross: estimate and 90 % intervals; dots: trials, wherever they are along "
        "the others."
    )
    yield Section("Pairs of parameters", [text], pictures, layout="grid")


def _parallel(study: StudyData) -> Iterator[Section]:
    if not study.finished or not study.space.dimensions:
        return
    alt = f"Lines of {len(study.finished)} trials across the axes of all parameters, coloured by {study.metric.name}."
    text = "A line is a trial, from the axis of the first parameter to that of the last; the brighter, the better."
    text += " The thick one is the best." if study.best else ""
    text += _greys(study, study.finished)
    picture = drawing("parallel_coordinates", draw_parallel(study), alt, raster=len(study.trials) > MANY)
    yield Section("All trials at a glance", [text], [picture])


def _greys(study: StudyData, shown: Sequence[TrialRecord]) -> str:
    """What the grey lines stand for, as a sentence; empty where there are none."""
    compared = {trial.number for trial in study.compared}
    behind = [trial for trial in shown if trial.number not in compared]
    kinds = {
        "cheap evaluations": any(t.level for t in behind),
        "full ones that break a limit": any(t.answers() for t in behind),
        "ones that did not finish": any(t.level == 0 and not t.answers() for t in behind),
    }
    return f" Grey: {', '.join(kind for kind, there in kinds.items() if there)}." if behind else ""


def _sensitivities(study: StudyData) -> Iterator[Section]:
    sensitivities = {name: p.sensitivity for name, p in study.result.parameters.items() if p.sensitivity}
    if not sensitivities:
        return
    alt = "Total sensitivity: " + ", ".join(f"{name} {part.total:.2f}" for name, part in sensitivities.items()) + "."
    text = (
        "Sobol indices of the surrogate's mean over the searched ranges: what matters far from the answer. How well a "
        "parameter is fixed close to it, its interval says."
    )
    yield Section("Which parameters matter", [text], [drawing("sensitivities", draw_sensitivities(sensitivities), alt)])


def _choices(study: StudyData) -> Iterator[Section]:
    choices = {name: p.choices for name, p in study.result.parameters.items() if p.choices}
    pictures = [
        drawing(
            f"choices_{name}",
            draw_choices(probabilities),
            f"{name}: {', '.join(f'{choice} {share:.2f}' for choice, share in probabilities.items())}.",
            name,
        )
        for name, probabilities in choices.items()
    ]
    if pictures:
        yield Section("Choices", ["How probable it is that each is the best, all else held."], pictures, layout="grid")


def _correlations(study: StudyData) -> Iterator[Section]:
    correlations = study.result.correlations or {}
    if len(correlations) < 2:
        return
    pairs = [(abs(c), x, y, c) for x, row in correlations.items() for y, c in row.items() if x < y]
    _, x, y, largest = max(pairs)
    alt = f"Correlations of the parameters at the optimum; the largest, {largest:+.2f}, of {x} and {y}."
    text = (
        "How far the parameters depend on each other at the optimum: where a coefficient is large, a change of one "
        "parameter is made up for by a change of the other."
    )
    yield Section("Correlations", [text], [drawing("correlations", draw_correlations(correlations), alt)])


def _curves(study: StudyData) -> Iterator[Section]:
    names = [name for name in (study.metric.name, study.metric.held_out_of) if name]
    name = next((name for name in names if any(np.isfinite(t.curve.get(name, ())).any() for t in study.trials)), None)
    if name is None:
        return
    text = f"The {name} after every iteration; the brighter, the better it ended"
    text += "; dashed: cheap evaluations." if study.own_levels > 1 else "."
    text += _greys(study, [trial for trial in study.trials if trial.curve.get(name)])
    alt = f"{name} after every iteration of every trial."
    picture = drawing("curves", draw_curves(study, name), alt, raster=len(study.trials) > MANY)
    yield Section("Curves of the reconstructions", [text], [picture])


def _fronts(study: StudyData) -> Iterator[Section]:
    front = study.result.pareto
    if not front:
        return
    name, metrics = study.metric.name, [study.metric, *study.against]
    pictures = [
        drawing(f"front_{other.name}", draw_front(study, other), f"{name} against {other.name} of all full trials.")
        for other in study.against
    ]
    rows = [
        [number(trial.trial), *(number(trial.metrics[m.name]) for m in metrics)]
        + [number(trial.values.get(parameter)) for parameter in study.space.names]
        for trial in front
    ]
    table = Table(("trial", *map(_headed, metrics), *study.space.names), rows)
    text = f"No trial beats these in {' or '.join(m.name for m in metrics)} without losing elsewhere."
    yield Section("Trade-off", [text], pictures, [table])


def _headed(metric: Metric) -> str:
    return unit_label(metric.name, metric.unit)
