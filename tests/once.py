"""What every run of a study does anew, and what comes out the same each time while the tests run: done once here.

None of it is what most tests are about: the tables of an empty trial store, the hash of the tests' own code, the
versions of the installed packages, the options of the commands. Commands that tests start as processes of their own
do all of it themselves.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest


def do_once(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Until ``patch`` is undone, take from memory, or from ``folder``, what has been done before in this process."""
    import importlib.metadata

    import typer.main

    patch.setattr(importlib.metadata, "version", functools.cache(importlib.metadata.version))
    patch.setattr(typer.main, "get_command", functools.cache(typer.main.get_command))
    _copy_empty_stores(patch, folder / "empty.db")
    _remember_own_hash(patch)


def _copy_empty_stores(patch: pytest.MonkeyPatch, empty: Path) -> None:
    """Begin a trial store with a copy of an empty one; ``SqliteDatabase.open.__wrapped__`` makes its own tables."""
    from autotune.store import sqlite
    from autotune.store.sqlite import SqliteDatabase, first_touch

    real = SqliteDatabase.open

    @functools.wraps(real)
    def from_copy(self: SqliteDatabase) -> object:
        if self.file is not None and not self.file.exists():
            if not empty.exists():
                real(SqliteDatabase(f"sqlite:///{empty}")).engine.dispose()
            with first_touch(self.file):
                if not self.file.exists():
                    shutil.copyfile(empty, self.file)
                identity = self._identity()
                assert identity is not None
                sqlite._compatible.add(identity)
        return real(self)

    patch.setattr(SqliteDatabase, "open", from_copy)


def _remember_own_hash(patch: pytest.MonkeyPatch) -> None:
    from autotune.provenance import environment

    real = environment.code_hashes
    remembered = functools.cache(real)

    def of_objective(objective: str, distributions: Sequence[str]) -> dict[str, str]:
        own = objective.startswith("tests.")
        return dict(remembered(objective, tuple(distributions))) if own else real(objective, distributions)

    patch.setattr(environment, "code_hashes", of_objective)
