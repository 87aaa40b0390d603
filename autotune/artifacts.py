"""What a trial keeps on disk: its arrays in HDF5 and its pictures.

Written to a temporary folder and renamed, so a folder that is there is complete.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotune.objective import DrawsPictures, Evaluation, Objective


def keep_evaluation(folder: Path, evaluation: Evaluation, objective: Objective) -> None:
    """Write the arrays and pictures of ``evaluation`` to ``folder``, replacing what an earlier attempt left there."""
    pictures = objective.pictures(evaluation) if isinstance(objective, DrawsPictures) else {}
    if not evaluation.arrays and not pictures:
        return
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    if evaluation.arrays:
        _write_arrays(temporary / "reconstruction.h5", evaluation)
    for name, png in pictures.items():
        (temporary / f"{name}.png").write_bytes(png)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


def _write_arrays(path: Path, evaluation: Evaluation) -> None:
    """Arrays as datasets; metrics and attributes as attributes of the file."""
    import h5py

    attributes: Mapping[str, Any] = {**evaluation.attributes, **evaluation.metrics}
    with h5py.File(path, "w") as file:
        for name, array in evaluation.arrays.items():
            file.create_dataset(name, data=array)
        for name, value in attributes.items():
            file.attrs[name] = value
