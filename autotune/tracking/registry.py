"""A study's answer under a name in MLflow's model registry, and back: what is the calibration of microscope X now?

A registered model is the name, a version is the answer of one study's end, and an alias (``champion``) says which
version counts. A version has no model that MLflow could load: its source is the folder ``calibration`` of the study's
run (result.json, best.yaml, environment.json), and its tags (:mod:`autotune.tracking.tags`) say all that a pipeline
needs: which study's answer it is, how good it is, and of each parameter value, unit, estimate, interval and verdict.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autotune.errors import AutotuneError, InputError, Problem
from autotune.files import write_json
from autotune.home import Home
from autotune.objective import Value
from autotune.provenance.environment import FILE
from autotune.results.best_files import STUDY, write_best
from autotune.results.build import build_result
from autotune.results.document import StudyResult
from autotune.store.leases import alive
from autotune.store.trials import TrialStore
from autotune.study.kept_file import kept_file
from autotune.text import without_password
from autotune.tracking import tags
from autotune.tracking.client import one_line, open_client, prepare_environment, quiet_thread, record_file
from autotune.tracking.place import default_address, record_address

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
_FOLDER = "calibration"
_ALIAS = re.compile(r"(?!(?:latest|v\d+)$)[A-Za-z0-9_-]{1,255}", re.IGNORECASE)


@dataclass(frozen=True)
class CalibratedParameter:
    """One parameter of a calibration.

    Attributes:
        value: its value in the best trial, in ``unit``: the one that the calibration's metric belongs to.
        unit: its unit; ``1`` for a number without one.
        estimate: where the surrogate has its maximum, in ``unit``; None where that is not known.
        interval: 90 % interval around the estimate, in ``unit``; None where it is not known.
        verdict: whether the data determine it; None where that is not known.
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
        name, version: its name and version in the registry.
        study, run_id: the study whose answer it is, and that study's run.
        metric, metric_value: the tuned metric, and its best value.
        parameters: the parameters by name.
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
    """Register a finished study's answer, and return its version and whether that is new.

    The same end of a study is registered once; doing so again only moves the alias to its version.

    Args:
        store: the study.
        home: where it is kept.
        name: name of the registered model, made where there is none.
        alias: the alias that is to name this version from now on.

    Raises:
        InputError: the study has not finished or is not in MLflow, or MLflow refuses the name or the alias.
        AutotuneError: MLflow does not answer.
    """
    if not _ALIAS.fullmatch(alias):
        remedy = "use letters, digits, '_' and '-'; latest, and versions such as v1, are MLflow's own"
        raise InputError(Problem(f"--alias {alias}", "is no alias that MLflow takes", remedy))
    result = build_result(store, home, live=bool(alive(store)))
    study, (uri, run_id) = result.study, _record_of(store, result)
    texts = _tags(store, result)
    with _talking(f"study {study}", uri) as client:
        _require_run(client, study, run_id)
        is_new_name = _aliases(client, name) is None
        versions = () if is_new_name else _versions(client, name)
        version = next((each for each in versions if each.tags.get(tags.END) == texts[tags.END]), None)
        is_new = version is None
        if version is None:
            _log_files(client, store, home, result, run_id)
            if is_new_name:
                client.create_registered_model(name, description="Calibrations found by autotune.")
            description = f"Answer of study {study}: {result.metric.name} {result.metric.best:.6g}"
            version = client.create_model_version(
                name, f"runs:/{run_id}/{_FOLDER}", run_id, texts, description=description, await_creation_for=0
            )
        client.set_registered_model_alias(name, alias, str(version.version))
        return int(version.version), is_new


def calibration(name: str, alias: str = CHAMPION, tracking_uri: str | None = None) -> Calibration:
    """The calibration that is registered under a name.

    Args:
        name: name of the registered model.
        alias: alias of the version to read.
        tracking_uri: address of MLflow; None for ``MLFLOW_TRACKING_URI``, or the database in autotune's home.

    Raises:
        InputError: there is no such name, alias or database, or the version was not registered by autotune.
        AutotuneError: MLflow does not answer.
    """
    uri = tracking_uri or default_address(Home.from_environment())
    with _talking(f"calibration {name}", uri) as client:
        aliases = _aliases(client, name)
        if aliases is None:
            raise InputError(Problem(f"calibration {name}", "is not registered", _names(client)))
        if alias not in aliases:
            have = f"it has {', '.join(sorted(aliases))}" if aliases else "it has none"
            raise InputError(Problem(f"calibration {name}", f"has no alias '{alias}'", have))
        return _calibration(client.get_model_version_by_alias(name, alias))


