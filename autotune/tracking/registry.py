"""A study's answer under a name in MLflow's model registry, and back: what is the calibration of microscope X now?

A registered model is the name, a version is the answer of one study's end, and an alias (``champion``) says which
version counts. A version has no model that MLflow could load: its source is the folder ``calibration`` of the study's
run (result.json, best.yaml, environment.json), and its tags say all that a pipeline needs:

    autotune.study, autotune.study_id, autotune.end     whose answer; which end of the study it was
    autotune.metric, autotune.metric_value              how good it is
    value.NAME, estimate.NAME, interval.NAME            each parameter in JSON; the interval as [low, high]
    unit.NAME, verdict.NAME                             in words
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.errors import AutotuneError, InputError, Problem
from autotune.files import write_json
from autotune.home import Home
from autotune.objective import Value
from autotune.provenance.environment import FILE
from autotune.results.best_files import STUDY, write_best
from autotune.results.document import build_result
from autotune.store.leases import alive
from autotune.store.sqlite import sqlite_path
from autotune.store.trials import TrialStore
from autotune.study.kept_file import kept_file
from autotune.tracking import one_line, open_client, prepare_environment, quiet_thread, without_password
from autotune.tracking.record import record_address

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
_FOLDER = "calibration"
_END = "autotune.end"
_ALIAS = re.compile(r"(?!(?:latest|v\d+)$)[A-Za-z0-9_-]{1,255}", re.IGNORECASE)


@dataclass(frozen=True)
class CalibratedParameter:
    """One parameter of a calibration.

    Attributes:
        value: of the best trial, in ``unit``: the one that the calibration's metric belongs to.
        unit: ``1`` for a number without one.
        estimate: where the surrogate has its maximum, in ``unit``; None where it is not known.
        interval: of 90 %, around the estimate, in ``unit``; None where it is not known.
        verdict: whether the data fixed it; None where that is not known.
    """

    value: Value
    unit: str
    estimate: Value | None = None
    interval: tuple[float, float] | None = None
    verdict: str | None = None


@dataclass(frozen=True)
class Calibration:
    """A registered answer of a study.

    Attributes:
        name, version: in the registry.
        study, run_id: where it comes from.
        metric, metric_value: what was tuned, and its best value.
        parameters: by name.
        source: where result.json, best.yaml and environment.json are, for ``mlflow.artifacts.download_artifacts``.
    """

    name: str
    version: int
    study: str
    run_id: str
    metric: str
    metric_value: float
    parameters: Mapping[str, CalibratedParameter]
    source: str


def register(store: TrialStore, home: Home, name: str, alias: str = CHAMPION) -> tuple[int, bool]:
    """Register a finished study's answer; its version, and whether that is new.

    The same end of a study is registered once; doing so again only moves the alias to its version.

    Args:
        store: the study.
        home: where it is kept.
        name: of the registered model, made where there is none.
        alias: which is to name this version from now on.

    Raises:
        InputError: the study has not finished or is not in MLflow, or MLflow takes the name or the alias for bad.
        AutotuneError: MLflow does not answer.
    """
    if not _ALIAS.fullmatch(alias):
        remedy = "use letters, digits, '_' and '-'; latest, and versions such as v1, are MLflow's own"
        raise InputError(Problem(f"--alias {alias}", "is no alias that MLflow takes", remedy))
    result = build_result(store, home, live=bool(alive(store)))
    study, uri = result["study"], _uri_of(store, result)
    tags = _tags(store, result)
    with _talking(f"study {study}", uri) as client:
        _require_run(client, study, result["mlflow"]["run_id"])
        known = _model(client, name)
        found = (
            None
            if known is None
            else next((v for v in _versions(client, name) if v.tags.get(_END) == tags[_END]), None)
        )
        if found is None:
            _log_files(client, store, home, result)
            if known is None:
                client.create_registered_model(name, description="Calibrations found by autotune.")
            source = f"runs:/{result['mlflow']['run_id']}/{_FOLDER}"
            description = f"Answer of study {study}: {result['metric']['name']} {result['metric']['best']:.6g}"
            version = client.create_model_version(
                name, source, result["mlflow"]["run_id"], tags, description=description, await_creation_for=0
            )
        client.set_registered_model_alias(name, alias, str((found or version).version))
        return int((found or version).version), found is None


def calibration(name: str, alias: str = CHAMPION, tracking_uri: str | None = None) -> Calibration:
    """The calibration that is registered under a name.

    Args:
        name: of the registered model.
        alias: which of its versions.
        tracking_uri: of MLflow; None for ``MLFLOW_TRACKING_URI``, or the database in autotune's home.

    Raises:
        InputError: there is no such name, alias or database, or what it names was not registered by autotune.
        AutotuneError: MLflow does not answer.
    """
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or Home.from_environment().tracking_uri
    with _talking(f"calibration {name}", uri) as client:
        known = _model(client, name)
        if known is None:
            raise InputError(Problem(f"calibration {name}", "is not registered", _names(client)))
        if alias not in known:
            have = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise InputError(Problem(f"calibration {name}", f"has no alias '{alias}'", have))
        return _calibration(client.get_model_version_by_alias(name, alias))


def _uri_of(store: TrialStore, result: Mapping[str, Any]) -> str:
    """The tracking URI of a study whose answer may be registered."""
    where = f"study {result['study']}"
    if result["status"] != "finished" or result["best_trial"] is None:
        what = f"has no answer yet: it is {result['status']}"
        raise InputError(
            Problem(where, f"{what} ({result['reason']})" if result["reason"] else what, "run it to its end")
        )
    if not result["parameters"]:
        raise InputError(Problem(where, "tunes no parameter, so it found none", "register the study that did"))
    if result["mlflow"]["run_id"] is None:
        tracked = store.facts.record is not None
        remedy = (
            "bring MLflow up to date with `autotune sync STUDY`" if tracked else "run it with tracking.enabled: true"
        )
        raise InputError(Problem(where, "is not recorded in MLflow", remedy))
    return record_address(store)


def _tags(store: TrialStore, result: Mapping[str, Any]) -> dict[str, str]:
    facts = store.facts
    tags = {
        "autotune.study": result["study"],
        "autotune.study_id": facts.study_id,
        _END: f"{facts.study_id}:{sum(result['trials'].values())}:{result['best_trial']}",
        "autotune.objective": facts.objective,
        "autotune.content_hash": facts.content_hash or "unknown",
        "autotune.metric": result["metric"]["name"],
        "autotune.metric_value": repr(result["metric"]["best"]),
    }
    for name, parameter in result["parameters"].items():
        if parameter["best"] is None:
            continue
        tags[f"value.{name}"] = json.dumps(parameter["best"])
        tags[f"unit.{name}"] = parameter["unit"]
        for part in ("estimate", "interval"):
            if parameter[part] is not None:
                tags[f"{part}.{name}"] = json.dumps(parameter[part])
        if parameter["verdict"] is not None:
            tags[f"verdict.{name}"] = parameter["verdict"]
    return tags


def _calibration(version: ModelVersion) -> Calibration:
    """What a version's tags say."""
    tags: Mapping[str, str] = version.tags
    if _END not in tags:
        what = f"version {version.version} was not registered by autotune"
        raise InputError(Problem(f"calibration {version.name}", what, "register a study under a name of its own"))
    parameters = {}
    for tag in tags:
        kind, _, name = tag.partition(".")
        if kind == "value":
            interval = json.loads(tags.get(f"interval.{name}", "null"))
            parameters[name] = CalibratedParameter(
                json.loads(tags[tag]),
                tags[f"unit.{name}"],
                json.loads(tags.get(f"estimate.{name}", "null")),
                None if interval is None else (float(interval[0]), float(interval[1])),
                tags.get(f"verdict.{name}"),
            )
    return Calibration(
        name=str(version.name),
        version=int(version.version),
        study=tags["autotune.study"],
        run_id=str(version.run_id),
        metric=tags["autotune.metric"],
        metric_value=float(tags["autotune.metric_value"]),
        parameters=dict(sorted(parameters.items())),
        source=str(version.source),
    )


