"""Find a study that was run, by its name or its file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from autotune.home import Home
    from autotune.store.trials import TrialStore

StoredStudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="The study's name, or its file.")]


def find_stored(study: str, home: Home) -> TrialStore:
    """The store of a study.

    Raises:
        InputError: there is no such study, or it was not run from a study file.
    """
    from autotune.errors import InputError, Problem, near_miss
    from autotune.store.trials import TrialStore, study_names

    name, is_file = study, study.endswith((".yaml", ".yml"))
    store = None if is_file else TrialStore.open(home.store_url, name)
    if store is None and (is_file or Path(study).is_file()):
        from autotune.study import load_study

        name = load_study(Path(study)).spec.name
        store = TrialStore.open(home.store_url, name)
    if store is None:
        known = study_names(home.store_url)
        raise InputError(Problem(f"study {name}", f"is not in {home.folder}", near_miss(name, known)))
    if store.facts.by_hand:
        raise InputError(Problem(f"study {name}", "was made by ask and tell, without a study file", "read its store"))
    return store
