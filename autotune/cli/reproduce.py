"""``autotune reproduce``: evaluate a trial again from what is kept of its study, and compare."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotune.cli.options import SetOption
from autotune.cli.stored import StoredStudyArgument, find_stored

if TYPE_CHECKING:
    from rich.console import Console

    from autotune.store import TrialStore

DISAGREES = 3


def reproduce(
    study: StoredStudyArgument,
    trial: Annotated[int | None, typer.Option(min=0, help="Number of the trial, instead of the best one.")] = None,
    tolerance: Annotated[float, typer.Option(help="How much the metric may differ.")] = 1e-5,
    folder: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="What the study's relative paths start from, if moved.")
    ] = None,
    overrides: SetOption = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="PATH", help="Write the comparison here, too.")
    ] = None,
    lock: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the trial's package versions for pip install -c; evaluate nothing."),
    ] = None,
) -> None:
    """Evaluate a trial of a study again and compare. Exit code 0: it agrees; 3: it does not; 2: not the same data."""
    from autotune.cli.run import check_json_path
    from autotune.errors import InputError, Problem
    from autotune.home import Home

    home = Home.from_environment()
    store = find_stored(study, home)
    if not tolerance > 0:
        raise InputError(Problem(f"--tolerance {tolerance:g}", "is not above 0", "1e-5 is usual"))
    if lock is not None:
        _write_lock(store, trial, lock)
        return
    check_json_path(json_path)
    import optuna

    from autotune.cli.signals import terminated_as_interrupted
    from autotune.reproduction import reproduce as evaluate_again
    from autotune.result import write_json

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with terminated_as_interrupted():
        document = evaluate_again(
            store, home, _Patient(), number=trial, tolerance=tolerance, folder=folder, overrides=overrides or ()
        )
    if json_path is not None:
        write_json(json_path, document)
    _print(document)
    if not document["agrees"]:
        raise typer.Exit(DISAGREES)


def _write_lock(store: TrialStore, number: int | None, path: Path) -> None:
    from autotune.environment import constraints, environment_of
    from autotune.errors import InputError, Problem
    from autotune.reproduction import trial_of

    found = trial_of(store, number)
    then = environment_of(store, found)
    if then is None:
        what = f"the environment of trial {found.number} was not kept: an older version ran it"
        raise InputError(Problem(f"study {store.study.study_name}", what, "its result.json names the main versions"))
    try:
        path.write_text(constraints(then), encoding="utf-8")
    except OSError as error:
        what = f"cannot be written: {error.strerror}"
        raise InputError(Problem(f"--lock {path}", what, "name a file in a folder that exists")) from error
    count = len(then["packages"])
    typer.echo(f"{count} package versions of trial {found.number}: in a checkout of autotune, pip install -c {path} .")


class _Patient:
    """Says only what the user must know."""

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        """Go on."""
        return True

    def paused(self, reason: str) -> None:
        """Say what is waited for."""
        typer.echo(f"Waiting: {reason}. Ctrl-C ends the command.", err=True)

    def resumed(self) -> None:
        """Nothing to say."""


def _print(document: Mapping[str, Any]) -> None:
    from rich.table import Table

    from autotune.cli.console import make_console

    console = make_console()
    name = f"trial {document['trial']} of study {document['study']}"
    if document["reason"]:
        console.print(f"NOT reproduced: {name} failed when evaluated again: {document['reason']}", soft_wrap=True)
    else:
        verdict = "Reproduced" if document["agrees"] else "NOT reproduced"
        console.print(f"{verdict}: {name}, within {document['tolerance']:g} of {document['metric']}")
        table = Table("", "then", "now", "difference", "", box=None, padding=(0, 2))
        for kind, title in (("metrics", "{}"), ("gradient", "d/d {}")):
            for key, one in document[kind].items():
                now, difference = (
                    ("-", "-") if one["now"] is None else (f"{one['now']:.8g}", f"{one['difference']:.2g}")
                )
                table.add_row(
                    title.format(key), f"{one['then']:.8g}", now, difference, "" if one["agrees"] else "differs"
                )
        console.print(table)
    hashed = document["content_hash"]
    console.print(f"Data: {'hash not told by the objective' if hashed is None else f'the same ({hashed})'}")
    console.print(f"Seed: {document['seed']}")
    if document["overrides"]:
        console.print(f"With: {', '.join(document['overrides'])}", soft_wrap=True)
    _print_environment(console, document)


def _print_environment(console: Console, document: Mapping[str, Any]) -> None:
    from rich.table import Table

    if document["differences"] is None:
        console.print("Software then: not kept (an older version ran it)")
    elif not document["differences"]:
        count = len(document["environment"]["now"]["packages"])
        console.print(f"Software and machine: the same ({count} packages)")
    else:
        console.print("What differs from then:")
        table = Table("", "then", "now", box=None, padding=(0, 2))
        for key, (then, now) in document["differences"].items():
            table.add_row(key, _plain(then), _plain(now))
        console.print(table)
        console.print(
            "The same versions: autotune reproduce STUDY --lock FILE, then, in a checkout, pip install -c FILE .",
            soft_wrap=True,
        )


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={one}" for name, one in value.items()) or "-"
    return "-" if value is None else str(value)
