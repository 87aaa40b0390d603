"""Python's search for garbage, which takes a fifth of the time of a short command, and finds nothing in it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """Within the block, nothing looks for garbage: imports make a million objects, all of which stay."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