def _log_files(client: MlflowClient, store: TrialStore, home: Home, result: Mapping[str, Any]) -> None:
    """Log the answer's files with the study's run."""
    folder = home.study(result["study"])
    write_json(folder / "result.json", result)
    if not (folder / STUDY).is_file():  # of a version that did not write one
        write_best(folder / STUDY, kept_file(store, home), result)
    for path in _existing(folder, ("result.json", STUDY, FILE)):
        client.log_artifact(result["mlflow"]["run_id"], str(path), _FOLDER)


def _existing(folder: Path, names: Sequence[str]) -> list[Path]:
    return [folder / name for name in names if (folder / name).is_file()]


def _require_run(client: MlflowClient, study: str, run_id: str) -> None:
    """See that MLflow has the study's run: the address may be of another MLflow."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        what = f"has no run {run_id} in {without_password(client.tracking_uri)}"
        raise InputError(Problem(f"study {study}", what, "bring it up to date with `autotune sync STUDY`")) from error


def _model(client: MlflowClient, name: str) -> Mapping[str, str] | None:
    """Aliases of a registered model, with their versions; None where there is no such model."""
    from mlflow.exceptions import MlflowException

    try:
        return dict(client.get_registered_model(name).aliases)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _versions(client: MlflowClient, name: str) -> Iterator[ModelVersion]:
    mark = '"' if "'" in name else "'"
    token = None
    while True:
        page = client.search_model_versions(f"name = {mark}{name}{mark}", max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _names(client: MlflowClient) -> str:
    names = sorted(model.name for model in client.search_registered_models(max_results=100))
    return f"registered: {', '.join(names)}" if names else "nothing is; register a study with `autotune register`"


@contextmanager
def _talking(where: str, uri: str) -> Iterator[MlflowClient]:
    """A client of MLflow; what MLflow raises meanwhile becomes a message for the user."""
    database = sqlite_path(uri)
    if database is not None and not database.exists():  # MLflow would make one
        remedy = "run a study, or set MLFLOW_TRACKING_URI to the one that has it"
        raise InputError(Problem(where, f"there is no MLflow database at {database}", remedy))
    prepare_environment()
    from mlflow.exceptions import MlflowException

    with quiet_thread():
        try:
            yield open_client(uri)
        except AutotuneError:
            raise
        except MlflowException as error:
            text = without_password(str(error).splitlines()[0])
            kind = InputError if error.error_code == "INVALID_PARAMETER_VALUE" else AutotuneError
            raise kind(Problem(where, f"MLflow refuses: {text}")) from error
        except Exception as error:
            raise AutotuneError(Problem(where, f"MLflow fails: {one_line(error)}")) from error
