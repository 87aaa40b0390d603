"""``autotune export``: the files of an answer and its measurement, for another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autotune.cli.find_study import StoredStudyArgument, find_stored


def export(
    study: StoredStudyArgument,
    into: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to make.")],
    trial: Annotated[int | None, typer.Option(min=0, help="Number of the trial, instead of the best one.")] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="What the study's relative paths start from, if moved.")
    ] = None,
) -> None:
    """Write a trial's files, those of its package among them, and the measurement, to go on in another program."""
    from autotune.cli.console import make_console
    from autotune.home import Home
    from autotune.rerun.export import export as write

    home = Home.from_environment()
    exported = write(find_stored(study, home), home, into, number=trial, folder=folder)
    console = make_console()
    console.print(f"Trial {exported.trial} of {study} in {into}: {', '.join(exported.files)}", soft_wrap=True)
    for name, fact in exported.facts.items():
        console.print(f"{name}: {fact}", soft_wrap=True)
