"""Where a user's studies live on disk: ``.autotune/`` in the current folder, or ``AUTOTUNE_HOME``.

trials.db                    the trial store (Optuna, SQLite), unless AUTOTUNE_STORAGE names another
locks/                       one per study, held for moments
mlflow.db, mlflow-artifacts/ the MLflow projection
data/                        simulated measurements
studies/NAME/                study.yaml as run, result.json, environment.json, best.yaml, best.h5, best/
studies/NAME/workers/        output of the worker processes
studies/NAME/trials/00003/   files of trial 3: reconstruction.h5, pictures, files/ of its objective
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from autotune.errors import InputError, Problem

FILES = "files"
"""Folder, in a trial's own, of the files that the objective made."""
STORAGE_VARIABLE = "AUTOTUNE_STORAGE"
"""Environment variable with the URL of the trial store."""


@dataclass(frozen=True)
class Home:
    """The paths below one home folder. Creates nothing.

    Attributes:
        folder: the home folder, absolute.
        storage: SQLAlchemy URL of the trial store; empty for an SQLite file in the folder. It may hold a password, so
            it is neither printed nor stored.
    """

    folder: Path
    storage: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls) -> Home:
        """The home in ``AUTOTUNE_HOME``, else ``.autotune`` in the current folder; the store in ``AUTOTUNE_STORAGE``.

        Raises:
            InputError: the folder's path is that of a file.
        """
        folder = Path(os.environ.get("AUTOTUNE_HOME") or ".autotune").expanduser().resolve()
        if folder.exists() and not folder.is_dir():
            raise InputError(Problem(str(folder), "is a file", "name a folder in AUTOTUNE_HOME"))
        return cls(folder, os.environ.get(STORAGE_VARIABLE, ""))

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the trial store."""
        return self.storage or f"sqlite:///{self.folder / 'trials.db'}"

    @property
    def tracking_uri(self) -> str:
        """MLflow tracking URI where neither the study nor MLFLOW_TRACKING_URI names one."""
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> Path:
        """Folder of MLflow artifacts. Always stated: MLflow would otherwise write mlruns/ in the current folder."""
        return self.folder / "mlflow-artifacts"

    def study(self, name: str) -> Path:
        """Folder of one study."""
        return self.folder / "studies" / name

    def workers(self, study: str) -> Path:
        """Folder of the output of a study's worker processes."""
        return self.study(study) / "workers"

    def trial(self, study: str, number: int) -> Path:
        """Folder of the files that one trial kept."""
        return self.study(study) / "trials" / f"{number:05d}"
