"""``autotune simulate``: make the measurement that a study describes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autotune.cli.options import SetOption, StudyArgument


def simulate(
    study: StudyArgument,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The file to write; default: where the study looks for its data."),
    ] = None,
    overrides: SetOption = None,
) -> None:
    """Make the measurement a study describes.

    Its hidden truth goes into a file beside it.
    """
    from autotune.objective import InputError, Simulates
    from autotune.study import load_study

    file = load_study(study, overrides or ())
    if not isinstance(file.objective_type, Simulates):
        name = file.spec.objective.name
        raise InputError(file.problem("objective.name", f"'{name}' cannot simulate", "give it measured data"))
    with file.locating():
        facts = file.objective_type.simulate(file.settings, folder=file.folder, output=output)
    for key, fact in facts.items():
        typer.echo(f"{key}: {fact}")
