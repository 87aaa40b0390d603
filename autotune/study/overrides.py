"""``--set dotted.key=value``: values of the command line that replace what a study file says."""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from autotune.errors import InputError, Problem
from autotune.study.value_text import kind_of
from autotune.study.yaml_source import Fault, Place, Source, read_yaml


@dataclass(frozen=True)
class Override:
    """One value to set, and the place it goes to; places between are made where missing."""

    place: Place
    value: Any

    @property
    def label(self) -> str:
        """Its name in messages."""
        return f"--set {_dotted(self.place)}"


def parse_overrides(texts: Sequence[str]) -> list[Override]:
    """Split ``dotted.key=value`` texts; the value is YAML.

    Raises:
        InputError: no '=', an empty key, or a value that is not YAML; all of them at once.
    """
    parsed: list[Override] = []
    problems: list[Problem] = []
    for text in texts:
        dotted, equals, content = text.partition("=")
        place = tuple(dotted.strip().split("."))
        if not equals or not all(place):
            problems.append(Problem(f"--set {text}", f"'{text}' is not KEY=VALUE", "such as search.sampler=tpe"))
            continue
        label = f"--set {_dotted(place)}"
        try:
            value = read_yaml(content, label)
        except InputError as error:
            problems.extend(replace(problem, where=label) for problem in error.problems)
            continue
        problems.extend(Problem(label, fault.what, fault.remedy) for fault in value.faults)
        parsed.append(Override(place, value.data))
    if problems:
        raise InputError(problems)
    return parsed


def apply_overrides(
    source: Source, data: dict[str, Any], overrides: Sequence[Override]
) -> tuple[Source, dict[str, Any], list[Fault]]:
    """Put the overrides into a copy of the source's data.

    Returns:
        the source that knows which places come from the command line, the new data, and a fault for each
        override whose parent is not a map.
    """
    data = copy.deepcopy(data)
    options: dict[Place, str] = {}
    faults: list[Fault] = []
    for override in overrides:
        place = override.place
        options = {other: label for other, label in options.items() if other[: len(place)] != place}
        options[place] = override.label
        here = data
        for depth, key in enumerate(place[:-1], start=1):
            if here.get(str(key)) is None:
                here[str(key)] = {}
                options[place[:depth]] = override.label
            here = here[str(key)]
            if not isinstance(here, dict):
                parent = _dotted(place[:depth])
                what = f"{parent} is {kind_of(here)}, not a map of keys"
                faults.append(Fault(place, what, f"set {parent} as a whole"))
                break
        else:
            here[str(place[-1])] = override.value
    places = [override.place for override in overrides]
    unread = tuple(f for f in source.faults if not any(f.place[: len(place)] == place for place in places))
    return replace(source, data=data, options=options, faults=unread), data, faults


def write_overrides(text: str, overrides: Sequence[Override]) -> str:
    """The YAML text with the overrides written into it, comments kept; the same text where there are none."""
    if not overrides:
        return text
    yaml = YAML(typ="rt", pure=True)
    yaml.width = 4096
    yaml.preserve_quotes = True
    data = yaml.load(text)
    for override in overrides:
        here = data
        for key in override.place[:-1]:
            if here.get(key) is None:
                here[key] = CommentedMap()
            here = here[key]
        here[override.place[-1]] = override.value
    stream = io.StringIO()
    yaml.dump(data, stream)
    return stream.getvalue()


def _dotted(place: Place) -> str:
    return ".".join(str(key) for key in place)
