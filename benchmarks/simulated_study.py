"""Run a study of a simulated measurement from a document, as `autotune simulate` and `autotune run` do."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from autotune.home import Home
from autotune.objective import Simulates
from autotune.runs.run import Outcome, run_study
from autotune.session import Quiet
from autotune.study import StudyFile, load_study


@contextmanager
def run_simulated(document: Mapping[str, Any]) -> Iterator[tuple[StudyFile, Outcome]]:
    """Simulate the measurement of a study and tune it; the study's folder is there until the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        file = load_study(path)
        if not isinstance(file.objective_type, Simulates):
            raise TypeError("the objective of this study does not simulate")
        file.objective_type.simulate(file.settings, folder=file.folder, output=None)
        yield file, run_study(file, home=Home(Path(folder) / "home"), watcher=Quiet())
