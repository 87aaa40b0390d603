"""Where a user's studies live on disk: ``.autotune/`` in the current folder, or ``AUTOTUNE_HOME``.

trials.db                    the trial store (Optuna, SQLite), unless AUTOTUNE_STORAGE names another
locks/                       one per study, held for moments
mlflow.db, mlflow-artifacts/ the MLflow projection
data/                        simulated measurements
studies/NAME/                study.yaml as run, result.json, environment.json, best.yaml, best.h5
studies/NAME/workers/        what the worker processes printed
studies/NAME/trials/00003/   what trial 3 kept: reconstruction.h5, pictures
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from autotune.errors import InputError, Problem

STORAGE_VARIABLE = "AUTOTUNE_STORAGE"
"""Environment variable with the URL of the trial store."""


@dataclass(frozen=True)
class Home:
    """Paths below one home folder. Creates nothing by itself.

    Attributes:
        folder: absolute.
        storage: SQLAlchemy URL of the trial store; empty for an SQLite file in the folder. It may hold a password, so
            it is neither printed nor kept.
    """

    folder: Path
    storage: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls) -> Home:
        """``AUTOTUNE_HOME`` where set, else ``.autotune`` in the current folder; the store of ``AUTOTUNE_STORAGE``.

        Raises:
            InputError: there is a file in the folder's place.
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
        """MLflow tracking URI used where neither the study nor MLFLOW_TRACKING_URI names one."""
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> Path:
        """Folder of MLflow artifacts; set explicitly, MLflow otherwise drops mlruns/ into the current folder."""
        return self.folder / "mlflow-artifacts"

    def study(self, name: str) -> Path:
        """Folder of one study."""
        return self.folder / "studies" / name

    def workers(self, study: str) -> Path:
        """Folder of what a study's worker processes printed."""
        return self.study(study) / "workers"

    def trial(self, study: str, number: int) -> Path:
        """Folder of what one trial kept."""
        return self.study(study) / "trials" / f"{number:05d}"
