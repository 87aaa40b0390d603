"""Sections that are tables: failed trials, the confirmation, every trial."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean

from autotune.report.data import StudyData
from autotune.report.parts import Cell, Section, Table, number
from autotune.results.document import Behind
from autotune.store.records import TrialRecord
from autotune.text import shown_unit, unit_label

MOST_ROWS = 300
"""Most trials that are listed: the best ones where there are more."""


def failures(study: StudyData) -> Iterator[Section]:
    """The section that lists where and why trials failed."""
    if study.failed:
        rows = [
            [
                number(t.number),
                Cell(", ".join(f"{name} {number(v).text}" for name, v in t.values.items())),
                Cell(t.reason),
            ]
            for t in study.failed[:MOST_ROWS]
        ]
        text = f"{len(study.failed)} of {len(study.trials)} trials failed" + (
            "." if len(rows) == len(study.failed) else f"; the first {len(rows)} of them:"
        )
        yield Section("Failed trials", [text], tables=[Table(("trial", "at", "reason"), rows)])


def confirmation(study: StudyData) -> Iterator[Section]:
    """The section that shows the best trials evaluated again by ``autotune confirm``."""
    confirmed = study.result.confirmation
    if confirmed is None:
        return
    rows = [
        [
            Cell("the estimate" if c.trial is None else f"trial {c.trial}"),
            _mean(c.on_data),
            _mean(c.on_repeated),
            Cell("–" if c.behind is None else _plus_minus(c.behind)),
            Cell("–" if c.best_in is None else f"{c.best_in} of {confirmed.rounds}"),
        ]
        for c in confirmed.candidates
    ]
    head = ("candidate", f"{confirmed.metric} again", "measurement repeated", "behind the best trial by", "best in")
    tables = [Table(head, rows)]
    if confirmed.metrics:
        examined = [
            [Cell(name), number(m.value), Cell(shown_unit(m.unit)), Cell(m.description)]
            for name, m in confirmed.metrics.items()
        ]
        tables.append(Table(("looked at closely", "value", "unit", "what it is"), examined))
    text = [f"The best trials evaluated again: {confirmed.verdict}."]
    text += [f"The surrogate's optimum: {confirmed.estimate}."] if confirmed.estimate else []
    yield Section("Second opinion", text, tables=tables)


def _mean(values: Sequence[float | None]) -> Cell:
    scores = [value for value in values if value is not None]
    return number(fmean(scores), 6) if scores else Cell("–")


def _plus_minus(behind: Behind) -> str:
    text = f"{behind.mean:.2g} ± {behind.half_width:.1g}" if behind.half_width else f"{behind.mean:.2g}"
    return text.replace("-", "−")


def every_trial(study: StudyData) -> Iterator[Section]:
    """The section that lists all trials, or the best of many."""
    if not study.trials:
        return
    name, best_first = study.metric.name, sorted(study.trials, key=lambda trial: _place(study, trial))
    rows = [
        [number(t.number), Cell(t.state + (" (cheap)" if t.level else "")), number(t.metrics.get(name))]
        + [number(t.values.get(parameter)) for parameter in study.space.names]
        + [number(t.equivalents), number(t.seconds)]
        for t in sorted(best_first[:MOST_ROWS], key=lambda t: t.number)
    ]
    parameters = [unit_label(d.name, d.unit) for d in study.space.dimensions]
    head = ("trial", "state", name, *parameters, "cost", "seconds")
    count = len(study.trials)
    title = (
        f"{count} trial{'s' if count > 1 else ''}" if count == len(rows) else f"The best {len(rows)} of {count} trials"
    )
    yield Section("Every trial", tables=[Table(head, rows, title)])


def _place(study: StudyData, trial: TrialRecord) -> tuple[bool, bool, int, float]:
    """The key that sorts trials: answers (the best is first), full ones that break a limit, cheap ones, all others."""
    value = trial.metrics.get(study.metric.name, math.nan)
    finite = math.isfinite(value)
    return not trial.answers(study.limits), not finite, trial.level, -study.metric.sign * value if finite else 0.0
