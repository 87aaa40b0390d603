"""How a confirmation is printed: tables of the best trials evaluated again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from rich.table import Table

from autotune.cli.console import make_console
from autotune.text import metric_text, shown_unit

if TYPE_CHECKING:
    from rich.console import Console

    from autotune.results.document import Confirmation, ConfirmedCandidate

_MOST_DECIMALS = 6


def print_confirmation(confirmation: Confirmation) -> None:
    """Print a confirmation: the candidates side by side, the verdict, and the examination of the best one."""
    console = make_console()
    part = "" if confirmation.complete else " (so far: it was interrupted)"
    console.print(f"\nSecond opinion on {confirmation.study}{part}, the best trials evaluated again in full:")
    console.print(_table(confirmation))
    console.print(_conditions(confirmation), soft_wrap=True)
    console.print(f"Verdict: {confirmation.verdict}.", soft_wrap=True)
    if confirmation.estimate:
        console.print(f"The surrogate's optimum: {confirmation.estimate}.", soft_wrap=True)
    for candidate in confirmation.candidates:
        for reason in candidate.failures:
            console.print(f"{_name(candidate).capitalize()} failed when evaluated again: {reason}", soft_wrap=True)
    if confirmation.examination_failed:
        console.print(f"The examination failed: {confirmation.examination_failed}", soft_wrap=True)
    if confirmation.metrics:
        _print_examination(console, confirmation)


def _table(confirmation: Confirmation) -> Table:
    """A column for each candidate: the parameters may be many, the candidates are few."""
    metric, candidates = confirmation.metric, confirmation.candidates
    table = Table(box=None, padding=(0, 1))
    table.add_column("", no_wrap=True)
    for candidate in candidates:
        table.add_column(_name(candidate), no_wrap=True)
    for name in dict.fromkeys(name for candidate in candidates for name in candidate.values):
        table.add_row(name, *(_number(candidate.values.get(name, "-")) for candidate in candidates))
    table.add_row()
    recorded = ("-" if c.trial is None else "cheap" if c.recorded is None else _score([c.recorded]) for c in candidates)
    table.add_row(f"{metric} recorded", *recorded)
    table.add_row(f"{metric} again", *(_score(candidate.on_data) for candidate in candidates))
    if confirmation.noise:
        table.add_row("measurement repeated", *(_score(candidate.on_repeated) for candidate in candidates))
    table.add_row(f"behind {_name(candidates[0])} by", *(_behind(candidate) for candidate in candidates))
    wins = ("" if c.best_in is None else f"{c.best_in} of {confirmation.rounds}" for c in candidates)
    table.add_row("best in", *wins)
    return table


def _conditions(confirmation: Confirmation) -> str:
    """How the trials were evaluated again, in words."""
    repeats = confirmation.repeats
    if confirmation.seed_matters:
        text = f"Mean ± standard deviation of {repeats} fresh seeds, the same for all"
    else:
        text = "Another seed changes nothing here, so each was evaluated once"
    if not confirmation.noise:
        return f"{text}. The measurement cannot be repeated in simulation."
    best = _name(confirmation.candidates[0])
    return f"{text}; the measurement repeated {repeats} times as {best} expects it (noise: {confirmation.noise})."


def _print_examination(console: Console, confirmation: Confirmation) -> None:
    console.print(f"\nThe reconstruction of {_name(confirmation.candidates[0])}, looked at closely:")
    table = Table(box=None, padding=(0, 1))
    for heading in ("metric", "value", "unit"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what it is")
    for name, metric in confirmation.metrics.items():
        table.add_row(name, _number(metric.value), shown_unit(metric.unit), metric.description)
    console.print(table)


def _name(candidate: ConfirmedCandidate) -> str:
    return "estimate" if candidate.trial is None else f"trial {candidate.trial}"


def _score(values: Sequence[float | None]) -> str:
    """Mean of the values that are known, and their standard deviation where they differ."""
    scores = [value for value in values if value is not None]
    if not scores:
        return "-"
    spread = stdev(scores) if len(set(scores)) > 1 else 0.0
    return metric_text(fmean(scores)) + (f"\n± {spread:.1g}" if spread > 0 else "")


def _behind(candidate: ConfirmedCandidate) -> str:
    """The difference from the best trial, to the digits that its interval leaves."""
    behind = candidate.behind
    if behind is None:
        return ""
    if not behind.half_width:
        return f"{behind.mean:.2g}"
    digits = max(0, -math.floor(math.log10(behind.half_width)))
    if digits > _MOST_DECIMALS:
        return f"{behind.mean:.2g}\n± {behind.half_width:.1g}"
    return f"{behind.mean:.{digits}f}\n± {behind.half_width:.{digits}f}"


def _number(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
