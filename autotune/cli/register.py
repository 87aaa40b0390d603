"""``autotune register`` and ``autotune calibration``: a study's answer under a name, and back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from autotune.cli.find_study import StoredStudyArgument, find_stored
from autotune.text import metric_text, shown_unit

if TYPE_CHECKING:
    from autotune.tracking.registry import CalibratedParameter

_ALIAS = "champion"


def register(
    study: StoredStudyArgument,
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="Name of the calibration, such as titan-300kv.")],
    alias: Annotated[str, typer.Option(help="What is to name this version from now on.")] = _ALIAS,
) -> None:
    """Register a finished study's answer in MLflow's model registry, as the calibration of something."""
    from autotune.home import Home
    from autotune.tracking.registry import register as register_answer

    _require_name("--as", name)
    home = Home.from_environment()
    version, new = register_answer(find_stored(study, home), home, name, alias)
    was = "registered as" if new else "is already"
    typer.echo(f"{study} {was} {name} version {version}, alias {alias}")


def calibration(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name that a study was registered under.")],
    alias: Annotated[str, typer.Option(help="Which version of it.")] = _ALIAS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the calibration that is registered under a name: parameters with units and intervals."""
    import dataclasses
    import json

    from autotune.tracking.registry import calibration as read_calibration

    _require_name("calibration", name)
    calibrated = read_calibration(name, alias)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(calibrated), indent=2, ensure_ascii=False))
        return
    from rich.table import Table

    from autotune.cli.console import make_console

    console = make_console()
    console.print(f"{calibrated.name} version {calibrated.version} ({alias}): study {calibrated.study}")
    console.print(f"{calibrated.metric} {metric_text(calibrated.metric_value)}")
    table = Table("parameter", "value", "estimate", "90 % interval", "unit", "verdict", box=None, padding=(0, 2))
    for name, parameter in calibrated.parameters.items():
        table.add_row(
            name,
            _number(parameter.value),
            _number(parameter.estimate),
            _interval(parameter),
            shown_unit(parameter.unit),
            (parameter.verdict or "").replace("_", " "),
        )
    console.print(table)


def _require_name(where: str, name: str) -> None:
    from autotune.errors import InputError, Problem

    if not name.strip():
        raise InputError(Problem(f"{where} '{name}'", "is no name", "name what is calibrated, such as titan-300kv"))


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)


def _interval(parameter: CalibratedParameter) -> str:
    """The ends of a parameter's interval, to two digits of their distance; empty where there is none."""
    if parameter.interval is None:
        return ""
    low, high = parameter.interval
    digits = max(0, 1 - math.floor(math.log10(high - low))) if high > low else 5
    return f"{low:.{digits}f} .. {high:.{digits}f}"
