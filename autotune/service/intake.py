"""What a study from outside may state, which is less than a study file may; and the study as it is run.

The operator decides where trials run and where they are recorded. A study names one of the objectives that are allowed,
and reads below the folders that are declared, after all links are resolved. The text that is run states absolute paths.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from autotune.errors import InputError, Problem
from autotune.objective import NarrowsForService
from autotune.service.job_files import STUDY
from autotune.service.settings import ServiceSettings
from autotune.study import StudyFile
from autotune.study.file import parse_study

FILE = STUDY
"""Name of a study's file in its folder, and in messages."""
_OPERATORS = ("execution", "tracking")
"""Blocks of a study file that are not the user's."""
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Accepted:
    """A study that may be run.

    Attributes:
        name: its name, as its user stated it.
        study: its name in the trial store, where names are unique.
        text: the study file that is run.
        data: the measurement, for people; empty where no file is named.
        simulates: whether its measurement is to be made first.
    """

    name: str
    study: str
    text: str
    data: str
    simulates: bool


def accept(
    text: str,
    identifier: str,
    settings: ServiceSettings,
    study_of: Callable[[str], str | None] = lambda name: None,
) -> Accepted:
    """Check a study from outside.

    Args:
        text: YAML or JSON.
        identifier: the one that it has in the queue.
        settings: of the service.
        study_of: from an identifier in the queue to that study's name in the trial store; None where there is none.

    Raises:
        InputError: with every mistake in the file, or with all that it must not state. Nothing that a file holds, and
            no path that it did not state, is in the message.
    """
    file = parse_study(text, Path(FILE))
    folder = settings.job(identifier)
    problems, overrides = list(_not_allowed(file, settings)), list(settings.overrides)
    for dotted, path, within in _paths(file.settings, "objective"):
        placed = _placed(file, dotted, path, folder, settings)
        if placed is None:
            what = f"'{path}' is not below the folders that studies here may read"
            problems.append(file.problem(dotted, what, "name a measurement there, relative to the first of them"))
        elif placed != path:
            overrides.append(f"{dotted}={_quoted(f'{placed}{within}')}")
    sources = [study_of(name) for name in file.spec.search.warm_start]
    for name, source in zip(file.spec.search.warm_start, sources, strict=True):
        if source is None:
            problems.append(file.problem("search.warm_start", f"there is no study {name!r} here", "give its id"))
    if problems:
        raise InputError(problems)
    if sources:
        overrides.append(f"search.warm_start=[{', '.join(map(str, sources))}]")
    study = f"{file.spec.name[:_LONGEST_NAME]}-{identifier}"
    ready = parse_study(text, Path(FILE), [*overrides, f"name={study}"])
    paths = _paths(file.settings, "objective")
    named = next((str(path) for dotted, path, _ in paths if dotted.endswith("data.file")), "")
    return Accepted(file.spec.name, study, ready.text, named, _simulates(file))


def _not_allowed(file: StudyFile, settings: ServiceSettings) -> Iterator[Problem]:
    """What the study states and must not."""
    name = file.spec.objective.name
    if name not in settings.objectives:
        yield file.problem("objective.name", f"'{name}' is not run here", f"one of: {', '.join(settings.objectives)}")
    for block in _OPERATORS:
        if block in file.spec.model_fields_set:
            yield file.problem(block, "is decided by the operator of this service", "leave it out")
    if file.spec.budget.trials > settings.limits.trials:
        what = f"{file.spec.budget.trials} trials are more than are allowed here"
        yield file.problem("budget.trials", what, f"at most {settings.limits.trials}")
    if isinstance(file.objective_type, NarrowsForService):
        for problem in file.objective_type.not_from_outside(file.settings, settings.backends):
            yield file.problem(problem.where, problem.what, problem.remedy)


def _paths(value: Any, dotted: str) -> Iterator[tuple[str, Path, str]]:
    """Every path in the settings of an objective: its place, the path, and what is named inside that file."""
    if isinstance(value, Path):
        yield dotted, value, ""
    elif isinstance(value, BaseModel):
        for name, entry in value:
            field = type(value).model_fields[name]
            place = f"{dotted}.{field.alias or name}"
            more = field.json_schema_extra
            if isinstance(entry, str) and isinstance(more, dict) and more.get("format") == "path":
                path, separator, within = entry.partition("::")
                yield place, Path(path), separator + within
            else:
                yield from _paths(entry, place)
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _paths(entry, f"{dotted}.{key}")
    elif isinstance(value, list | tuple | set | frozenset):
        for number, entry in enumerate(value):
            yield from _paths(entry, f"{dotted}.{number}")


def _placed(file: StudyFile, dotted: str, path: Path, folder: Path, settings: ServiceSettings) -> Path | None:
    """The absolute path that a stated one means; None where it is not below the declared folders."""
    if dotted == "objective.data.file" and _simulates(file):
        return folder / path.name if path.name not in ("", "..") else None  # it is made in the study's own folder
    if not settings.roots or "\0" in str(path):
        return None
    try:
        resolved = (settings.roots[0] / path).resolve()
        return resolved if any(resolved.is_relative_to(root.resolve()) for root in settings.roots) else None
    except (OSError, RuntimeError, ValueError):  # a loop of links, or a name that is too long
        return None


def _simulates(file: StudyFile) -> bool:
    return getattr(file.settings, "simulate", None) is not None


def _quoted(text: str) -> str:
    """A text as YAML, whatever characters it holds."""
    return json.dumps(text, ensure_ascii=False)
