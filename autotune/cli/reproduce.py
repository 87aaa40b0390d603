"""``autotune reproduce``: evaluate a trial again from what is kept of its study, and compare."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotune.cli.find_study import StoredStudyArgument, find_stored
from autotune.cli.options import SetOption

if TYPE_CHECKING:
    from rich.console import Console

    from autotune.rerun.reproduce import Environments, Reproduction
    from autotune.store.trials import TrialStore

DISAGREES = 3
_EXECUTION = ("execution.timeout", "execution.memory", "execution.environment")
_MAY_BE_REPLACED = f"objective.KEY, such as the place of the data, {', '.join(_EXECUTION[:-1])} or {_EXECUTION[-1]}"


def reproduce(
    study: StoredStudyArgument,
    trial: Annotated[int | None, typer.Option(min=0, help="Number of the trial, instead of the best one.")] = None,
    tolerance: Annotated[float, typer.Option(help="How much the metric may differ, relative to its scale.")] = 1e-5,
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
    if not 0 < tolerance < math.inf:
        raise InputError(Problem(f"--tolerance {tolerance:g}", "is not a number above 0", "1e-5 is usual"))
    _check_overrides(overrides or ())
    if lock is not None:
        given = {"--json": json_path, "--folder": folder, "--set": overrides}
        for option in (option for option, value in given.items() if value):
            raise InputError(Problem(option, "contradicts --lock, which evaluates nothing", "give one of them"))
        _write_lock(store, trial, lock)
        return
    check_json_path(json_path)
    import optuna

    from autotune.cli.signals import terminated_as_interrupted
    from autotune.files import write_json
    from autotune.rerun.reproduce import reproduce as evaluate_again

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with terminated_as_interrupted():
        document = evaluate_again(
            store, home, _Patient(), number=trial, tolerance=tolerance, folder=folder, overrides=overrides or ()
        )
    if json_path is not None:
        write_json(json_path, document.as_dict())
    _print(document)
    if not document.agrees:
        raise typer.Exit(DISAGREES)


def _check_overrides(overrides: Sequence[str]) -> None:
    """Refuse to replace what makes the trial what it is: its parameters, its seed, its metric."""
    from autotune.errors import InputError, Problem

    problems = [
        Problem(f"--set {override}", "is part of the trial, or has no effect on it", f"replace {_MAY_BE_REPLACED}")
        for override in overrides
        if "=" in override and not override.strip().startswith(("objective.", *_EXECUTION))
    ]
    if problems:
        raise InputError(problems)


def _write_lock(store: TrialStore, number: int | None, path: Path) -> None:
    from autotune.errors import InputError, Problem
    from autotune.provenance.environment import constraints, environment_of
    from autotune.rerun.reproduce import trial_of

    trial = trial_of(store, number)
    then = environment_of(store, trial)
    if then is None:
        what = f"the environment of trial {trial.number} was not kept: an older version ran it"
        raise InputError(Problem(f"study {store.study.study_name}", what, "its result.json names the main versions"))
    try:
        path.write_text(constraints(then), encoding="utf-8")
    except OSError as error:
        what = f"cannot be written: {error.strerror}"
        raise InputError(Problem(f"--lock {path}", what, "name a file in a folder that exists")) from error
    count = len(then["packages"])
    typer.echo(f"{count} package versions of trial {trial.number}: in a checkout of autotune, pip install -c {path} .")


class _Patient:
    """Follows an evaluation, and says only what the user must know."""

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        """Go on."""
        return True

    def paused(self, reason: str) -> None:
        """Say what the evaluation waits for."""
        typer.echo(f"Waiting: {reason}. Ctrl-C ends the command.", err=True)

    def resumed(self) -> None:
        """Nothing to say."""


def _print(document: Reproduction) -> None:
    from rich.table import Table

    from autotune.cli.console import make_console

    console = make_console()
    name = f"trial {document.trial} of study {document.study}"
    if document.reason:
        console.print(f"NOT reproduced: {name} failed when evaluated again: {document.reason}", soft_wrap=True)
    else:
        verdict = "Reproduced" if document.agrees else "NOT reproduced"
        console.print(f"{verdict}: {name}; allowed: {document.tolerance:g} of the scale of {document.metric}")
        table = Table("", "then", "now", "difference", "of the scale", "", box=None, padding=(0, 2))
        derivatives = {f"d/d {parameter}": derivative for parameter, derivative in document.gradient.items()}
        for title, compared in {**document.metrics, **derivatives}.items():
            numbers = (_short(compared.now, 8), _short(compared.difference, 2), _short(compared.relative, 2))
            table.add_row(title, _short(compared.then, 8), *numbers, "" if compared.agrees else "differs")
        console.print(table)
    hashed = document.content_hash
    console.print(f"Data: {'hash not told by the objective' if hashed is None else f'the same ({hashed})'}")
    console.print(f"Seed: {document.seed}")
    if document.overrides:
        console.print(f"With: {', '.join(document.overrides)}", soft_wrap=True)
    _print_environment(console, document)


def _print_environment(console: Console, document: Reproduction) -> None:
    from rich.table import Table

    if document.differences is None:
        console.print("Software then: not kept (an older version ran it)")
    elif not document.differences:
        count = len(document.environment.now["packages"])
        console.print(f"Recorded software and machine: the same ({count} packages)")
    else:
        console.print("What is not known to be the same as then:")
        table = Table("", "then", "now", box=None, padding=(0, 2))
        for key, (then, now) in document.differences.items():
            table.add_row(
                key, _plain(key, then), _plain(key, now) if now != then else "the same, but with changed files"
            )
        console.print(table)
        if document.differences.keys() & _packages(document.environment):
            console.print(
                "The same versions: autotune reproduce STUDY --lock FILE, then, in a checkout, pip install -c FILE .",
                soft_wrap=True,
            )


def _packages(environments: Environments) -> set[str]:
    """The names of the packages of both environments."""
    then = {} if environments.then is None else environments.then["packages"]
    return {*then, *environments.now["packages"]}


def _short(number: float | None, digits: int) -> str:
    return "-" if number is None else f"{number:.{digits}g}"


def _plain(name: str, value: Any) -> str:
    if value is None:
        return "not recorded" if name.startswith("source of") or name == "threads" else "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={part}" for key, part in value.items()) or "as the libraries choose"
    return f"SHA-256 {value[:12]}" if name.startswith("source of") else str(value)
