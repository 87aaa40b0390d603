"""Where a study's numbers come from, as tags and as data of its record: objective, data, code, software and machine."""

from __future__ import annotations

import getpass
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from autotune.provenance.environment import commit_of, environment, threads_of
from autotune.session import RunningStudy
from autotune.study import StudyFile
from autotune.tracking import MeasuredData

_HASH, _SOURCE, _BACKEND = "content hash", "measurement", "backend"  # of an objective's summary
_NAMED = ("autotune", "mlflow", "numpy", "optuna", "torch")
"""Packages in the tag; environment.json has all."""


def tags_of(study: RunningStudy) -> dict[str, str]:
    """Tags of the study's run: what the objective says of itself, who searched how, with what, and where.

    The keys that begin with ``mlflow.`` are those from which MLflow's UI fills its own columns.
    """
    spec = study.file.spec
    found = environment(spec.objective.name, threads_of(spec.execution))
    tags = {
        f"autotune.{_BACKEND}": spec.objective.name,  # unless the objective says it better
        **{f"autotune.{key.replace(' ', '_')}": value for key, value in study.summary.items()},
        "autotune.objective": spec.objective.name,
        "autotune.sampler": spec.search.sampler,
        "autotune.seed": str(spec.search.seed),
        "autotune.executor": spec.execution.executor,
        "autotune.study_hash": study_hash(study.file),
        "autotune.software": _software(found),
        "autotune.cpu": found["cpu"],
        "autotune.cores": str(found["cores"]),
        "autotune.gpu": found["accelerator"] or "none",
        "autotune.platform": found["platform"],
        "mlflow.source.name": study.file.path.name,
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
    }
    commit = commit_of(study.file.path.absolute().parent)
    return tags if commit is None else tags | {"mlflow.source.git.commit": commit}


def study_hash(file: StudyFile) -> str:
    """SHA-256 of all in a study file that decides its trials; a larger budget or another machine does not change it."""
    return hashlib.sha256(json.dumps(file.identity(), sort_keys=True).encode()).hexdigest()


def measured_data(study: RunningStudy) -> MeasuredData | None:
    """The measurement; None where the objective does not say what it holds."""
    found = study.summary.get(_HASH)
    if not found:
        return None
    rest = {key: value for key, value in study.summary.items() if key not in (_HASH, _SOURCE, _BACKEND)}
    return MeasuredData(study.summary.get(_SOURCE) or study.name, found, rest)


def _software(found: Mapping[str, Any]) -> str:
    packages = found["packages"]
    named = [f"{name} {packages[name]}" for name in _NAMED if name in packages]
    if found["commit"] is not None:
        named[0] += f" at {found['commit']}"
    return ", ".join([f"Python {found['python']}", *named])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user number without a name, as in containers
        return "unknown"
