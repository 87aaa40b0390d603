"""Reading YAML 1.2 text into plain data, with the line of every key and every mistake.

Study files use a plain subset: maps with text keys, lists, and scalars of the YAML 1.2 core schema. Tags,
anchors and aliases are refused, as are ``.inf`` and ``.nan``: no file can build an object or fill the memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)
from ruamel.yaml.reader import ReaderError

from autotune.errors import MOST_PROBLEMS, InputError, Problem

Plain = None | bool | int | float | str | list[Any] | dict[str, Any]
"""The types that YAML text is read into, nested; no others occur."""

Place = tuple[str | int, ...]
"""Keys and list indices from the top of the file to a value."""

MAX_DEPTH = 20
MAX_VALUES = 20_000
"""Keys and values of a file; a study is a page."""
MAX_FAULTS = MOST_PROBLEMS - 2
"""Mistakes after which reading ends."""
_MAX_DIGITS = 300  # beyond it a whole number no longer fits a float

_NULL: Final = {"", "~", "null", "Null", "NULL"}
_BOOL: Final = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True)
class Fault:
    """A mistake at a place of the data; :meth:`Source.problems` turns it into a problem with file and line.

    Attributes:
        place: where in the data.
        what, remedy: as in :class:`autotune.errors.Problem`.
        line: the line, from 1, where that is not the line of ``place``; else None.
    """

    place: Place
    what: str
    remedy: str = ""
    line: int | None = None


@dataclass(frozen=True)
class Source:
    """Plain data and where each part of it was written.

    Attributes:
        name: the file as the user named it, or ``--set KEY``.
        data: the content.
        lines: place -> line, from 1.
        options: place -> ``--set KEY`` for the places that the command line replaced.
        faults: mistakes found while reading, in the order of the text.
    """

    name: str
    data: Plain
    lines: Mapping[Place, int] = field(default_factory=dict)
    options: Mapping[Place, str] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()

    def problems(self, faults: list[Fault]) -> list[Problem]:
        """The faults as problems, those of the file first and in the order of its lines; repeats dropped."""
        ordered = sorted(faults, key=lambda fault: (self._option(fault.place) is not None, self._line(fault) or 0))
        return list(dict.fromkeys(self.problem(fault) for fault in ordered))

    def problem(self, fault: Fault) -> Problem:
        """One fault as a problem, ``study.yaml:17: parameters.defocus.low``: the deepest known key's line."""
        dotted = ".".join(str(key) for key in fault.place)
        option = self._option(fault.place)
        if option is not None:
            where = option if option == f"--set {dotted}" else f"{option}: {dotted}"
        else:
            line = self._line(fault)
            where = self.name if line is None else f"{self.name}:{line}"
            where = f"{where}: {dotted}" if dotted else where
        return Problem(where, fault.what, fault.remedy)

    def _line(self, fault: Fault) -> int | None:
        if fault.line is not None:
            return fault.line
        return next((self.lines[p] for p in _upwards(fault.place) if p in self.lines), None)

    def _option(self, place: Place) -> str | None:
        return next((self.options[p] for p in _upwards(place) if p in self.options), None)


def _upwards(place: Place) -> Iterator[Place]:
    """The place and its ancestors, deepest first, without the root."""
    return (place[:length] for length in range(len(place), 0, -1))


def read_yaml(text: str, name: str) -> Source:
    """Read one YAML document.

    Args:
        text: the document.
        name: its name in messages.

    Returns:
        the data with lines; duplicate keys, unusable keys, tags and non-finite numbers are in ``faults``.

    Raises:
        InputError: the text is not YAML, or holds several documents.
    """
    reader = _Reader()
    try:
        events = YAML(typ="safe", pure=True).parse(text)
        data = reader.document(events)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = name if mark is None else f"{name}:{mark.line + 1}"
        raise InputError(Problem(where, *_syntax(str(error.problem or error.context)))) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"holds the control character {chr(error.character)!r}"
        raise InputError(Problem(f"{name}:{line}", what, "remove it")) from error
    except TooMuch as end:
        known = Source(name, None, reader.lines).problems(reader.faults)
        raise InputError([*known, Problem(f"{name}:{end.line}", end.what, "a study file is a page of YAML")]) from end
    except YAMLError as error:
        raise InputError(Problem(name, f"is not YAML: {error}")) from error
    if reader.extra_document is not None:
        raise InputError(
            Problem(
                f"{name}:{reader.extra_document}",
                "a second document starts here",
                "keep one document, without '---'",
            )
        )
    return Source(name, data, reader.lines, faults=tuple(reader.faults))


