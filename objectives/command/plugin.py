"""The objective type that the entry point ``command`` names."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydantic import BaseModel

from autotune.objective import InputError, Objective, Parameter, Problem, Value, View, near_miss
from objectives.command.objective import CommandObjective, Templates
from objectives.command.placeholders import filled, names_in
from objectives.command.settings import JUDGED, CommandSettings, ParameterSettings
from objectives.ptychography.plugin import ptychography

_OWN = ("folder", "python", "seed", "study")
"""Placeholders that every program may use: working folder, the Python of autotune, the evaluation's seed, the study's
folder."""
_LARGEST_TEMPLATE = 2**20
_WHOLE = 256 * 2**20
"""Size in bytes up to which all of an input is hashed; of a larger one, 64 blocks of each file, spread over it."""
_BLOCK = 2**18
_PASSING = {".git", "__pycache__", ".ipynb_checkpoints"}
"""Folders that change when what they belong to is used."""


class Command:
    """Objective type of any program; see :class:`autotune.objective.ObjectiveType`."""

    settings: type[BaseModel] = CommandSettings

    def not_from_outside(self, settings: BaseModel, backends: Collection[str]) -> Sequence[Problem]:
        """See :class:`autotune.objective.NarrowsForService`: whoever states the program may run anything."""
        return [Problem("objective.name", "'command' runs programs that a study names", "run it by autotune run")]

    def open(self, settings: BaseModel, *, folder: Path) -> Objective:
        """Find the program, and read the templates and what identifies the inputs."""
        settings = CommandSettings.model_validate(settings)
        folder = folder.resolve()
        problems: list[Problem] = []
        parameters = [p for name, s in settings.parameters.items() if (p := _parameter(name, s, problems)) is not None]
        inputs = {name: folder / path.expanduser() for name, path in settings.inputs.items()}
        problems += [
            Problem(f"objective.inputs.{name}", f"{path} is no file and no folder", "give one that exists")
            for name, path in inputs.items()
            if not path.is_file() and not path.is_dir()
        ]
        problems += [
            Problem(f"objective.inputs.{name}", f"{path} cannot be read", "see its rights")
            for name, path in inputs.items()
            if path.exists() and not os.access(path, os.R_OK)
        ]
        files = {name: _template(name, folder / path.expanduser(), problems) for name, path in settings.files.items()}
        fixed = {"study": str(folder), "python": sys.executable, **{name: str(path) for name, path in inputs.items()}}
        run = (_program(_with_fixed(settings.run[0], fixed), folder, problems), *settings.run[1:])
        templates = Templates(run, files, settings.environment, fixed)
        problems += _of_placeholders(settings, templates, folder)
        problems += [*_of_names(settings), *_of_metrics(settings, parameters), *_beside(settings, folder)]
        work = None if settings.work is None else folder / settings.work.expanduser()
        problems += _of_work(work, inputs)
        if problems:
            raise InputError(problems)
        where = settings.reconstruction
        if where is None:
            identify = partial(_hash, settings, templates, inputs)
            return CommandObjective(settings, templates, parameters, identify, work)
        from objectives.command.judged import JudgedObjective  # imports torch
        from objectives.diffraction.data.open.reading import open_measurement

        measurement = open_measurement(where.data, where.geometry, folder=folder)

        def identify_both() -> str:
            return _hash(settings, templates, inputs, measurement.content_hash)

        return JudgedObjective(measurement, where, settings, templates, parameters, identify_both, work)

    def views(
        self, arrays: Mapping[str, np.ndarray[Any, Any]], attributes: Mapping[str, float | int | str]
    ) -> Sequence[View]:
        """Phase and amplitude of the object; see :class:`autotune.objective.ShowsReconstructions`."""
        return ptychography.views(arrays, attributes)

    def fits(
        self, arrays: Mapping[str, np.ndarray[Any, Any]], attributes: Mapping[str, float | int | str]
    ) -> Sequence[View]:
        """One pattern measured and modelled, and the probe; see :class:`autotune.objective.ShowsFits`."""
        return ptychography.fits(arrays, attributes)


def _parameter(name: str, settings: ParameterSettings, problems: list[Problem]) -> Parameter | None:
    """The parameter; None, and a problem, where what is stated of it does not fit together."""
    stated = settings.model_dump(exclude={"default"})
    default: Value | None = settings.default
    if settings.type == "int" and isinstance(default, float) and default == int(default):
        default = int(default)
    fits = isinstance(default, str) if settings.type == "categorical" else not isinstance(default, str)
    if default is not None and not fits:
        problems.append(Problem(f"objective.parameters.{name}.default", f"{default!r} is not of type {settings.type}"))
        return None
    try:
        _require_sense(settings)
        return Parameter(name=name, default=default, **stated)
    except ValueError as error:
        problems.append(Problem(f"objective.parameters.{name}", str(error)))
        return None


def _require_sense(settings: ParameterSettings) -> None:
    """Raise ValueError where what is stated of a parameter contradicts itself."""
    low, high, default = settings.minimum, settings.maximum, settings.default
    if low is not None and high is not None and not low < high:
        raise ValueError(f"minimum {low:g} is not below maximum {high:g}")
    if isinstance(default, float) and not (low is None or low <= default) & (high is None or default <= high):
        raise ValueError(f"default {default:g} is outside its limits")
    if settings.type == "categorical" and default is not None and default not in settings.choices:
        raise ValueError(f"default '{default}' is not one of its choices: {', '.join(settings.choices)}")


def _with_fixed(text: str, fixed: Mapping[str, str]) -> str:
    """The text with the placeholders filled in that are the same for all evaluations, if it has no others."""
    return filled(text, fixed) if {name for name, _ in names_in(text)} <= fixed.keys() else text


def _template(name: str, path: Path, problems: list[Problem]) -> str:
    """A template's text; empty, and a problem, where it cannot be read."""
    where = f"objective.files.{name}"
    try:
        if path.stat().st_size > _LARGEST_TEMPLATE:
            problems.append(Problem(where, f"{path} has more than {_LARGEST_TEMPLATE} bytes", "give a template"))
            return ""
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        problems.append(Problem(where, f"{path} is not text in UTF-8", "give a template"))
    except OSError as error:
        problems.append(Problem(where, f"{path} cannot be read: {error.strerror}", "give a template that can"))
    return ""


