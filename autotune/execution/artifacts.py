"""The files that a trial keeps on disk: its arrays in HDF5, its pictures, and those that its objective made.

They are written to a temporary folder and renamed, so a folder that is there is complete.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from autotune.execution.emd import write_emd
from autotune.execution.forked_children import ThisProcessOnly
from autotune.home import FILES
from autotune.objective import ArrayDescription, DescribesArrays, DrawsPictures, Evaluation, Objective

T = TypeVar("T")
_UNFINISHED = ".tmp"
_log = logging.getLogger(__name__)


def keep_evaluation(folder: Path, evaluation: Evaluation, objective: Objective) -> None:
    """Write arrays, pictures and files of ``evaluation`` to ``folder``, replacing those of an earlier attempt.

    An evaluation without any (it failed, or keeps none) leaves no folder, and one without arrays has nothing to draw.

    Raises:
        OSError: something cannot be written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if not evaluation.arrays and not evaluation.files:
        return
    temporary = folder.with_name(f".{folder.name}{_UNFINISHED}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    if evaluation.arrays:
        _write_arrays(temporary / "reconstruction.h5", folder, evaluation, objective)
        for name, png in _pictures(folder, evaluation, objective).items():
            (temporary / f"{name}.png").write_bytes(png)
    for name, content in evaluation.files.items():
        (temporary / FILES).mkdir(exist_ok=True)
        (temporary / FILES / name).write_bytes(content)
    temporary.rename(folder)


def discard_unfinished(trials: Path) -> None:
    """Delete incomplete files in the folder ``trials``, of processes that ended while they wrote."""
    for left in trials.glob(f".*{_UNFINISHED}"):
        shutil.rmtree(left, ignore_errors=True)


def _pictures(folder: Path, evaluation: Evaluation, objective: Objective) -> Mapping[str, bytes]:
    if not isinstance(objective, DrawsPictures):
        return {}
    return _or_nothing(lambda: objective.pictures(evaluation), folder, "no pictures: drawing them")


def _write_arrays(path: Path, folder: Path, evaluation: Evaluation, objective: Objective) -> None:
    """Write arrays with their units and axes, and metrics and attributes as attributes of the file."""
    described: Mapping[str, ArrayDescription] = {}
    if isinstance(objective, DescribesArrays):
        without = "arrays without units: describing them"
        described = _or_nothing(lambda: objective.describe_arrays(evaluation), folder, without)
    write_emd(path, evaluation.arrays, {**evaluation.attributes, **evaluation.metrics}, described)


def _or_nothing(ask: Callable[[], Mapping[str, T]], folder: Path, without: str) -> Mapping[str, T]:
    """The objective's answer; empty, with a warning, where it raises: that is no reason to lose a trial."""
    try:
        with ThisProcessOnly():
            return ask()
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        _log.warning("Trial %s has %s failed (%s)", folder.name, without, text)
        return {}