def _record_of(store: TrialStore, result: StudyResult) -> tuple[str, str]:
    """Tracking URI and parent run of a study whose answer may be registered."""
    where = f"study {result.study}"
    if result.status != "finished" or result.best_trial is None:
        what = f"has no answer yet: it is {result.status}"
        raise InputError(Problem(where, f"{what} ({result.reason})" if result.reason else what, "run it to its end"))
    if not result.parameters:
        raise InputError(Problem(where, "tunes no parameter, so it found none", "register the study that did"))
    if result.mlflow.run_id is None:
        tracked = store.facts.record is not None
        remedy = (
            "bring MLflow up to date with `autotune sync STUDY`" if tracked else "run it with tracking.enabled: true"
        )
        raise InputError(Problem(where, "is not recorded in MLflow", remedy))
    return record_address(store), result.mlflow.run_id


def _tags(store: TrialStore, result: StudyResult) -> dict[str, str]:
    facts = store.facts
    texts = {
        tags.STUDY: result.study,
        tags.STUDY_ID: facts.study_id,
        tags.END: f"{facts.study_id}:{result.trials.total}:{result.best_trial}",
        tags.OBJECTIVE: facts.objective,
        tags.CONTENT_HASH: facts.content_hash or "unknown",
        tags.METRIC: result.metric.name,
        tags.METRIC_VALUE: repr(result.metric.best),
    }
    for name, parameter in result.parameters.items():
        if parameter.best is None:
            continue
        texts[tags.of_parameter(tags.VALUE, name)] = json.dumps(parameter.best)
        texts[tags.of_parameter(tags.UNIT, name)] = parameter.unit
        for kind, number in ((tags.ESTIMATE, parameter.estimate), (tags.INTERVAL, parameter.interval)):
            if number is not None:
                texts[tags.of_parameter(kind, name)] = json.dumps(number)
        if parameter.verdict is not None:
            texts[tags.of_parameter(tags.VERDICT, name)] = parameter.verdict
    return texts


def _calibration(version: ModelVersion) -> Calibration:
    """The calibration that a version's tags describe."""
    texts: Mapping[str, str] = version.tags
    if tags.END not in texts:
        what = f"version {version.version} was not registered by autotune"
        raise InputError(Problem(f"calibration {version.name}", what, "register a study under a name of its own"))
    prefix = tags.of_parameter(tags.VALUE, "")
    names = sorted(tag.removeprefix(prefix) for tag in texts if tag.startswith(prefix))
    return Calibration(
        name=str(version.name),
        version=int(version.version),
        study=texts[tags.STUDY],
        run_id=str(version.run_id),
        metric=texts[tags.METRIC],
        metric_value=float(texts[tags.METRIC_VALUE]),
        parameters={name: _parameter(texts, name) for name in names},
        source=str(version.source),
    )


def _parameter(texts: Mapping[str, str], name: str) -> CalibratedParameter:
    interval = json.loads(texts.get(tags.of_parameter(tags.INTERVAL, name), "null"))
    return CalibratedParameter(
        json.loads(texts[tags.of_parameter(tags.VALUE, name)]),
        texts[tags.of_parameter(tags.UNIT, name)],
        json.loads(texts.get(tags.of_parameter(tags.ESTIMATE, name), "null")),
        None if interval is None else (float(interval[0]), float(interval[1])),
        texts.get(tags.of_parameter(tags.VERDICT, name)),
    )


def _log_files(client: MlflowClient, store: TrialStore, home: Home, result: StudyResult, run_id: str) -> None:
    """Log the answer's files with the study's run."""
    folder = home.study(result.study)
    write_json(folder / "result.json", result.as_dict())
    if not (folder / STUDY).is_file():  # of a version that did not write one
        write_best(folder / STUDY, kept_file(store, home), result)
    for name in ("result.json", STUDY, FILE):
        if (folder / name).is_file():
            client.log_artifact(run_id, str(folder / name), _FOLDER)


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


def _aliases(client: MlflowClient, name: str) -> Mapping[str, str] | None:
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
    """The registered names, as the remedy of a message."""
    names = sorted(model.name for model in client.search_registered_models(max_results=100))
    return f"registered: {', '.join(names)}" if names else "nothing is; register a study with `autotune register`"


@contextmanager
def _talking(where: str, uri: str) -> Iterator[MlflowClient]:
    """A client of MLflow; an error that MLflow raises meanwhile becomes a message for the user."""
    database = record_file(uri)
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
