"""The best values in words and as a table: the first section of a report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from autotune.report.data import StudyData
from autotune.report.parts import Cell, Table, number
from autotune.results.document import SEARCH, ParameterResult, VerdictKind
from autotune.text import metric_text, shown_unit, with_unit

_NOT_EXPLAINED = 0.995
"""Fraction of the noise ceiling below which something beside noise is left."""
NOTHING_TUNED = "Nothing was tuned: every parameter has the value that the study file states."
_IN_WORDS: Mapping[VerdictKind, str] = {
    "identified": "identified",
    "model_limited": "limited by the model, which does not explain the data",
    "flat": "flat: the data hardly depend on it",
    "at_bound": "at the end of its range",
    "correlated": "known only in combination",
    "sign_not_identifiable": "sign not identifiable",
    "not_found": "not found: the search has not come to an end",
}


def headline(study: StudyData) -> str:
    """The best metric, in a sentence."""
    result, metric = study.result, study.result.metric
    if metric.best is None:
        if result.trials.finished and result.limits:
            return "No full evaluation keeps the limits."
        return "No trial has finished, so there is no answer."
    ceiling, fraction = metric.noise_ceiling, metric.fraction_of_ceiling
    compared = ""
    if fraction is not None and ceiling is not None:
        compared = f", {100 * fraction:.2f} % of the noise ceiling {metric_text(ceiling, 5)}"
    best = with_unit(metric_text(metric.best), study.metric.unit)
    return f"Best {metric.name} {best} in trial {result.best_trial}{compared}."


def verdicts(study: StudyData) -> str:
    """How many parameters the data identify, and why not the others, in a sentence; empty without verdicts."""
    by_name = {name: p.verdict for name, p in study.result.parameters.items() if p.verdict}
    if not by_name:
        return ""
    count = Counter(by_name.values())["identified"]
    if count == len(by_name) > 1:
        return f"The data identify {'both' if count == 2 else f'all {count}'} parameters."
    others = [f"{name}: {_IN_WORDS[verdict]}" for name, verdict in by_name.items() if verdict != "identified"]
    if not others:
        return f"The data identify {next(iter(by_name))}."
    return f"The data identify {count} of {len(by_name)} parameters; {'; '.join(others)}."


def remarks(study: StudyData) -> list[str]:
    """Sentences that are needed to read the table."""
    result, metric = study.result, study.result.metric
    said = [] if study.space.dimensions else [NOTHING_TUNED]
    covered = {p.interval_of for p in result.parameters.values()} - {None}
    if SEARCH in covered:
        said.append("* Interval of the search alone: what the noise of the measurement does to it is not known.")
    if not covered and metric.best is not None and study.space.dimensions:
        said.append("There are no intervals: they are made when a study ends with at least four finished trials.")
    fraction = metric.fraction_of_ceiling
    if fraction is not None and fraction < _NOT_EXPLAINED:
        said.append(
            f"The best {metric.name} is {100 * (1 - fraction):.1f} % below the noise ceiling: something beside "
            "noise is left, in the model or in what is not tuned."
            + (
                " Intervals cover what of it differs from pattern to pattern, and not what is common to all."
                * bool(covered)
            )
        )
    for limit in result.limits:
        ends = [f"{side} {end:g}" for side, end in (("above", limit.above), ("below", limit.below)) if end is not None]
        said.append(
            f"Limit: {limit.metric} {' and '.join(ends)}; kept by {limit.kept_by} full evaluations, "
            f"broken by {limit.broken_by}."
        )
    return [*said, *result.remarks]


def answer_table(study: StudyData) -> Table:
    """Best value, estimate, 90 % interval, unit, verdict and what it means, of every tuned parameter."""
    head = ("parameter", "best trial", "estimate", "90 % interval", "unit", "verdict", "what it means")
    return Table(head, [_row(name, p) for name, p in study.result.parameters.items()])


def _row(name: str, parameter: ParameterResult) -> list[Cell]:
    digits = None if parameter.interval is None else digits_of(parameter.interval)
    verdict = parameter.verdict or ""
    return [
        Cell(name),
        number(parameter.best, digits if isinstance(parameter.best, float) else None),
        number(parameter.estimate, digits if isinstance(parameter.estimate, float) else None),
        Cell(_interval(parameter)),
        Cell(shown_unit(parameter.unit)),
        Cell(verdict.replace("_", " "), kind=verdict),
        Cell(parameter.note or ""),
    ]


def _interval(parameter: ParameterResult) -> str:
    if parameter.interval is None:
        return "–"
    low, high = parameter.interval
    digits = digits_of((low, high))
    star = "*" if parameter.interval_of == SEARCH else ""
    return f"{low:.{digits}f} … {high:.{digits}f}{star}".replace("-", "−")


def digits_of(interval: Sequence[float]) -> int:
    """How many digits after the point show two digits of an interval's width."""
    width = interval[1] - interval[0]
    return max(0, 1 - math.floor(math.log10(width))) if width > 0 else 5


def cost(study: StudyData) -> list[tuple[str, str]]:
    """What the study took: pairs of a name and a value."""
    result = study.result
    spent = result.cost
    repeated = spent.interval_equivalents
    facts = [
        ("status", f"{result.status}{': ' + result.reason if result.reason else ''}"),
        ("trials", str(result.trials)),
        ("cost of the search", f"{spent.reconstruction_equivalents:.3g} full reconstructions"),
    ]
    if repeated:
        facts.append(("cost of the intervals", f"{repeated:.3g} full reconstructions"))
    return [*facts, ("time", f"{spent.seconds:.3g} s in all, {spent.evaluation_seconds:.3g} s of them in trials")]
