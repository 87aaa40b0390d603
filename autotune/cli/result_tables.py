"""Tables of a result for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from autotune.cli.confirm_tables import print_confirmation
from autotune.cli.console import command_name, make_console
from autotune.results.document import NOISE_AND_SEARCH
from autotune.text import metric_text, shown_unit

if TYPE_CHECKING:
    from rich.console import Console

    from autotune.runs.run import Outcome

EXPLAINED = 0.995
"""Fraction of the noise ceiling from which noise alone may be all that is left."""


def print_outcome(outcome: Outcome) -> None:
    """Print what a run found, and where to look next."""
    print_result(outcome.result, outcome.truth)
    console = make_console()
    cost = outcome.result["cost"]
    repeated = cost["interval_equivalents"]
    of_intervals = f" for the search and {repeated:.3g} for the intervals" if repeated else ""
    searched = f"{cost['reconstruction_equivalents']:.3g} full reconstructions' worth"
    console.print(f"Cost: {searched}{of_intervals}, {cost['seconds']:.3g} s in all")
    console.print(f"Everything kept in  {outcome.result['artifacts']}", soft_wrap=True)
    report = Path(outcome.result["artifacts"]) / "report.html"
    if report.is_file():
        console.print(f"The report:         {report}", soft_wrap=True)
    if outcome.result["mlflow"]["run_id"]:
        console.print(f"See every trial:    {command_name()} ui")


def print_result(document: Mapping[str, Any], truth: Mapping[str, float]) -> None:
    """Print a result document: how it ended, the metric, and the best parameters with units.

    Args:
        document: the content of result.json.
        truth: parameter name -> true value, where it is known and may be shown.
    """
    console = make_console()
    trials, metric = document["trials"], document["metric"]
    counts = ", ".join(f"{count} {state}" for state, count in trials.items() if count or state == "finished")
    console.print(f"\nStudy {document['study']}: {document['status']} ({document['reason'] or 'no end yet'}); {counts}")
    if metric["best"] is None:
        broken = trials["finished"] and document["limits"]
        console.print("No full trial keeps the limits." if broken else "No trial has finished.")
        return
    share, ceiling = metric["fraction_of_ceiling"], ""
    if share is not None:
        ceiling = f", {100 * share:.2f} % of the noise ceiling {metric_text(metric['noise_ceiling'], 5)}"
    console.print(f"Best {metric['name']} {metric_text(metric['best'])} in trial {document['best_trial']}{ceiling}")
    known = {name: value for name, value in truth.items() if name in document["parameters"]}
    table = Table(box=None, padding=(0, 1))
    table.add_column("parameter", no_wrap=True)
    table.add_column("best")
    covered = {parameter["interval_of"] for parameter in document["parameters"].values()} - {None}
    if covered:
        table.add_column("90 % interval" if covered == {NOISE_AND_SEARCH} else "90 % interval*", no_wrap=True)
    if known:
        table.add_column("truth (revealed)")
        table.add_column("difference")
    table.add_column("unit")
    if any(parameter["verdict"] for parameter in document["parameters"].values()):
        table.add_column("verdict", no_wrap=True)
    for name, parameter in document["parameters"].items():
        best = parameter["best"]
        row = [name, "-" if best is None else _number(best)]
        if covered:
            row.append(_interval(parameter))
        if known:
            row.append(_number(known[name]) if name in known else "")
            row.append(_number(best - known[name]) if name in known and best is not None else "")
        row.append(shown_unit(parameter["unit"]))
        table.add_row(*row, (parameter["verdict"] or "").replace("_", " "))
    if document["parameters"]:
        console.print(table)
    if covered:
        _print_remarks(console, document, covered)
    for name, parameter in document["parameters"].items():
        if _outside(parameter):
            estimate = _number(parameter["estimate"])
            console.print(f"{name}: the interval is of the estimate {estimate}, not of the best trial", soft_wrap=True)
        if parameter["note"] and parameter["verdict"] != "identified":
            console.print(f"{name}: {parameter['note']}", soft_wrap=True)
    for limit in document["limits"]:
        ends = " and ".join(f"{side} {_number(limit[side])}" for side in ("above", "below") if limit[side] is not None)
        console.print(f"Limit: {limit['metric']} {ends}, broken by {limit['broken_by']} trials")
    if document["pareto"]:
        _print_front(console, document["pareto"])
    if document["confirmation"]:
        print_confirmation(document["confirmation"])


def _print_remarks(console: Console, document: Mapping[str, Any], covered: Set[str]) -> None:
    """What to think of before the intervals are believed."""
    metric = document["metric"]
    fraction = metric["fraction_of_ceiling"]
    if covered != {NOISE_AND_SEARCH}:
        console.print("* of the search alone: what the noise of the measurement does is not known")
    if fraction is not None and fraction > 1:
        console.print(
            f"The best {metric['name']} is above the noise ceiling: the reconstruction fits the noise, too, and that "
            "hides what may be wrong in the model; `autotune confirm` compares with withheld counts.",
            soft_wrap=True,
        )
    if fraction is not None and fraction < EXPLAINED:
        console.print(
            f"The best {metric['name']} is {100 * (1 - fraction):.1f} % below the noise ceiling: something beside "
            "noise is left, in the model or in what is not tuned. Intervals cover what of it differs from pattern to "
            "pattern, and not what is common to all.",
            soft_wrap=True,
        )


def _print_front(console: Console, front: Sequence[Mapping[str, Any]]) -> None:
    """The trials that none beats in one metric without losing in another."""
    metrics, names = list(front[0]["metrics"]), list(dict.fromkeys(name for trial in front for name in trial["values"]))
    table = Table("trial", *metrics, *names, box=None, padding=(0, 2))
    for trial in front:
        values = [_number(trial["values"].get(name, "-")) for name in names]
        table.add_row(str(trial["trial"]), *(_number(trial["metrics"][name]) for name in metrics), *values)
    console.print(f"\nNo trial beats these in {' or '.join(metrics)} without losing elsewhere:")
    console.print(table)


def _outside(parameter: Mapping[str, Any]) -> bool:
    """Whether the best trial's value is not in the interval."""
    if parameter["interval"] is None or parameter["best"] is None:
        return False
    return not parameter["interval"][0] <= parameter["best"] <= parameter["interval"][1]


def _interval(parameter: Mapping[str, Any]) -> str:
    """Its ends, to two digits of their distance."""
    if parameter["interval"] is None:
        return ""
    low, high = parameter["interval"]
    if low > 0 and high > 4 * low:  # as on a logarithmic scale
        return f"{low:.2g} .. {high:.2g}{'' if parameter['interval_of'] == NOISE_AND_SEARCH else '*'}"
    digits = max(0, 1 - math.floor(math.log10(high - low))) if high > low else 5
    star = "" if parameter["interval_of"] == NOISE_AND_SEARCH else "*"
    return f"{low:.{digits}f} .. {high:.{digits}f}{star}"


def _number(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
