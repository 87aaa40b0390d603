"""``autotune compare``: several studies side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from autotune.cli.find_study import find_stored
from autotune.text import metric_text, shown_unit

if TYPE_CHECKING:
    from rich.console import Console

    from autotune.results.side_by_side import ComparedValue, Pair, SideBySide


def compare(
    studies: Annotated[list[str], typer.Argument(metavar="STUDY STUDY...", help="Names of studies, or their files.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show studies side by side: metric, cost, and whether parameters agree within their intervals. Changes nothing."""
    import json

    from autotune.errors import InputError, Problem
    from autotune.home import Home
    from autotune.results.side_by_side import side_by_side

    home = Home.from_environment()
    stores = {store.study.study_name: store for store in (find_stored(study, home) for study in studies)}
    if len(stores) < 2:
        what = "is one study" if len(studies) == 1 else "is the same study twice"
        raise InputError(
            Problem("compare", f"{', '.join(studies)} {what}", "name two or more; autotune status lists them")
        )
    compared = side_by_side(list(stores.values()), home)
    if as_json:
        typer.echo(json.dumps(compared.as_dict(), indent=2, ensure_ascii=False))
    else:
        _print(compared)


def _print(compared: SideBySide) -> None:
    from autotune.cli.console import make_console

    console = make_console()
    _print_studies(console, compared)
    _print_parameters(console, compared)
    for warning in compared.warnings:
        console.print(f"Note: {warning}", soft_wrap=True)


def _print_studies(console: Console, compared: SideBySide) -> None:
    from rich.table import Table

    table = Table("study", "status", "metric", "best", "of ceiling", "trials", "cost", "time", box=None, padding=(0, 2))
    for study in compared.studies:
        metric, cost = study.metric, study.cost
        fraction = metric.fraction_of_ceiling
        table.add_row(
            study.study,
            study.status,
            metric.name,
            "-" if metric.best is None else metric_text(metric.best),
            "" if fraction is None else f"{100 * fraction:.2f} %",
            str(study.trials.total),
            f"{cost.reconstruction_equivalents + cost.interval_equivalents:.3g}",
            f"{cost.seconds:.3g} s",
        )
    console.print(table)


def _print_parameters(console: Console, compared: SideBySide) -> None:
    """A row of values for each parameter, and how they differ: in a table of its own for more than two studies."""
    from rich.table import Table

    names = [study.study for study in compared.studies]
    differences = ("difference", "in half-widths", "")
    values = Table("parameter", *names, "unit", *(differences if len(names) == 2 else ()), box=None, padding=(0, 2))
    pairs = Table("parameter", "studies", *differences, box=None, padding=(0, 2))
    for name, parameter in compared.parameters.items():
        row = [name, *(_value(value) for value in parameter.values)]
        row.append(shown_unit(parameter.unit))
        if len(names) == 2:
            row += [text for pair in parameter.pairs for text in _pair(pair)]
        values.add_row(*row)
        for pair in parameter.pairs:
            pairs.add_row(name, " to ".join(pair.of), *_pair(pair))
    console.print()
    console.print(values)
    if len(names) > 2:
        console.print()
        console.print(pairs)


def _pair(pair: Pair) -> tuple[str, str, str]:
    """The difference, the difference in combined half-widths, and whether the two agree."""
    difference, ratio = pair.difference, pair.in_half_widths
    return (
        "-" if difference is None else f"{difference:+.3g}",
        "-" if ratio is None else f"{ratio:.2f}",
        {True: "agree", False: "DIFFER", None: ""}[pair.agree],
    )


def _value(value: ComparedValue | None) -> str:
    if value is None or value.best is None:
        return "-"
    if value.interval is None:
        return _number(value.best) + (" (held)" if value.held else "")
    low, high = value.interval
    return f"{_number(value.estimate)} ± {(high - low) / 2:.2g}"


def _number(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
