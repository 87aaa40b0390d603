"""The console that commands print to."""

from __future__ import annotations

from rich.console import Console


def make_console() -> Console:
    """Standard output, values printed as they are, with room for a table where it is not a terminal."""
    console = Console(markup=False, emoji=False, highlight=False)
    return console if console.is_terminal else Console(markup=False, emoji=False, highlight=False, width=120)
