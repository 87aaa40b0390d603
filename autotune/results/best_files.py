"""best.yaml, best.h5, best/: a study file of the answer, the best trial's reconstruction, and its other files."""

from __future__ import annotations

import io
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from autotune.files import whole, write_whole
from autotune.home import FILES, Home
from autotune.results.document import ParameterResult, StudyResult
from autotune.study import HeldSpec, ParameterSpec, StudyFile
from autotune.text import shown_unit

STUDY, RECONSTRUCTION, OTHERS = "best.yaml", "best.h5", "best"
_SUFFIX = "-best"
_LONGEST_NAME = 100
_COMMENT_COLUMN = 40


def keep_best(file: StudyFile, result: StudyResult, home: Home) -> None:
    """Write best.yaml, best.h5 and best/ into the study's folder; nothing where there is no best trial.

    Args:
        file: the study.
        result: its result.
        home: where the study is kept.
    """
    folder = home.study(file.spec.name)
    if result.best_trial is None:
        return
    write_best(folder / STUDY, file, result)
    arrays = home.trial(file.spec.name, result.best_trial) / "reconstruction.h5"
    if not arrays.is_file():
        (folder / RECONSTRUCTION).unlink(missing_ok=True)  # that of an earlier best trial
    else:
        # A copy: a program that opens it may write to it, and the trial's own file must stay as it was.
        with whole(folder / RECONSTRUCTION) as temporary:
            shutil.copyfile(arrays, temporary)
    _copy_others(arrays.parent / FILES, folder / OTHERS)


def _copy_others(of_trial: Path, here: Path) -> None:
    """Replace the files of an earlier best trial by those of the best one, where there are any."""
    unfinished = here.with_name(f".{here.name}.{uuid.uuid4().hex}.tmp")
    if of_trial.is_dir():
        shutil.copytree(of_trial, unfinished)
    shutil.rmtree(here, ignore_errors=True)
    if unfinished.exists():
        unfinished.rename(here)


def write_best(path: Path, file: StudyFile, result: StudyResult) -> None:
    """Write :func:`best_text` to a file, which appears whole or not at all."""
    write_whole(path, best_text(file, result))


def best_text(file: StudyFile, result: StudyResult) -> str:
    """The text of a study file of one evaluation: every tuned parameter is held at its value in the best trial.

    The metric in ``result`` belongs to these values; a comment beside each holds the surrogate's estimate and the
    interval. Paths are made absolute, so that the file may lie anywhere. The search's settings are left out.

    Args:
        file: the study, which has a best trial.
        result: its result.
    """
    yaml = YAML(typ="rt", pure=True)
    yaml.width = 4096
    yaml.preserve_quotes = True
    written = yaml.load(file.text)
    paths = _make_absolute(written["objective"], file)
    fixed = CommentedMap(
        name=f"{file.spec.name[: _LONGEST_NAME - len(_SUFFIX)]}{_SUFFIX}",
        description=f"The answer of study {file.spec.name}: one evaluation, with nothing tuned.",
        objective=written["objective"],
        parameters=_parameters(file, result),
        metric={"name": result.metric.name},
        search={"sampler": "random", "seed": file.spec.search.seed},
        budget={"trials": 1},
    )
    if file.spec.metric is not None and file.spec.metric.limits:
        fixed["metric"]["limits"] = written["metric"]["limits"]
    for name in ("execution", "tracking"):
        if name in written:
            fixed[name] = written[name]
    fixed.yaml_set_start_comment(_heading(file, result, paths))
    stream = io.StringIO()
    yaml.dump(fixed, stream)
    return stream.getvalue()


def _heading(file: StudyFile, result: StudyResult, paths: list[str]) -> str:
    metric, fraction = result.metric, result.metric.fraction_of_ceiling
    share = "" if fraction is None else f", {100 * fraction:.2f} % of the noise ceiling"
    where = " and ".join(paths) if paths else "the keys of objective"
    return (
        f"Trial {result.best_trial} of study {file.spec.name}: {metric.name} {metric.best:.6g}{share}.\n"
        f"For the next measurement change {where}, and the name; then: autotune run THIS_FILE"
    )


def _parameters(file: StudyFile, result: StudyResult) -> CommentedMap:
    """The study's parameters with their values, less those that the best trial did not use."""
    values = CommentedMap()
    for name, entry in file.spec.parameters.items():
        if not isinstance(entry, ParameterSpec):
            values[name] = entry.model_dump() if isinstance(entry, HeldSpec) else entry
            continue
        parameter = result.parameters[name]
        if parameter.best is not None:
            values[name] = parameter.best
            values.yaml_add_eol_comment(_comment(parameter), name, column=_COMMENT_COLUMN)
    return values


def _comment(parameter: ParameterResult) -> str:
    """Unit, estimate, interval and verdict of a parameter."""
    parts = [unit] if (unit := shown_unit(parameter.unit)) else []
    if parameter.estimate is not None and parameter.estimate != parameter.best:
        parts.append(f"estimate {_number(parameter.estimate)}")
    if parameter.interval is not None:
        low, high = parameter.interval
        level = "" if parameter.level is None else f"{100 * parameter.level:g} % "
        parts.append(f"{level}interval {_number(low)} .. {_number(high)}")
    if parameter.verdict is not None:
        parts.append(parameter.verdict.replace("_", " "))
    return ", ".join(parts) or "tuned"


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _make_absolute(block: Any, file: StudyFile) -> list[str]:
    """Make the relative paths in the objective's block absolute; returns the dotted places of all paths.

    A text is a path where the objective's settings have one, and where it names a file that exists.
    """
    stated = set(_path_places(file.settings))
    places = []
    for holder, key, place in list(_texts(block, ())):
        text = holder[key]
        bare, separator, inner = text.partition("::")  # a data set in a file
        path = file.folder / Path(bare).expanduser()
        if place == ("name",) or not (place in stated or ("." in bare and path.is_file())):
            continue
        places.append(".".join(("objective", *map(str, place))))
        if not Path(bare).expanduser().is_absolute():
            holder[key] = f"{path.resolve()}{separator}{inner}"
    return places


def _path_places(model: BaseModel, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The places of the paths in an objective's settings."""
    for name in model.model_fields_set:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _path_places(value, (*place, name))
        elif isinstance(value, Path):
            yield (*place, name)


def _texts(node: Any, place: tuple[str | int, ...]) -> Iterator[tuple[Any, Any, tuple[str | int, ...]]]:
    """Every text below a node: the map or list that holds it, its key there, and its place."""
    entries = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in entries:
        if isinstance(value, str):
            yield node, key, (*place, key)
        elif isinstance(value, (dict, list)):
            yield from _texts(value, (*place, key))
