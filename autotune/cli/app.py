"""The commands of ``autotune``: registers the commands and turns errors into messages and exit codes.

Exit codes: 0 done, 2 bad input, 3 the study or the program failed, 4 no trial succeeded, 130 interrupted.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from autotune import __version__
from autotune.cli.backends import backends
from autotune.cli.check import check
from autotune.cli.compare import compare
from autotune.cli.confirm import confirm
from autotune.cli.export import export
from autotune.cli.init import init
from autotune.cli.register import calibration, register
from autotune.cli.report import report
from autotune.cli.reproduce import reproduce
from autotune.cli.run import result, run
from autotune.cli.schema import schema
from autotune.cli.serve import serve
from autotune.cli.signals import command_begins
from autotune.cli.simulate import simulate
from autotune.cli.status import status
from autotune.cli.sync import sync
from autotune.cli.token import token
from autotune.cli.ui import ui
from autotune.cli.watch import watch
from autotune.errors import INTERRUPTED, AutotuneError

FAILED = 3


@dataclass
class Options:
    """The options that stand before the command."""

    debug: bool = False


# Plain help and usage errors: rich would wrap them into boxes, and costs start-up time.
app = typer.Typer(name="autotune", no_args_is_help=True, add_completion=False, rich_markup_mode=None)
_COMMANDS = (init, check, run, status, result, compare, confirm, reproduce, export, register, calibration)
for command in (*_COMMANDS, report, simulate, sync, ui, serve, watch, schema):
    app.command()(command)
app.add_typer(backends, name="backends")
app.add_typer(token, name="token")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autotune {__version__}")
        raise typer.Exit()


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Automatic tuning of scientific reconstructions: a study file in, the best parameters out."""
    context.obj.debug = debug
    command_begins()


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors are printed to standard error."""
    given = Options()
    try:
        app(args=list(arguments), prog_name="autotune", obj=given)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except AutotuneError as error:
        if given.debug:
            traceback.print_exc()
        for problem in error.problems:
            typer.echo(f"Error: {problem}", err=True)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if given.debug:
            traceback.print_exc()
        text = " ".join(f"{type(error).__name__}: {error}".split())
        hint = "" if given.debug else "; autotune --debug COMMAND shows where"
        typer.echo(f"Error: unexpected {text}{hint}", err=True)
        return FAILED
    return 0
