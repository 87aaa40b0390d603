"""Write what is kept of a trial, and its measurement, into a folder from which another program goes on."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autotune.errors import InputError, Problem
from autotune.home import FILES, Home
from autotune.objective import ExportsMeasurement
from autotune.rerun.reproduce import same_measurement, trial_of
from autotune.store.trials import TrialStore
from autotune.study import plan_study
from autotune.study.kept_file import kept_file

MEASUREMENT = "measurement.h5"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        trial: the trial's number.
        files: names in the folder.
        facts: of the measurement, name -> text.
    """

    trial: int
    files: Sequence[str]
    facts: Mapping[str, str]


def export(
    store: TrialStore,
    home: Home,
    into: Path,
    *,
    number: int | None = None,
    folder: Path | None = None,
) -> Exported:
    """Write a trial's files, and its measurement where the objective can, into a new folder. Nothing is evaluated.

    Args:
        store: the study.
        home: where it is kept.
        into: the folder; it is made, and appears whole or not at all.
        number: the trial's number; None for the best trial.
        folder: as for :func:`autotune.study.kept_file.kept_file`: where the measurement is now.

    Raises:
        InputError: no such trial, one that left no files, another measurement, or a folder that cannot be made.
    """
    trial = trial_of(store, number)
    kept = home.trial(store.study.study_name, trial.number)
    if not kept.is_dir():
        what = f"trial {trial.number} has no files here: {kept} is not there"
        raise InputError(Problem(f"study {store.study.study_name}", what, "run the command where the study was run"))
    into = Path(os.path.abspath(into))  # noqa: PTH100  ".." of a folder that is not there, too
    try:
        there = into.exists() or into.is_symlink()
    except OSError as error:
        raise InputError(Problem(str(into), f"cannot be written: {error.strerror}")) from error
    if there:
        raise InputError(Problem(str(into), "exists", "name a folder that does not"))
    file = kept_file(store, home, folder=folder)
    objective = file.open()
    same_measurement(store, objective)
    plan = plan_study(file, objective)
    values = {**plan.held(trial.level), **trial.values}
    unfinished = into.with_name(f".{uuid.uuid4().hex}.tmp")
    facts: Mapping[str, str] = {}
    try:
        unfinished.mkdir(parents=True)
        if isinstance(objective, ExportsMeasurement):
            facts = objective.export_measurement(values, metric=plan.metric.name, path=unfinished / MEASUREMENT)
        _copy(kept, unfinished)
        unfinished.rename(into)
    except OSError as error:
        raise InputError(Problem(str(into), f"cannot be written: {error.strerror or error}")) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    files = sorted(path.relative_to(into).as_posix() for path in into.rglob("*") if path.is_file())
    return Exported(trial.number, files, facts)


def _copy(kept: Path, into: Path) -> None:
    """Copy a trial's files into one folder: those of its objective beside the others, where no other has the name."""
    own = [path for path in sorted(kept.iterdir()) if path.is_file()]
    made = sorted((kept / FILES).iterdir()) if (kept / FILES).is_dir() else []
    for path in own:
        shutil.copyfile(path, into / path.name)
    for path in made:
        place = into / FILES if (into / path.name).exists() else into
        place.mkdir(exist_ok=True)
        shutil.copyfile(path, place / path.name)
