"""``autotune init``: a commented study file for a measurement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from autotune.objective import Draft


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The measurement file.")],
    output: Annotated[
        Path | None,
        typer.Option(metavar="STUDY", help="The study file to write; default: the measurement's name, .yaml, here."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The study's name; default: that of the study file.")] = None,
    objective: Annotated[
        str | None, typer.Option(help="The objective to ask; default: each that is installed, until one knows it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the study file if it exists.")] = False,
    guess: Annotated[
        bool, typer.Option("--guess", help="Read all of it, and guess what shows without a reconstruction.")
    ] = False,
) -> None:
    """Write a commented study file for a measurement.

    It states what the measurement's metadata say, marks what is missing, and proposes what to tune.
    """
    from autotune.errors import InputError, Problem
    from autotune.objective import GuessesParameters, find_objective_type
    from autotune.study.draft import find_draft, missing_keys, plain_name, write_draft

    if not file.exists():
        raise InputError(Problem(str(file), "no such file", "name a measurement file"))
    study_path = output if output is not None else Path(f"{plain_name(file.stem)}.yaml")
    if output is None and study_path.absolute() == file.absolute():  # parameters of another program
        study_path = study_path.with_stem(f"{study_path.stem}_study")
    objective_name, draft = find_draft(file, study_path.absolute().parent, objective)
    if guess:
        kind = find_objective_type(objective_name)
        if not isinstance(kind, GuessesParameters):
            raise InputError(Problem("--guess", f"'{objective_name}' guesses nothing", "leave it out"))
        draft = kind.guess(draft, folder=study_path.absolute().parent)
    study_name = name if name is not None else plain_name(study_path.stem)
    write_draft(study_path, study_name, objective_name, file, draft, replace=force)
    _print_draft(file, study_path, draft, missing_keys(draft))


def _print_draft(file: Path, study_path: Path, draft: Draft, missing: list[str]) -> None:
    from rich.table import Table

    from autotune.cli.console import command_name, make_console

    console = make_console()
    console.print(f"Found in {file}", soft_wrap=True)
    table = Table.grid(padding=(0, 2))
    for fact_name, fact in draft.facts.items():
        table.add_row(f"  {fact_name}", fact)
    console.print(table)
    console.print(f"\nWrote {study_path}", soft_wrap=True)
    if missing:
        console.print("State in it what the measurement does not say (lines marked MISSING):")
        for key in missing:
            console.print(f"  {key}")
    console.print(f"Next: {command_name()} check {study_path}", soft_wrap=True)
