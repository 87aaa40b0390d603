"""``autotune status``: the studies that are here, or one of them in detail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from autotune.cli.collection import without_collection
from autotune.text import metric_text, with_unit

if TYPE_CHECKING:
    from rich.console import Console

    from autotune.results.overview import LatestTrial, StudyDetails, StudySummary

MOST_COLUMNS = 4
"""Parameters that the table of trials has columns for; it shows none where there are more."""


@without_collection()
def status(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="The study's name, or its file; all studies without.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the studies that are here, or how one of them goes. Changes nothing."""
    from autotune.cli.find_study import find_stored
    from autotune.home import Home
    from autotune.results.overview import details, overview

    home = Home.from_environment()
    if study is not None:
        of_study = details(find_stored(study, home), home)
        _print_json(of_study.as_dict()) if as_json else _print_one(of_study)
    else:
        studies = overview(home)
        _print_json([line.as_dict() for line in studies]) if as_json else _print_all(studies, str(home.folder))


def _print_json(document: object) -> None:
    import json

    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _print_all(studies: Sequence[StudySummary], place: str) -> None:
    from rich.table import Table

    from autotune.cli.console import make_console
    from autotune.results.overview import UNREADABLE

    console = make_console()
    if not studies:
        console.print(f"No studies in {place}", soft_wrap=True)
        return
    table = Table(box=None, padding=(0, 2))
    for heading in ("study", "status", "trials", "best", "of ceiling", "cost", "time", "last active"):
        table.add_column(heading, no_wrap=heading != "study")
    for study in studies:
        metric, fraction = study.metric, study.metric.fraction_of_ceiling
        table.add_row(
            study.study,
            study.status,
            str(study.trials),
            "-" if metric.best is None else f"{metric_text(metric.best)} {metric.name}",
            "" if fraction is None else f"{100 * fraction:.2f} %",
            f"{study.equivalents:.3g}",
            _span(study.seconds),
            _age(study.last_active),
        )
    console.print(table)
    console.print("cost: in full evaluations", soft_wrap=True)
    for study in studies:
        if study.status == UNREADABLE:
            console.print(f"{study.study}: {study.reason}", soft_wrap=True)


def _print_one(study: StudyDetails) -> None:
    from autotune.cli.console import make_console

    console = make_console()
    metric = study.metric
    runs = f", {study.runs} runs at once" if study.runs > 1 else ""
    reason = f" ({study.reason})" if study.reason else ""
    console.print(f"Study {study.study}: {study.status}{reason}{runs}; last active {_age(study.last_active)}")
    console.print(f"Trials: {study.trials}")
    if metric.best is not None:
        fraction = metric.fraction_of_ceiling
        of = "" if fraction is None else f", {100 * fraction:.2f} % of the noise ceiling"
        console.print(f"Best: {metric.name} {metric_text(metric.best)} in trial {study.best_trial}{of}")
        values = (f"{name} {with_unit(_number(p.value), p.unit)}" for name, p in study.incumbent.items())
        console.print(f"  {', '.join(values)}", soft_wrap=True)
    for name, part in (study.budget or {}).items():
        console.print(f"Budget: {part.used:.4g} of {part.of:.4g} {name}")
    if study.trials_per_hour is not None:
        left = "" if study.seconds_left is None else f"; at most {_span(study.seconds_left)} left"
        console.print(f"Rate: {study.trials_per_hour:.3g} trials per hour{left}")
    _print_latest(console, study.latest, metric.name or "metric")
    if study.failures:
        console.print("\nFailures")
    for failure in study.failures:
        console.print(f"  {failure.count} x, last in trial {failure.trial}: {failure.reason}", soft_wrap=True)


def _print_latest(console: Console, trials: Sequence[LatestTrial], metric: str) -> None:
    from rich.table import Table

    if not trials:
        return
    names = list(dict.fromkeys(name for trial in trials for name in trial.values))
    names = names if len(names) <= MOST_COLUMNS else []  # they would be cut off; --json has them
    table = Table("trial", "state", metric, "seconds", *names, box=None, padding=(0, 2))
    for trial in trials:
        state = f"{trial.state}, cheap" if trial.level else trial.state
        value = "" if trial.metric is None else metric_text(trial.metric)
        values = (_number(trial.values.get(name, "-")) for name in names)
        table.add_row(str(trial.trial), state, value, f"{trial.seconds:.3g}", *values)
    console.print("\nLatest trials")
    console.print(table)


def _number(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else "-" if value is None else str(value)


def _age(moment: str | None) -> str:
    from datetime import UTC, datetime

    if moment is None:
        return "-"
    return f"{_span(max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()))} ago"


def _span(seconds: float) -> str:
    """A duration in days, hours, minutes or seconds."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
