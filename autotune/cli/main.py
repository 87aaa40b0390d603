"""The process of the ``autotune`` command, from its first moment to its last; :mod:`autotune.cli.app` is in between.

Importing this imports next to nothing, so that an interrupt during the imports finds the handler for it.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from autotune.cli.collection import without_collection
from autotune.cli.signals import leave, this_process_is_the_command
from autotune.errors import INTERRUPTED

_FULL_COLLECTION = 100
"""Collections of young garbage before a full one, of which Python would make ten times as many."""


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors are printed to standard error."""
    with without_collection():
        from autotune.cli import app

    return app.run_command_line(arguments)


def main() -> None:
    """Entry point of the console script."""
    this_process_is_the_command()
    # Imports make a million objects that stay. Python would look through all of them for garbage again and again.
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _FULL_COLLECTION)
    from autotune.cli.streams import never_fail

    never_fail()
    code = run_command_line(sys.argv[1:])
    leave(code, at_once=code == INTERRUPTED)
