"""The study file that a study was run from: kept with the study, which can so be opened again, here or elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from autotune.errors import InputError, Problem
from autotune.files import write_whole
from autotune.home import Home
from autotune.store.facts import Origin
from autotune.store.trials import TrialStore
from autotune.study import StudyFile, parse_study


def keep_file(store: TrialStore, file: StudyFile, home: Home) -> None:
    """Keep the text of the study's file, its path and its budget."""
    path = file.path.absolute()
    write_whole(home.study(file.spec.name) / "study.yaml", file.text)
    origin = Origin(str(path), os.path.relpath(path, home.folder))
    store.keep(origin=origin, budget=file.spec.budget.model_dump(mode="json"))


def kept_file(store: TrialStore, home: Home, *, folder: Path | None = None, overrides: Sequence[str] = ()) -> StudyFile:
    """The study file as it was last run.

    Args:
        store: the study.
        home: where studies live.
        folder: the folder that relative paths in the file start from; None for the folder it was run from. Where the
            home and that folder were copied together, it is the copy beside this home.
        overrides: as for :func:`autotune.study.load_study`.

    Raises:
        InputError: the file is not kept here, it is not valid any more, or the folder it was run from is not known.
    """
    name = store.study.study_name
    text = home.study(name) / "study.yaml"
    if not text.is_file():
        remedy = "copy the folder of the home with the trial store, or give the study file to `autotune run`"
        raise InputError(Problem(str(text), "is not there: the study was run with another home", remedy))
    return parse_study(text.read_text(encoding="utf-8"), _path(store, home, folder), overrides)


def _path(store: TrialStore, home: Home, folder: Path | None) -> Path:
    if folder is not None:
        if not folder.is_dir():
            raise InputError(
                Problem(f"--folder {folder}", "is no folder", "name the one that the study's paths start from")
            )
        return folder / "study.yaml"
    origin = store.facts.origin
    if origin is None:
        what = "was run by a version that did not keep where its file was"
        raise InputError(
            Problem(f"study {store.study.study_name}", what, "say what its paths start from with --folder")
        )
    here, there = Path(os.path.normpath(home.folder / origin.from_home)), Path(origin.path)
    return here if here.is_file() else there
