"""The tags of a study's record in MLflow: what each is called, and what the tags of the study's run say.

A new tag is a constant here, with what it means. One that says where a study's numbers come from is a line in
:func:`tags_of` too; the tags of a trial's run are written in :mod:`autotune.tracking.trial_runs`, those of a registered
answer in :mod:`autotune.tracking.registry`. Names that begin with ``mlflow.`` are MLflow's own: its UI fills columns
and views from them.
"""

from __future__ import annotations

import getpass
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from autotune.provenance.environment import commit_of, environment, threads_of
from autotune.session import RunningStudy
from autotune.study import StudyFile
from autotune.tracking.limits import key

# Of the study's run, and of a registered answer.
STUDY_ID = "autotune.study_id"
"""Name of the study that no other study has. The study's run is found by it."""
OBJECTIVE = "autotune.objective"
"""Name of the objective in the study file."""
CONTENT_HASH = "autotune.content_hash"
"""Hash of the measurement; ``unknown`` on a registered answer where the objective gives none."""

# Of the study's run.
BACKEND = "autotune.backend"
"""Name of the backend from the objective's summary, otherwise the objective's name."""
SAMPLER = "autotune.sampler"
"""Name of the sampler that proposes the trials."""
SEED = "autotune.seed"
"""Seed of the search."""
EXECUTOR = "autotune.executor"
"""Name of the executor: inline, process or dask."""
STUDY_HASH = "autotune.study_hash"
"""SHA-256 of all in the study file that decides its trials (:func:`study_hash`)."""
SOFTWARE = "autotune.software"
"""Versions of Python and of the packages in :data:`_NAMED`."""
CPU = "autotune.cpu"
"""The processor's model."""
CORES = "autotune.cores"
"""How many cores the run may use."""
GPU = "autotune.gpu"
"""The accelerator's model; ``none`` without one."""
PLATFORM = "autotune.platform"
"""The operating system."""

# Of a trial's run.
TRIAL = "autotune.trial"
"""The trial's number."""
STATE = "autotune.state"
"""How the trial ended: finished, failed, pruned or interrupted."""
REASON = "autotune.reason"
"""Why it failed; absent where it did not."""
LEVEL = "autotune.level"
"""Level of a cheap evaluation, from 1; absent for a full one."""
NOT_COPIED = "autotune.not_copied"
"""Files too large for MLflow, which stay in the trial's folder."""
FILES_MISSING = "autotune.files_missing"
"""``true`` while the trial's files are on another machine; ``autotune sync`` adds them there."""

# Of a registered answer: a version in MLflow's model registry.
STUDY = "autotune.study"
"""Name of the study whose answer it is."""
END = "autotune.end"
"""Name of the end of the study, by which the same end is registered once."""
METRIC = "autotune.metric"
"""Name of the tuned metric."""
METRIC_VALUE = "autotune.metric_value"
"""Value of the tuned metric in the best trial."""
VALUE, ESTIMATE, INTERVAL, VERDICT = "value", "estimate", "interval", "verdict"
"""Kinds of :func:`of_parameter`: value in the best trial, the surrogate's estimate, its interval ``[low, high]`` (each
in JSON), and the verdict in words."""

# Of all of these.
UNIT = "unit"
"""Kind of :func:`of_parameter`: the parameter's unit."""

PARENT = "mlflow.parentRunId"
"""Run id of the study's run, on a trial's run: MLflow shows the trial nested below it."""
LOGGED_TABLES = "mlflow.loggedArtifacts"
"""The artifacts that MLflow's UI shows as tables, in JSON."""

_NAMED = ("autotune", "mlflow", "numpy", "optuna", "torch")
"""Packages in :data:`SOFTWARE`; environment.json has all."""


def of_parameter(kind: str, parameter: str) -> str:
    """Name of a tag about one parameter: ``KIND.PARAMETER``."""
    return f"{kind}.{parameter}"


def units_of(units: Mapping[str, str]) -> dict[str, str]:
    """A tag with the unit of each parameter, so that a run in MLflow shows what its numbers mean.

    Args:
        units: parameter name -> unit.
    """
    return {key(of_parameter(UNIT, name)): unit for name, unit in units.items()}


def of_summary(line: str) -> str:
    """Name of the tag for one line of an objective's summary, such as ``autotune.content_hash``."""
    return f"autotune.{line.replace(' ', '_')}"


def tags_of(study: RunningStudy) -> dict[str, str]:
    """Tags of the study's run: the objective's summary, the search, the study file, software, machine and user."""
    spec, content_hash = study.file.spec, study.store.facts.content_hash
    ran_in = environment(spec.objective.name, threads_of(spec.execution))
    tags = {
        BACKEND: spec.objective.name,  # unless the summary has one
        **{of_summary(line): value for line, value in study.summary.items()},
        **({CONTENT_HASH: content_hash} if (content_hash := study.store.facts.content_hash) else {}),
        **({} if content_hash is None else {CONTENT_HASH: content_hash}),
        OBJECTIVE: spec.objective.name,
        SAMPLER: spec.search.sampler,
        SEED: str(spec.search.seed),
        EXECUTOR: spec.execution.executor,
        STUDY_HASH: study_hash(study.file),
        SOFTWARE: _software(ran_in),
        CPU: ran_in["cpu"],
        CORES: str(ran_in["cores"]),
        GPU: ran_in["accelerator"] or "none",
        PLATFORM: ran_in["platform"],
        "mlflow.source.name": study.file.path.name,
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
    }
    commit = commit_of(study.file.path.absolute().parent)
    return tags if commit is None else tags | {"mlflow.source.git.commit": commit}


def study_hash(file: StudyFile) -> str:
    """SHA-256 of all in a study file that decides its trials; a larger budget or another machine does not change it."""
    return hashlib.sha256(json.dumps(file.identity(), sort_keys=True).encode()).hexdigest()


def _software(ran_in: Mapping[str, Any]) -> str:
    packages = ran_in["packages"]
    named = [f"{name} {packages[name]}" for name in _NAMED if name in packages]
    if ran_in["commit"] is not None:
        named[0] += f" at {ran_in['commit']}"
    return ", ".join([f"Python {ran_in['python']}", *named])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user number without a name, as in containers
        return "unknown"
