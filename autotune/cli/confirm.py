"""``autotune confirm``: evaluate a study's best trials again, and see whether their ranking holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autotune.cli.options import SetOption, StudyArgument

if TYPE_CHECKING:
    from rich.progress import Progress

    from autotune.rerun.confirm import Follower


def confirm(
    study: StudyArgument,
    candidates: Annotated[int, typer.Option(min=2, help="Trials to compare, the best one included.")] = 5,
    repeats: Annotated[int, typer.Option(min=2, help="Fresh seeds, and repeated measurements, for each.")] = 5,
    seed: Annotated[int | None, typer.Option(min=0, help="As it was given to `autotune run`.")] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="PATH", help="Write the confirmation here, too.")
    ] = None,
    overrides: SetOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Second opinion: a study's best trials again.

    They are evaluated with other seeds and other noise: does their ranking hold? The best one is looked at closely.
    """
    from autotune.cli.confirm_tables import print_confirmation
    from autotune.cli.run import check_json_path, load
    from autotune.cli.signals import terminated_as_interrupted
    from autotune.home import Home

    file = load(study, overrides or [], None, seed)
    check_json_path(json_path)
    import optuna

    from autotune.files import write_json
    from autotune.rerun.confirm import confirm_study

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with terminated_as_interrupted(), _following(quiet) as follower:
            confirmation = confirm_study(
                file, home=Home.from_environment(), follower=follower, candidates=candidates, repeats=repeats
            )
    except KeyboardInterrupt:
        typer.echo("Interrupted; what was evaluated is kept. The same command goes on.", err=True)
        raise
    if json_path is not None:
        write_json(json_path, confirmation.as_dict())
    if not quiet:
        print_confirmation(confirmation)


class _Line:
    """Follows a confirmation: a bar on a terminal, elsewhere only what the user must know."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._task = None if progress is None else progress.add_task("", total=None)

    def evaluated(self, done: int, count: int) -> None:
        """Move the bar."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=count)

    def paused(self, reason: str) -> None:
        """Say why the command waits."""
        print(f"Waiting: {reason}. Nothing is lost; Ctrl-C ends the command.", file=sys.stderr, flush=True)

    def resumed(self) -> None:
        """Say nothing: the bar moves again."""


@contextmanager
def _following(quiet: bool) -> Iterator[Follower]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    from autotune.cli.console import make_console

    console = make_console()
    if quiet or not console.is_terminal:
        yield _Line(None)
        return
    with Progress(BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), console=console, transient=True) as bar:
        yield _Line(bar)
