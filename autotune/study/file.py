"""Loading a study file: text -> plain data (+ ``--set``) -> validated spec and objective settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from autotune.errors import InputError, Problem
from autotune.objective import Objective, ObjectiveType, find_objective_type
from autotune.study.blocks.study import StudySpec
from autotune.study.error_messages import coercions, faults_of
from autotune.study.overrides import apply_overrides, parse_overrides, write_overrides
from autotune.study.value_text import kind_of
from autotune.study.yaml_source import Fault, Source, read_yaml

MAX_BYTES = 1_000_000
_NO_IDENTITY: dict[str, bool | set[str]] = {
    **dict.fromkeys(("budget", "execution", "tracking", "report", "description"), True),
    "objective": True,  # added with its defaults
    "metric": {"split"},  # says no more than which metric is tuned, which may be the default anyway
}


@dataclass(frozen=True)
class StudyFile:
    """A loaded study.

    Attributes:
        path: the file, as the user named it.
        text: the text that is run: that of the file, with the ``--set`` overrides written into it.
        spec: the validated content.
        objective_type: the type that ``objective.name`` names.
        settings: the rest of ``objective``, validated by the objective type's own model.
        source: plain data with lines, for messages.
    """

    path: Path
    text: str
    spec: StudySpec
    objective_type: ObjectiveType
    settings: BaseModel
    source: Source = field(repr=False, compare=False)

    @property
    def folder(self) -> Path:
        """The folder that relative paths in the study start from."""
        return self.path.absolute().parent

    def open(self) -> Objective:
        """Read the measurement: the objective bound to it.

        Raises:
            InputError: as :meth:`autotune.objective.ObjectiveType.open`.
        """
        with self.locating():
            return self.objective_type.open(self.settings, folder=self.folder)

    @contextmanager
    def locating(self) -> Iterator[None]:
        """Add file and line to the problems of an :class:`InputError` raised inside whose place is ``objective...``."""
        try:
            yield
        except InputError as error:
            raise InputError([self._located(problem) for problem in error.problems]) from error

    def _located(self, problem: Problem) -> Problem:
        if re.fullmatch(r"objective(\.\w+)*", problem.where):
            return self.problem(problem.where, problem.what, problem.remedy)
        return problem

    def problem(self, dotted: str, what: str, remedy: str = "") -> Problem:
        """A problem at a dotted place, with the file and the line of the deepest key that the file has."""
        return self.source.problem(Fault(tuple(dotted.split(".")), what, remedy))

    def identity(self, *, stated: bool = False) -> dict[str, Any]:
        """Plain data that identifies the study: all that decides its trials.

        Budget, execution, tracking and description are left out: a study resumed with a larger budget, or on another
        machine, is the same study.

        Args:
            stated: leave out what has its default value; otherwise defaults are filled in.
        """
        spec = self.spec.model_dump(mode="json", exclude=_NO_IDENTITY, exclude_none=True, exclude_defaults=stated)
        settings = self.settings.model_dump(mode="json", exclude_defaults=stated)
        return spec | {"objective": {"name": self.spec.objective.name, **settings}}


def load_study(path: Path, overrides: Sequence[str] = ()) -> StudyFile:
    """Read and validate a study file.

    Args:
        path: the YAML file.
        overrides: ``dotted.key=value`` each, the value parsed as YAML; they replace what the file says.

    Raises:
        InputError: with every mistake found in the file, the overrides and the objective's settings.
    """
    return parse_study(_read_text(path), path, overrides)


def parse_study(text: str, path: Path, overrides: Sequence[str] = ()) -> StudyFile:
    """Validate the text of a study file.

    Args:
        text: YAML.
        path: the file that it is the text of: relative paths in it are relative to its folder.
        overrides: as for :func:`load_study`.
    """
    source = read_yaml(text, str(path))
    if not isinstance(source.data, dict):
        what = "is empty" if source.data is None else f"holds {kind_of(source.data)}, not a map of keys"
        raise InputError(Problem(str(path), what, "a study starts with 'name: ...', 'objective:' and 'parameters:'"))
    given = parse_overrides(overrides)
    source, data, faults = apply_overrides(source, source.data, given)

    spec: StudySpec | None = None
    try:
        spec = StudySpec.model_validate(data)
    except ValidationError as error:
        faults += faults_of(error, StudySpec, data)
    objective_type, settings, more = _objective(data.get("objective"))
    # What could not be read was replaced by null or 0: a complaint about that would only be an echo.
    unread = {fault.place for fault in source.faults}
    faults = [*source.faults, *(fault for fault in [*faults, *more] if fault.place not in unread)]
    if spec is None or objective_type is None or settings is None or faults:
        raise InputError(source.problems(faults))
    return StudyFile(path, write_overrides(text, given), spec, objective_type, settings, source)


def _read_text(path: Path) -> str:
    """The file's text.

    Raises:
        InputError: no such file, not a file, unreadable, too large, or not UTF-8.
    """
    advice = "name a study file, such as study.yaml"
    try:
        if path.is_dir():
            raise InputError(Problem(str(path), "is a folder", advice))
        if not path.exists():
            raise InputError(Problem(str(path), "no such file", advice))
        if not path.is_file():
            raise InputError(Problem(str(path), "is not a regular file", advice))
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be read: {error.strerror}", advice)) from error
    if len(raw) > MAX_BYTES:
        raise InputError(Problem(str(path), f"is larger than {MAX_BYTES} bytes", "a study file is a page of YAML"))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"is not UTF-8 text: byte {raw[error.start]:#04x} at offset {error.start}"
        raise InputError(Problem(f"{path}:{line}", what, "save the file as UTF-8")) from error


def _objective(block: object) -> tuple[ObjectiveType | None, BaseModel | None, list[Fault]]:
    """The objective type and its settings as far as the block allows, and what is wrong with it.

    A missing or malformed block or name is the spec's to report.
    """
    if not isinstance(block, dict) or not isinstance(block.get("name"), str) or not block["name"]:
        return None, None, []
    try:
        kind = find_objective_type(block["name"])
    except InputError as error:
        return None, None, [Fault(("objective", "name"), p.what, p.remedy) for p in error.problems]
    except Exception as error:  # importing an objective runs code of others, which may raise anything
        what = f"'{block['name']}' cannot be loaded: {type(error).__name__}: {error}"
        return (
            None,
            None,
            [Fault(("objective", "name"), what, "see that its package is installed completely")],
        )
    raw = {key: value for key, value in block.items() if key != "name"}
    try:
        settings = kind.settings.model_validate(raw)
    except ValidationError as error:
        return kind, None, faults_of(error, kind.settings, raw, prefix=("objective",))
    return kind, settings, coercions(raw, settings.model_dump(), ("objective",))
