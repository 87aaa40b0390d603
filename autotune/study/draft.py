"""From an objective type's :class:`autotune.objective.Draft` to a study file with comments."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from autotune.errors import InputError, Problem
from autotune.objective import Draft, DraftLine, DraftsStudies, find_objective_type, objective_names
from autotune.study.blocks.study import StudySpec

_COMMENT_COLUMN = 44
_MISSING = "MISSING: "


def plain_name(text: str) -> str:
    """A study name made of ``text``: characters that a name may not have become '_'."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", text).lstrip("._-")[:100].rstrip("._-")
    return name or "study"


def missing_keys(draft: Draft) -> list[str]:
    """The keys that the user must still state."""
    return [line.key for line in draft.lines if line.status == "missing"]


def find_draft(file: Path, folder: Path, objective: str | None) -> tuple[str, Draft]:
    """The draft of the objective that knows the file, with the objective's name.

    Args:
        file: an existing measurement file.
        folder: the folder where the study file will be.
        objective: the objective to ask; None to ask every installed one, in the order of their names.

    Raises:
        InputError: none knows the file, the one asked cannot draft, or the file is damaged.
    """
    if not _is_text(str(file.absolute())):
        raise InputError(
            Problem(ascii(str(file)), "has a name that is not text, which no study can state", "rename it")
        )
    problems: list[Problem] = []
    formats: list[str] = []
    for name in objective_names() if objective is None else [objective]:
        kind = find_objective_type(name)
        if not isinstance(kind, DraftsStudies):
            if objective is not None:
                raise InputError(Problem(f"--objective {name}", "cannot draft a study", "write one by hand"))
            continue
        try:
            draft = kind.draft(file, folder=folder)
        except InputError as error:
            problems.extend(error.problems)
            continue
        if draft is not None:
            return name, draft
        formats.append(f"{name} knows {', '.join(kind.file_formats)}")
    if problems:
        raise InputError(problems)
    remedy = "; ".join(formats) or "no installed objective drafts studies"
    raise InputError(Problem(str(file), "is of no known format", remedy))


def _is_text(name: str) -> bool:
    """Whether a file's name is Unicode; on Linux it may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def write_draft(path: Path, name: str, objective: str, file: Path, draft: Draft, *, replace: bool) -> None:
    """Write the study file.

    Args:
        path: the study file to write.
        name: the study's name.
        objective: the objective's name.
        file: the measurement, as the user named it.
        draft: its content.
        replace: whether an existing file may be replaced.

    Raises:
        InputError: the name is no study name, the file exists, or it cannot be written.
    """
    _check_name(name)
    if path.exists() and path.samefile(file):
        raise InputError(Problem(str(path), "is the measurement itself", "give another --output"))
    text = draft_text(name, objective, file, draft).encode()
    try:
        with path.open("wb" if replace else "xb") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise InputError(Problem(str(path), "exists", "give --force to replace it, or another --output")) from error
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be written: {error.strerror}", "give another --output")) from error


def _check_name(name: str) -> None:
    try:
        StudySpec.model_validate({"name": name, "objective": {"name": "any"}, "parameters": {"any": {}}})
    except ValidationError as error:
        raise InputError(Problem(f"--name {name}", error.errors()[0]["msg"].removeprefix("Value error, "))) from error


CONVERGED = "budget.converged"
"""Key of the line in which an objective says what gain in its metric is not worth another trial."""


def draft_text(name: str, objective: str, file: Path, draft: Draft) -> str:
    """The study file's text: keys that are set as YAML, all others as comments."""
    tuned = sum(isinstance(line.value, dict) for line in draft.lines if _is_parameter(line) and line.status == "set")
    converged = {line.key.removeprefix("budget."): line.value for line in draft.lines if line.key == CONVERGED}
    budget = {"trials": 5 + 10 * max(tuned, 1), **converged}
    tail = [
        DraftLine("search", {"sampler": "gp", "seed": 0}, "equal study files give equal trials"),
        DraftLine("budget", budget, "seconds: 3600 would limit the time, too"),
    ]
    head = [DraftLine("name", name), DraftLine("objective.name", objective)]
    written = _text_of(_tree([*head, *(line for line in draft.lines if line.key != CONVERGED), *tail]))
    return "".join(f"{line}\n" for line in [*_preface(file, draft), *written])


def _preface(file: Path, draft: Draft) -> Iterator[str]:
    yield f"# Drafted by `autotune init` from the metadata and a few values of {_one_line(str(file))}:"
    for name, fact in draft.facts.items():
        yield f"#   {name}: {_one_line(fact)}"
    yield "# Lines that start with # are not in force; remove the # to use one."
    if missing_keys(draft):
        yield f"# Those marked {_MISSING.strip(': ')} must be stated before the study can run; the values are examples."
    yield "# `autotune check` shows the plan, and every other parameter that this measurement understands."


def _is_parameter(line: DraftLine) -> bool:
    return line.key.startswith("parameters.")


@dataclass
class _Node:
    """A key of the study file: a line of its own, or the keys below it."""

    key: str
    line: DraftLine | None = None
    below: list[_Node] = field(default_factory=list)

    @property
    def in_force(self) -> bool:
        """Whether anything at or below the key is set."""
        if self.line is not None:
            return self.line.status == "set"
        return any(node.in_force for node in self.below)


def _tree(lines: Sequence[DraftLine]) -> list[_Node]:
    top: list[_Node] = []
    for line in lines:
        level = top
        *parents, last = line.key.split(".")
        for key in parents:
            node = next((node for node in level if node.key == key), None)
            if node is None:
                node = _Node(key)
                level.append(node)
            level = node.below
        level.append(_Node(last, line))
    return top


def _text_of(nodes: Sequence[_Node], indent: str = "", commented: bool = False) -> Iterator[str]:
    """The lines of ``nodes``; one comment sign at the outermost key that is not in force, and so for all below it."""
    for node in nodes:
        off = not node.in_force
        # Below a key in force, the sign goes between the indent and the key: removing "# " gives valid YAML.
        start = indent if commented or not off else f"{indent}# "
        if node.line is None:
            yield f"{start}{node.key}:"
            yield from _text_of(node.below, f"{start}  ", off)
            continue
        text = f"{start}{node.key}: {_flow(node.line.value)}"
        comment = (_MISSING if node.line.status == "missing" else "") + _one_line(node.line.comment)
        yield f"{text:<{_COMMENT_COLUMN}}  # {comment}" if comment else text


def _flow(value: Any) -> str:
    """A plain value as YAML on one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_flow(key)}: {_flow(below)}' for key, below in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_flow(item) for item in value)}]"
    if isinstance(value, str) and not value.isprintable():  # line breaks, which the library would write as such
        characters = (c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in value)
        return f'"{"".join(characters)}"'
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = True
    yaml.width = 100_000
    stream = io.StringIO()
    # In a list, for text that is plain at the top of a document need not be plain inside brackets.
    yaml.dump([value], stream)
    return stream.getvalue().strip()[1:-1]


def _one_line(text: str) -> str:
    """The text fit for a comment: control characters, which YAML forbids even there, become '?'."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
