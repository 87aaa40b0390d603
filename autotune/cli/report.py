"""``autotune report``: write the HTML report of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autotune.cli.find_study import StoredStudyArgument, find_stored


def report(
    study: StoredStudyArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write here, not to report.html in the study's folder."),
    ] = None,
) -> None:
    """Write a study's report, finished or not: one HTML file that opens anywhere, without network."""
    from autotune.errors import InputError, Problem
    from autotune.home import Home
    from autotune.store.leases import alive

    if output is not None and (output.is_dir() or not output.absolute().parent.is_dir()):
        what = "is a folder" if output.is_dir() else "its folder does not exist"
        raise InputError(Problem(f"--output {output}", what, "name a file in a folder that exists"))
    home = Home.from_environment()
    store = find_stored(study, home)
    from autotune.report import write_report

    typer.echo(str(write_report(store, home, live=bool(alive(store)), output=output).page))
