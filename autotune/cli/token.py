"""``autotune token``: who may use the service."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from autotune.service.tokens import Tokens

token = typer.Typer(no_args_is_help=True, help="Make, list and revoke tokens of the service.", rich_markup_mode=None)


@token.command("new")
def new(
    owner: Annotated[str, typer.Option(help="Whose it is.")],
    role: Annotated[
        Literal["read", "submit", "admin"],
        typer.Option(help="read: look at everything; submit: run studies, too, and cancel one's own; admin: anything."),
    ] = "submit",
    days: Annotated[float | None, typer.Option(help="Days until it expires; never without.")] = 90,
) -> None:
    """Make a token and print it. It is shown this once; only its hash is kept."""
    made, secret = _tokens().new(owner, role, days)
    typer.echo(secret)
    until = "never" if made.expires is None else f"on {_date(made.expires)}"
    typer.echo(f"Token {made.id} of {owner} ({role}) expires {until}. It is not shown again.", err=True)


@token.command("list")
def list_tokens() -> None:
    """List the tokens, without what they are."""
    from rich.table import Table

    from autotune.cli.console import make_console

    table = Table("id", "owner", "role", "made", "expires", "last used", "revoked", box=None, padding=(0, 2))
    for known in _tokens().all():
        times = (known.created, known.expires, known.used, known.revoked)
        table.add_row(known.id, known.owner, known.role, *("-" if at is None else _date(at) for at in times))
    make_console().print(table)


@token.command("revoke")
def revoke(identifier: Annotated[str, typer.Argument(metavar="ID", help="The token's id, as listed.")]) -> None:
    """Revoke a token: a service that runs refuses it within five seconds."""
    revoked = _tokens().revoke(identifier)
    typer.echo(f"Token {revoked.id} of {revoked.owner} is revoked")


def _tokens() -> Tokens:
    from autotune.home import Home
    from autotune.service.database import open_database
    from autotune.service.tokens import Tokens

    return Tokens(open_database(Home.from_environment()))


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
