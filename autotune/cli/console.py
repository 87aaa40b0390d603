"""The console that commands print to."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from rich.console import Console


def command_name() -> str:
    """The name by which the user can call this program again: as it was called, where it is not on the path."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "autotune" and not shutil.which("autotune") else "autotune"


def make_console() -> Console:
    """A console on standard output that prints texts as they are; 120 columns wide where it is no terminal."""
    console = Console(markup=False, emoji=False, highlight=False)
    return console if console.is_terminal else Console(markup=False, emoji=False, highlight=False, width=120)
