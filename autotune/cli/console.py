"""The console that commands print to."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from rich.console import Console


def command_name() -> str:
    """How the user can call this program again: as it was called, where it is not on the path."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "autotune" and not shutil.which("autotune") else "autotune"


def make_console() -> Console:
    """Standard output, values printed as they are, with room for a table where it is not a terminal."""
    console = Console(markup=False, emoji=False, highlight=False)
    return console if console.is_terminal else Console(markup=False, emoji=False, highlight=False, width=120)
