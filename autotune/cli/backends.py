"""``autotune backends``: the packages that can reconstruct instead of the built-in solvers; install one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from autotune.cli.console import make_console
from autotune.errors import InputError, Problem, near_miss
from autotune.objective import WrapsBackends, find_objective_type, objective_names

backends = typer.Typer(no_args_is_help=True, help="Packages that reconstruct instead of the built-in solvers.")


@backends.command("list")
def list_backends(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the packages that are known, and which of them are installed."""
    known = [status for wrapping in _wrapping() for status in wrapping.backends()]
    if as_json:
        typer.echo(json.dumps([{**asdict(status), "folder": str(status.folder)} for status in known], indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for head in ("backend", "installed", "Python", "what it is"):
        table.add_column(head, overflow="fold")
    for status in known:
        installed = ", ".join(f"{name} {version}" for name, version in status.versions.items()) or "no"
        table.add_row(status.name, installed, status.pythons, status.description)
    console = make_console()
    console.print(table)
    missing = [status.name for status in known if not status.versions]
    if missing:
        console.print(f"Install one:  autotune backends install {missing[0]}")


@backends.command("install")
def install_backend(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of the list.")],
    if_missing: Annotated[bool, typer.Option("--if-missing", help="Keep one that has these versions.")] = False,
) -> None:
    """Install a package in an environment of its own, with the versions that were tested.

    An earlier environment of it is replaced.
    """
    owners = {status.name: wrapping for wrapping in _wrapping() for status in wrapping.backends()}
    if name not in owners:
        raise InputError(Problem("NAME", f"no backend is called '{name}'", near_miss(name, owners)))
    known = next(status for status in owners[name].backends() if status.name == name)
    kept = if_missing and known.current
    status = known if kept else owners[name].install_backend(name, typer.echo)
    if kept:
        typer.echo(f"{name}: is in {known.folder}")
    typer.echo(f"In a study:  objective: {{backend: {{name: {status.name}}}}}")


def _wrapping() -> Iterator[WrapsBackends]:
    for name in objective_names():
        found = find_objective_type(name)
        if isinstance(found, WrapsBackends):
            yield found
