"""Where a user's studies live on disk: ``.autotune/`` in the current folder, or ``AUTOTUNE_HOME``.

trials.db                    the trial store (Optuna, SQLite)
mlflow.db, mlflow-artifacts/ the MLflow projection
data/                        simulated measurements
studies/NAME/                study.yaml as run, result.json, lock
studies/NAME/trials/00003/   what trial 3 kept: reconstruction.h5, pictures
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """Paths below one home folder. Creates nothing by itself."""

    folder: Path

    @classmethod
    def from_environment(cls) -> Home:
        """``AUTOTUNE_HOME`` where set, else ``.autotune`` in the current folder; always absolute."""
        return cls(Path(os.environ.get("AUTOTUNE_HOME") or ".autotune").expanduser().resolve())

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the trial store."""
        return f"sqlite:///{self.folder / 'trials.db'}"

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

    def trial(self, study: str, number: int) -> Path:
        """Folder of what one trial kept."""
        return self.study(study) / "trials" / f"{number:05d}"
