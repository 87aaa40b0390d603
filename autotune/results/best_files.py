"""best.yaml and best.h5: a study's answer as a study file fixed at it, and as the best trial's reconstruction."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from autotune.files import whole, write_whole
from autotune.home import Home
from autotune.study import ParameterSpec, StudyFile
from autotune.text import shown_unit

STUDY, RECONSTRUCTION = "best.yaml", "best.h5"
_SUFFIX = "-best"
_LONGEST_NAME = 100
_COMMENT_COLUMN = 40


def keep_best(file: StudyFile, result: Mapping[str, Any], home: Home) -> None:
    """Write best.yaml and best.h5 into the study's folder; nothing where no trial is the answer.

    Args:
        file: the study.
        result: the content of result.json.
        home: where the study is kept.
    """
    folder = home.study(file.spec.name)
    if result["best_trial"] is None:
        return
    write_best(folder / STUDY, file, result)
    arrays = home.trial(file.spec.name, result["best_trial"]) / "reconstruction.h5"
    if not arrays.is_file():
        (folder / RECONSTRUCTION).unlink(missing_ok=True)  # of an earlier best trial
    else:
        # A copy: who opens it may write to it, and the trial's own must stay as it was.
        with whole(folder / RECONSTRUCTION) as temporary:
            shutil.copyfile(arrays, temporary)


def write_best(path: Path, file: StudyFile, result: Mapping[str, Any]) -> None:
    """Write :func:`best_text`; the file appears whole or not at all."""
    write_whole(path, best_text(file, result))


def best_text(file: StudyFile, result: Mapping[str, Any]) -> str:
    """A study file with every tuned parameter held at its value in the best trial, which is one evaluation.

    These are the values that the metric in ``result`` belongs to; the surrogate's estimate and the interval stand
    behind each. Paths are made absolute, so that the file may lie anywhere. What is searched for, and how, is left out.

    Args:
        file: the study.
        result: the content of its result.json, of a study that has a best trial.
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
        metric={"name": result["metric"]["name"]},
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


def _heading(file: StudyFile, result: Mapping[str, Any], paths: list[str]) -> str:
    metric = result["metric"]
    ceiling = metric["fraction_of_ceiling"]
    share = "" if ceiling is None else f", {100 * ceiling:.2f} % of the noise ceiling"
    where = " and ".join(paths) if paths else "the keys of objective"
    return (
        f"Trial {result['best_trial']} of study {file.spec.name}: {metric['name']} {metric['best']:.6g}{share}.\n"
        f"For the next measurement change {where}, and the name; then: autotune run THIS_FILE"
    )


def _parameters(file: StudyFile, result: Mapping[str, Any]) -> CommentedMap:
    """The study's parameters, all with a value; one that the best trial did not use is left out."""
    values = CommentedMap()
    for name, entry in file.spec.parameters.items():
        if not isinstance(entry, ParameterSpec):
            values[name] = entry
            continue
        found = result["parameters"][name]
        if found["best"] is not None:
            values[name] = found["best"]
            values.yaml_add_eol_comment(_comment(found), name, column=_COMMENT_COLUMN)
    return values


def _comment(found: Mapping[str, Any]) -> str:
    """Unit, estimate, interval and verdict of a parameter."""
    parts = [unit] if (unit := shown_unit(found["unit"])) else []
    if found["estimate"] is not None and found["estimate"] != found["best"]:
        parts.append(f"estimate {_number(found['estimate'])}")
    if found["interval"] is not None:
        low, high = found["interval"]
        parts.append(f"{100 * found['level']:g} % interval {_number(low)} .. {_number(high)}")
    if found["verdict"] is not None:
        parts.append(found["verdict"].replace("_", " "))
    return ", ".join(parts) or "tuned"


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _make_absolute(block: Any, file: StudyFile) -> list[str]:
    """Make the relative paths in the objective's block absolute; the dotted places of all that name a file.

    Where the objective's settings have a path, it is one, and so is a text that names a file which is there.
    """
    stated = set(_path_places(file.settings))
    found = []
    for holder, key, place in list(_texts(block, ())):
        text = holder[key]
        bare, separator, inner = text.partition("::")  # a data set in a file
        path = file.folder / Path(bare).expanduser()
        if place == ("name",) or not (place in stated or ("." in bare and path.is_file())):
            continue
        found.append(".".join(("objective", *map(str, place))))
        if not Path(bare).expanduser().is_absolute():
            holder[key] = f"{path.resolve()}{separator}{inner}"
    return found


def _path_places(model: BaseModel, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Places of the paths in an objective's settings."""
    for name in model.model_fields_set:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _path_places(value, (*place, name))
        elif isinstance(value, Path):
            yield (*place, name)


def _texts(node: Any, place: tuple[str | int, ...]) -> Iterator[tuple[Any, Any, tuple[str | int, ...]]]:
    """All texts below a node: what holds it, its key there, and its place."""
    entries = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in entries:
        if isinstance(value, str):
            yield node, key, (*place, key)
        elif isinstance(value, (dict, list)):
            yield from _texts(value, (*place, key))