def _program(name: str, folder: Path, problems: list[Problem]) -> str:
    """Path of the program: from the study's folder where it has a slash, else one on the PATH."""
    where = "objective.run"
    if "/" not in name and os.sep not in name:
        found = shutil.which(name)
        if found is None:
            problems.append(Problem(where, f"no program '{name}' is on the PATH", f"install it, or say ./{name}"))
        return found or name
    path = folder / Path(name).expanduser()
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        problems.append(Problem(where, f"{path} {what}", "relative paths start from the study's folder"))
    elif not os.access(path, os.X_OK):
        problems.append(Problem(where, f"{path} is not executable", f"chmod +x {path}, or name its interpreter first"))
    return str(path)


def _of_placeholders(settings: CommandSettings, templates: Templates, folder: Path) -> Iterator[Problem]:
    """Placeholders that nothing fills in, and parameters that nothing uses."""
    known, used = {*_OWN, *settings.inputs, *settings.parameters}, set()
    texts = {
        **{f"objective.run[{i}]": text for i, text in enumerate(templates.run)},
        **{f"objective.environment.{name}": text for name, text in templates.environment.items()},
        **{str(folder / settings.files[name]): text for name, text in templates.files.items()},
    }
    for where, text in texts.items():
        for name, line in names_in(text):
            used.add(name)
            if name not in known:
                place = where if where.startswith("objective.") else f"{where}:{line}"
                yield Problem(place, f"nothing fills in {{{{{name}}}}}", near_miss(name, known))
    if settings.progress is not None and isinstance(settings.progress.of, str):
        used.add(settings.progress.of)
    for name in settings.parameters:
        if name not in used:
            remedy = f"write {{{{{name}}}}} in an argument, a variable of the environment or a template"
            yield Problem(f"objective.parameters.{name}", "the program never gets it", remedy)


def _of_names(settings: CommandSettings) -> Iterator[Problem]:
    """Names that mean two things, and such that mean none."""
    for name in settings.inputs:
        if name in settings.parameters:
            yield Problem(f"objective.inputs.{name}", "is the name of a parameter, too", "give it another one")
    if settings.reconstruction is None and not settings.metrics:
        yield Problem("objective.metrics", "there are none", "state one, or a reconstruction to be judged")
    for name in settings.metrics:
        if settings.reconstruction is not None and name in JUDGED:
            yield Problem(f"objective.metrics.{name}", "is what the reconstruction is judged by", "give another name")
    for key, names in (("parameters", settings.parameters), ("inputs", settings.inputs)):
        for name in set(names) & set(_OWN):
            yield Problem(f"objective.{key}.{name}", "is a placeholder of its own", "give it another name")
    progress = settings.progress
    if progress is not None and isinstance(progress.of, str):
        of = settings.parameters.get(progress.of)
        if of is None or of.type != "int":
            yield Problem("objective.progress.of", f"'{progress.of}' is not an int parameter", "give one, or a number")


