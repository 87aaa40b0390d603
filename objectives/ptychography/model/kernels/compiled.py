"""Compile loops (Numba), and choose the folder in which their machine code is kept.

It is kept beside the source or in the user's cache, as Numba does by itself. Where neither can be written (a read-only
installation without a writable home folder), it is kept below ``AUTOTUNE_HOME`` or in the folder of temporary files;
where these are not safe either, each process compiles anew. Numba reads what it keeps with pickle, which can run any
code: a folder is safe only if nobody but this user (and root) can write to it or put another in its place.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba

_CONFIG: Any = numba.config

_FASTMATH = {"reassoc", "contract", "arcp", "nsz", "afn"}
"""Fast mathematics, without the flags that would hide NaN and infinity, by which divergence is recognised."""


def compiled(function: Callable[..., Any]) -> Any:
    """Decorator: compile a loop at its first call, and keep the machine code where there is a safe place for it."""
    loop = numba.njit(nogil=True, error_model="numpy", fastmath=_FASTMATH)(function)
    _keep(loop)
    return loop


def _keep(loop: Any) -> None:
    """Keep the machine code of ``loop`` in the first place that can be used; nowhere if there is none."""
    if _CONFIG.DISABLE_JIT:
        return
    own = _CONFIG.CACHE_DIR
    for folder in _places(Path(loop.py_func.__code__.co_filename), own):
        _CONFIG.CACHE_DIR = folder
        try:
            loop.enable_caching()
        except RuntimeError:  # Numba found no place
            continue
        finally:
            _CONFIG.CACHE_DIR = own
        return


def _places(source: Path, own: str) -> Iterator[str]:
    """Values of NUMBA_CACHE_DIR to try: ``own``, with which Numba looks at its own places, then the other folders."""
    if own or _has_user_cache() or os.access(source.parent / "__pycache__", os.W_OK):
        yield own
    for parent in (os.environ.get("AUTOTUNE_HOME", ""), _temporary()):
        folder = Path(parent).absolute() / f"autotune-numba-{os.geteuid()}"
        if parent and _owner_only(folder):
            yield str(folder)


def _has_user_cache() -> bool:
    """Whether Numba's user cache has a path; without a home folder it would be one called "~" in the current folder."""
    try:
        return bool(os.environ.get("XDG_CACHE_HOME") or Path.home())
    except RuntimeError:
        return False


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return ""


def _owner_only(folder: Path) -> bool:
    """Make ``folder`` if it is missing; return whether only this user can write to it or put another in its place."""
    user = os.geteuid()
    try:
        above = [parent.stat() for parent in (folder.parent.resolve() / folder.name).parents]
        if not all(at.st_uid in (0, user) and (not at.st_mode & 0o022 or at.st_mode & stat.S_ISVTX) for at in above):
            return False
        folder.mkdir(mode=0o700, exist_ok=True)
        made = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(made.st_mode) and made.st_uid == user and not made.st_mode & 0o077
