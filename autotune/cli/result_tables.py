"""How a result is printed: tables of the best parameters, and what has to be known to read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from autotune.cli.confirm_tables import print_confirmation
from autotune.cli.console import command_name, make_console
from autotune.results.document import SEARCH
from autotune.text import metric_text, shown_unit

if TYPE_CHECKING:
    from rich.console import Console

    from autotune.results.document import FrontTrial, ParameterResult, StudyResult
    from autotune.runs.run import Outcome

EXPLAINED = 0.995
"""Fraction of the noise ceiling from which noise alone may be all that is left."""


def print_outcome(outcome: Outcome) -> None:
    """Print the result of a run, and where to look next."""
    result = outcome.result
    print_result(result, outcome.truth)
    console = make_console()
    cost = result.cost
    repeated = cost.interval_equivalents
    of_intervals = f" for the search and {repeated:.3g} for the intervals" if repeated else ""
    searched = f"{cost.reconstruction_equivalents:.3g} full reconstructions' worth"
    console.print(f"Cost: {searched}{of_intervals}, {cost.seconds:.3g} s in all")
    console.print(f"Everything kept in  {result.artifacts}", soft_wrap=True)
    report = Path(result.artifacts) / "report.html"
    if report.is_file():
        console.print(f"The report:         {report}", soft_wrap=True)
    if result.mlflow.run_id:
        console.print(f"See every trial:    {command_name()} ui")


def print_result(result: StudyResult, truth: Mapping[str, float]) -> None:
    """Print a result: how the study ended, the metric, and the best parameters with units.

    Args:
        result: the result.
        truth: parameter name -> true value, where it is known and may be shown.
    """
    console = make_console()
    metric, fraction = result.metric, result.metric.fraction_of_ceiling
    end = result.reason or "no end yet"
    console.print(f"\nStudy {result.study}: {result.status} ({end}); {result.trials}")
    if metric.best is None:
        broken = result.trials.finished and result.limits
        console.print("No full trial keeps the limits." if broken else "No trial has finished.")
        return
    ceiling = ""
    if fraction is not None and metric.noise_ceiling is not None:
        ceiling = f", {100 * fraction:.2f} % of the noise ceiling {metric_text(metric.noise_ceiling, 5)}"
    console.print(f"Best {metric.name} {metric_text(metric.best)} in trial {result.best_trial}{ceiling}")
    covered = {parameter.interval_of for parameter in result.parameters.values()} - {None}
    if result.parameters:
        console.print(_parameter_table(result, truth, covered))
    if covered:
        _print_remarks(console, result, covered)
    _print_notes(console, result)
    for remark in result.remarks:
        console.print(remark, soft_wrap=True)
    if result.pareto:
        _print_front(console, result.pareto)
    if result.confirmation:
        print_confirmation(result.confirmation)


def _parameter_table(result: StudyResult, truth: Mapping[str, float], covered: Set[str | None]) -> Table:
    """A row for each tuned parameter: best value, interval, truth, unit and verdict, as far as there are any."""
    parameters = result.parameters
    revealed = {name: value for name, value in truth.items() if name in parameters}
    parted = any(parameter.half_widths for parameter in parameters.values())
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("parameter", no_wrap=True)
    table.add_column("best", overflow="fold")  # a number that is cut short would be another number
    if covered:
        table.add_column("90 % interval*" if SEARCH in covered else "90 % interval", no_wrap=True)
    if parted:
        table.add_column("noise, model", no_wrap=True)
    if revealed:
        table.add_column("truth (revealed)", overflow="fold")
        table.add_column("difference", overflow="fold")
    table.add_column("unit")
    if any(parameter.verdict for parameter in parameters.values()):
        table.add_column("verdict", no_wrap=True)
    for name, parameter in parameters.items():
        row = [name, "-" if parameter.best is None else _number(parameter.best)]
        if covered:
            row.append(_interval(parameter))
        if parted:
            row.append(_half_widths(parameter))
        if revealed:
            row += _beside_truth(parameter, revealed.get(name))
        row.append(shown_unit(parameter.unit))
        table.add_row(*row, (parameter.verdict or "").replace("_", " "))
    return table


def _beside_truth(parameter: ParameterResult, true: float | None) -> tuple[str, str]:
    """The true value, and the best value less it."""
    if true is None:
        return "", ""
    if parameter.best is None or isinstance(parameter.best, str):
        return _number(true), ""
    return _number(true), _number(parameter.best - true)


def _print_remarks(console: Console, result: StudyResult, covered: Set[str | None]) -> None:
    """Print the reservations that people should know before they believe the intervals."""
    name, fraction = result.metric.name, result.metric.fraction_of_ceiling
    if SEARCH in covered:
        console.print("* of the search alone; the effect of the measurement's noise is not known")
    if fraction is not None and fraction > 1:
        console.print(
            f"The best {name} is above the noise ceiling: the reconstruction fits the noise, too, and that "
            "hides what may be wrong in the model; `autotune confirm` compares with withheld counts.",
            soft_wrap=True,
        )
    if fraction is not None and fraction < EXPLAINED:
        console.print(
            f"The best {name} is {100 * (1 - fraction):.1f} % below the noise ceiling: something beside "
            "noise is left, in the model or in what is not tuned.",
            soft_wrap=True,
        )


_MODEL_LIMITED = (
    "model limited: the model does not explain these data to within their noise, and the intervals rest on how "
    "differently parts of the data are misfitted. Tune more of what the instrument may have wrong, or give the model "
    "more freedom."
)


def _print_notes(console: Console, result: StudyResult) -> None:
    """Remarks on single parameters, and the limits."""
    for name, parameter in result.parameters.items():
        if _outside(parameter):
            estimate = _number(parameter.estimate)
            console.print(f"{name}: the interval is of the estimate {estimate}, not of the best trial", soft_wrap=True)
        if parameter.note and parameter.verdict not in ("identified", "model_limited"):
            console.print(f"{name}: {parameter.note}", soft_wrap=True)
    if any(parameter.verdict == "model_limited" for parameter in result.parameters.values()):
        console.print(_MODEL_LIMITED, soft_wrap=True)
    for limit in result.limits:
        ends = [f"{side} {_number(end)}" for side, end in (("above", limit.above), ("below", limit.below))
                if end is not None]  # fmt: skip
        console.print(f"Limit: {limit.metric} {' and '.join(ends)}, broken by {limit.broken_by} trials")


def _print_front(console: Console, front: Sequence[FrontTrial]) -> None:
    """The trials that no other trial beats in one metric without losing in another."""
    metrics, names = list(front[0].metrics), list(dict.fromkeys(name for trial in front for name in trial.values))
    table = Table("trial", *metrics, *names, box=None, padding=(0, 2))
    for trial in front:
        values = [_number(trial.values.get(name, "-")) for name in names]
        table.add_row(str(trial.trial), *(_number(trial.metrics[name]) for name in metrics), *values)
    console.print(f"\nNo trial beats these in {' or '.join(metrics)} without losing elsewhere:")
    console.print(table)


def _outside(parameter: ParameterResult) -> bool:
    """Whether the best trial's value is not in the interval."""
    if parameter.interval is None or parameter.best is None or isinstance(parameter.best, str):
        return False
    return not parameter.interval[0] <= parameter.best <= parameter.interval[1]


def _interval(parameter: ParameterResult) -> str:
    """The interval's ends, to two digits of their distance."""
    if parameter.interval is None:
        return ""
    low, high = parameter.interval
    star = "*" if parameter.interval_of == SEARCH else ""
    if low > 0 and high > 4 * low:  # as on a logarithmic scale
        return f"{low:.2g} .. {high:.2g}{star}"
    digits = max(0, 1 - math.floor(math.log10(high - low))) if high > low else 5
    return f"{low:.{digits}f} .. {high:.{digits}f}{star}"


def _half_widths(parameter: ParameterResult) -> str:
    """Half-widths of the interval by noise and search, and by errors of the model."""
    parts = parameter.half_widths
    return "" if parts is None else f"±{parts.noise_and_search:.2g}, ±{parts.model:.2g}"


def _number(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