def _syntax(problem: str) -> tuple[str, str]:
    """A YAML parser's error in plain words: what is wrong, and the remedy."""
    if "'\\t'" in problem:
        return "a tab is used where YAML wants spaces", "indent with spaces"
    if "mapping values are not allowed" in problem:
        return (
            "is not YAML: a ':' stands where no key can be",
            "line the keys up, and quote text that contains ': '",
        )
    return f"is not YAML: {problem}", "check the indentation, brackets and quotes here and just above"


def _joined(text: str) -> str:
    """The text with every pair of surrogates, as JSON escapes them, as the character that it means."""
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        return text


def _has_half(text: str) -> bool:
    """Whether half a pair of surrogates is in the text, which can be neither written nor sent."""
    return any("\ud800" <= character <= "\udfff" for character in text)


class TooMuch(Exception):
    """A file that is no study: ``line`` is where reading ended, from 1, and ``what`` says why."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(line, what)
        self.line, self.what = line, what


class _Reader:
    """Builds plain data from YAML parse events, collecting lines and faults."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {}
        self.faults: list[Fault] = []
        self.extra_document: int | None = None
        self._read = 0

    def document(self, events: Iterator[Any]) -> Plain:
        data: Plain = None
        documents = 0
        for event in events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.extra_document = event.start_mark.line + 1
                    return data
            elif not isinstance(event, (StreamStartEvent, StreamEndEvent, DocumentEndEvent)):
                data = self.value(event, events, ())
        return data

    def value(self, event: Any, events: Iterator[Any], place: Place, depth: int = 0) -> Plain:
        """The value that starts with ``event``; takes the rest of it from ``events``."""
        line = event.start_mark.line + 1
        self._read += 1
        if self._read > MAX_VALUES:
            raise TooMuch(line, f"holds more than {MAX_VALUES} values")
        if len(self.faults) > MAX_FAULTS:
            raise TooMuch(line, f"has more than {MAX_FAULTS} mistakes up to here")
        alias = isinstance(event, AliasEvent)
        if alias or event.anchor is not None:
            mark = ("*" if alias else "&") + str(event.anchor)
            self.faults.append(Fault(place, f"'{mark}' is an anchor or alias", "write the value out", line))
        elif event.tag is not None:
            tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
            self.faults.append(Fault(place, f"the tag '{tag}' is not allowed", "give a plain value", line))
        if alias:
            return None
        if isinstance(event, ScalarEvent):
            return self.scalar(event, place, line)
        if depth >= MAX_DEPTH:
            what = f"is nested deeper than {MAX_DEPTH} levels"
            raise MarkedYAMLError(problem=what, problem_mark=event.start_mark)
        if isinstance(event, SequenceStartEvent):
            return self.sequence(events, place, depth + 1)
        return self.mapping(events, place, depth + 1)

    def sequence(self, events: Iterator[Any], place: Place, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            here = (*place, len(items))
            self.lines[here] = event.start_mark.line + 1
            items.append(self.value(event, events, here, depth))
        return items

    def mapping(self, events: Iterator[Any], place: Place, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            line = event.start_mark.line + 1
            plain = _joined(str(event.value)) if isinstance(event, ScalarEvent) and event.value != "<<" else None
            if plain is not None and not _has_half(plain):
                key = plain
                here = (*place, key)
            else:
                key = None
                here = place
                self.value(event, events, place, depth)
                self.faults.append(Fault(place, "a key here is not plain text", "write 'key: value'", line))
            if key in result:
                first = self.lines[here]
                self.faults.append(Fault(here, f"'{key}' is given twice", f"it is already on line {first}", line))
                self.value(next(events), events, here, depth)
                continue
            if key is not None:
                self.lines[here] = line
            content = self.value(next(events), events, here, depth)
            if key is not None:
                result[key] = content
        return result

    def scalar(self, event: Any, place: Place, line: int) -> Plain:
        """A scalar by the YAML 1.2 core schema (specification, section 10.3.2); quoted is always text."""
        text = _joined(str(event.value))
        if _has_half(text):
            self.faults.append(Fault(place, "holds half a character (a lone surrogate)", "remove the escape", line))
            return None
        if event.style is not None:
            return text
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        number: int | float | None = None
        if len(text) <= _MAX_DIGITS:
            if _INT.fullmatch(text):
                number = int(text)
            elif _BASED.fullmatch(text):
                number = int(text, 0)
            elif FLOAT.fullmatch(text):
                number = float(text)
        endless = number is not None and not abs(number) < float("inf")
        if endless or _NOT_FINITE.fullmatch(text) or (number is None and FLOAT.fullmatch(text)):
            shown = text if len(text) <= 40 else f"{text[:40]}..."
            self.faults.append(Fault(place, f"{shown} is not a finite number", "give a finite number", line))
            return 0
        return text if number is None else number
