"""``autotune compare``: several studies side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotune.cli.find_study import find_stored
from autotune.text import metric_text, shown_unit

if TYPE_CHECKING:
    from rich.console import Console


def compare(
    studies: Annotated[list[str], typer.Argument(metavar="STUDY STUDY...", help="Names of studies, or their files.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show studies side by side: metric, cost, and whether parameters agree within their intervals. Changes nothing."""
    import json

    from autotune.errors import InputError, Problem
    from autotune.home import Home
    from autotune.results.side_by_side import contrast

    home = Home.from_environment()
    stores = {store.study.study_name: store for store in (find_stored(study, home) for study in studies)}
    if len(stores) < 2:
        what = "is one study" if len(studies) == 1 else "is the same study twice"
        raise InputError(
            Problem("compare", f"{', '.join(studies)} {what}", "name two or more; autotune status lists them")
        )
    found = contrast(list(stores.values()), home)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _print(found)


def _print(found: Mapping[str, Any]) -> None:
    from autotune.cli.console import make_console

    console = make_console()
    _print_studies(console, found)
    _print_parameters(console, found)
    for warning in found["warnings"]:
        console.print(f"Note: {warning}", soft_wrap=True)


def _print_studies(console: Console, found: Mapping[str, Any]) -> None:
    from rich.table import Table

    table = Table("study", "status", "metric", "best", "of ceiling", "trials", "cost", "time", box=None, padding=(0, 2))
    for one in found["studies"]:
        metric, cost = one["metric"], one["cost"]
        share = metric["fraction_of_ceiling"]
        table.add_row(
            one["study"],
            one["status"],
            metric["name"],
            "-" if metric["best"] is None else metric_text(metric["best"]),
            "" if share is None else f"{100 * share:.2f} %",
            str(sum(one["trials"].values())),
            f"{cost['reconstruction_equivalents'] + cost['interval_equivalents']:.3g}",
            f"{cost['seconds']:.3g} s",
        )
    console.print(table)


def _print_parameters(console: Console, found: Mapping[str, Any]) -> None:
    """A row of values for each parameter, and how they differ: of more than two studies in a table of its own."""
    from rich.table import Table

    names = [one["study"] for one in found["studies"]]
    differences = ("difference", "in half-widths", "")
    values = Table("parameter", *names, "unit", *(differences if len(names) == 2 else ()), box=None, padding=(0, 2))
    pairs = Table("parameter", "studies", *differences, box=None, padding=(0, 2))
    for name, parameter in found["parameters"].items():
        row = [name, *(_value(value) for value in parameter["values"])]
        row.append(shown_unit(parameter["unit"]))
        if len(names) == 2:
            row += [text for pair in parameter["pairs"] for text in _pair(pair)]
        values.add_row(*row)
        for pair in parameter["pairs"]:
            pairs.add_row(name, " to ".join(pair["of"]), *_pair(pair))
    console.print()
    console.print(values)
    if len(names) > 2:
        console.print()
        console.print(pairs)


def _pair(pair: Mapping[str, Any]) -> tuple[str, str, str]:
    """Difference, that in combined half-widths, and whether the two agree."""
    difference, ratio = pair["difference"], pair["in_half_widths"]
    return (
        "-" if difference is None else f"{difference:+.3g}",
        "-" if ratio is None else f"{ratio:.2f}",
        {True: "agree", False: "DIFFER", None: ""}[pair["agree"]],
    )


def _value(value: Mapping[str, Any] | None) -> str:
    if value is None or value["best"] is None:
        return "-"
    if value["interval"] is None:
        return _number(value["best"]) + (" (held)" if value["held"] else "")
    low, high = value["interval"]
    return f"{_number(value['estimate'])} ± {(high - low) / 2:.2g}"


def _number(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
