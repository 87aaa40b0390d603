"""``autotune status``: the studies that are here, or one of them in detail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotune.text import metric_text, with_unit

if TYPE_CHECKING:
    from rich.console import Console

MOST_COLUMNS = 4
"""Of parameters in the table of trials."""


def status(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="The study's name, or its file; all studies without.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the studies that are here, or how one of them goes. Changes nothing."""
    import json

    from autotune.cli.find_study import find_stored
    from autotune.home import Home
    from autotune.results.overview import details, overview

    home = Home.from_environment()
    found: Any = overview(home) if study is None else details(find_stored(study, home), home)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif study is None:
        _print_all(found, str(home.folder))
    else:
        _print_one(found)


def _print_all(studies: Sequence[Mapping[str, Any]], place: str) -> None:
    from rich.table import Table

    from autotune.cli.console import make_console

    console = make_console()
    if not studies:
        console.print(f"No studies in {place}", soft_wrap=True)
        return
    table = Table(box=None, padding=(0, 2))
    for heading in ("study", "status", "trials", "best", "of ceiling", "cost", "time", "last active"):
        table.add_column(heading, no_wrap=heading != "study")
    for one in studies:
        metric = one["metric"]
        best = "-" if metric["best"] is None else f"{metric_text(metric['best'])} {metric['name']}"
        share = metric["fraction_of_ceiling"]
        table.add_row(
            one["study"],
            one["status"],
            _counts(one["trials"]),
            best,
            "" if share is None else f"{100 * share:.2f} %",
            f"{one['equivalents']:.3g}",
            _span(one["seconds"]),
            _age(one["last_active"]),
        )
    console.print(table)
    console.print("cost: in full evaluations", soft_wrap=True)


def _print_one(one: Mapping[str, Any]) -> None:
    from autotune.cli.console import make_console

    console = make_console()
    metric = one["metric"]
    runs = f", {one['runs']} runs at once" if one["runs"] > 1 else ""
    reason = f" ({one['reason']})" if one["reason"] else ""
    console.print(f"Study {one['study']}: {one['status']}{reason}{runs}; last active {_age(one['last_active'])}")
    console.print(f"Trials: {_counts(one['trials'])}")
    if metric["best"] is not None:
        share = metric["fraction_of_ceiling"]
        of = "" if share is None else f", {100 * share:.2f} % of the noise ceiling"
        console.print(f"Best: {metric['name']} {metric_text(metric['best'])} in trial {one['best_trial']}{of}")
        values = (f"{name} {with_unit(_number(p['value']), p['unit'])}" for name, p in one["incumbent"].items())
        console.print(f"  {', '.join(values)}", soft_wrap=True)
    for name, part in (one["budget"] or {}).items():
        console.print(f"Budget: {part['used']:.4g} of {part['of']:.4g} {name}")
    if one["trials_per_hour"] is not None:
        left = "" if one["seconds_left"] is None else f"; at most {_span(one['seconds_left'])} left"
        console.print(f"Rate: {one['trials_per_hour']:.3g} trials per hour{left}")
    _print_latest(console, one["latest"], metric["name"])
    if one["failures"]:
        console.print("\nFailures")
    for failure in one["failures"]:
        console.print(f"  {failure['count']} x, last in trial {failure['trial']}: {failure['reason']}", soft_wrap=True)


def _print_latest(console: Console, trials: Sequence[Mapping[str, Any]], metric: str) -> None:
    from rich.table import Table

    if not trials:
        return
    names = list(dict.fromkeys(name for trial in trials for name in trial["values"]))
    names = names if len(names) <= MOST_COLUMNS else []  # they would be cut off; --json has them
    table = Table("trial", "state", metric, "seconds", *names, box=None, padding=(0, 2))
    for trial in trials:
        state = f"{trial['state']}, cheap" if trial["level"] else trial["state"]
        value = "" if trial["metric"] is None else metric_text(trial["metric"])
        values = (_number(trial["values"].get(name, "-")) for name in names)
        table.add_row(str(trial["trial"]), state, value, f"{trial['seconds']:.3g}", *values)
    console.print("\nLatest trials")
    console.print(table)


def _counts(trials: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in trials.items() if count or state == "finished")


def _number(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else "-" if value is None else str(value)


def _age(moment: str | None) -> str:
    from datetime import datetime

    if moment is None:
        return "-"
    return f"{_span(max(0.0, (datetime.now() - datetime.fromisoformat(moment)).total_seconds()))} ago"


def _span(seconds: float) -> str:
    """A time in the unit that suits it."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