def _of_metrics(settings: CommandSettings, parameters: Sequence[Parameter]) -> Iterator[Problem]:
    """What derivatives and progress name that is not there."""
    known = [*settings.metrics, *(JUDGED if settings.reconstruction is not None else ())]
    if settings.gradient is not None:
        of = settings.gradient.of
        if of is not None and of not in known:
            yield Problem("objective.gradient.of", f"'{of}' is no metric", near_miss(of, known))
        if not any(parameter.differentiable for parameter in parameters):
            yield Problem("objective.gradient", "no parameter is differentiable", "state differentiable: true of some")
    if settings.progress is not None:
        groups = set(re.compile(settings.progress.regex).groupindex) - {"iteration", "iterations"}
        for group in sorted(groups - set(known)):
            yield Problem("objective.progress.regex", f"group '{group}' is no metric", near_miss(group, known))


def _beside(settings: CommandSettings, folder: Path) -> Iterator[Problem]:
    """Arguments that name a file beside the study, which a program does not find from its working folder."""
    for i, argument in enumerate(settings.run[1:], start=1):
        lies_there = not Path(argument).is_absolute() and "{{" not in argument and (folder / argument).is_file()
        if lies_there and argument not in settings.files:
            what = f"'{argument}' lies beside the study, and the program runs in a folder of its own"
            yield Problem(f"objective.run[{i}]", what, f"write {{{{study}}}}/{argument}")


def _of_work(work: Path | None, inputs: Mapping[str, Path]) -> Iterator[Problem]:
    if work is not None and work.exists() and not work.is_dir():
        yield Problem("objective.work", f"{work} is no folder", "name one, which need not exist")
    for name, path in inputs.items():
        if work is not None and path.is_dir() and work.resolve().is_relative_to(path.resolve()):
            yield Problem("objective.work", f"{work} lies in the input {name}", "what an input holds may not change")


def _hash(settings: CommandSettings, templates: Templates, inputs: Mapping[str, Path], measured: str = "") -> str:
    """Hash of all that decides an evaluation: settings, templates, the program where it is the user's, inputs, and the
    measurement whose hash is ``measured``.
    """
    found = hashlib.sha256(measured.encode())
    decides = settings.model_dump(mode="json", exclude={"work", "keep", "inputs", "files"})
    for described in (*decides["parameters"].values(), *decides["metrics"].values()):
        del described["description"]
    if decides["reconstruction"] is not None:  # the measurement's own hash is there, wherever it lies
        del decides["reconstruction"]["data"]["file"]
    found.update(json.dumps([decides, dict(templates.files)], sort_keys=True).encode())
    named = [templates.run[0]] if "/" in settings.run[0] else []
    named += [_with_fixed(text, templates.fixed) for text in (*settings.run[1:], *settings.environment.values())]
    others = {*inputs.values(), Path(templates.fixed["python"])}
    own = {path for text in named if (path := Path(text)).is_absolute() and path.is_file()} - others
    try:
        for name, path in [*(("", path) for path in sorted(own)), *sorted(inputs.items())]:
            listed = _listed(path)
            size = sum(file.stat().st_size for file in listed)
            for file in listed:
                found.update(f"\0{name}\0{file.relative_to(path) if path.is_dir() else ''}\0".encode())
                with file.open("rb") as content:
                    for block in _blocks(content, file.stat().st_size, whole=size <= _WHOLE):
                        found.update(block)
    except OSError as error:
        raise InputError(Problem(str(error.filename), f"cannot be read: {error.strerror}", "see its rights")) from None
    return found.hexdigest()


def _listed(path: Path) -> list[Path]:
    """The files that identify an input: of a folder all but what merely using it changes."""
    if not path.is_dir():
        return [path]
    all_below = (p for p in path.rglob("*") if not _PASSING & set(p.relative_to(path).parts) and p.suffix != ".pyc")
    return sorted(p for p in all_below if p.is_file())


def _blocks(content: BinaryIO, size: int, *, whole: bool) -> Iterator[bytes]:
    """What is hashed of a file: its size, and all of it or a part."""
    yield str(size).encode()
    starts = range(0, size, _BLOCK) if whole or size <= 64 * _BLOCK else [(size - _BLOCK) * i // 63 for i in range(64)]
    for start in starts:
        content.seek(start)
        yield content.read(_BLOCK)


command = Command()
