"""The wording of errors in a study file: what was written, what would be right, what a key may have meant.

Pydantic's errors get their words here. Other mistakes are worded where they are found: text that is not YAML in
:mod:`autotune.study.yaml_source`; contradictions within a block in :mod:`autotune.study.blocks`; whatever does not fit
the opened objective in ``dimensions``, ``conditions``, ``fidelity``, ``aims`` and ``plan`` beside this file.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from autotune.errors import near_miss
from autotune.study.value_text import show
from autotune.study.yaml_source import FLOAT, Fault, Place

# Pydantic's error type -> what the value must be; {} is filled from the error's context.
_EXPECTED = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a map of keys",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "frozen_set_type": "a list",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_type": "a whole number",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "list_type": "a list",
    "model_attributes_type": "a map of keys",
    "model_type": "a map of keys",
    "multiple_of": "a multiple of {multiple_of}",
    "none_required": "null",
    "path_type": "a path",
    "set_type": "a list",
    "string_pattern_mismatch": "text of the form {pattern}",
    "string_too_long": "text of at most {max_length} characters",
    "string_too_short": "text of at least {min_length} characters",
    "string_type": "text (quote it if it is a number or a date)",
    "too_long": "a list of at most {max_length} entries",
    "too_short": "a list of at least {min_length} entries",
    "tuple_type": "a list",
}


def faults_of(
    error: ValidationError, model: type[BaseModel], data: Mapping[str, Any], prefix: Place = ()
) -> list[Fault]:
    """Every mistake pydantic found, one fault per place.

    Args:
        error: what validating ``data`` raised.
        model: the model it was validated with; its field names make the suggestions.
        data: the validated data.
        prefix: where ``data`` is in the file.
    """
    faults: list[Fault] = []
    expectations: dict[Place, tuple[object, list[str]]] = {}
    for detail in error.errors(include_url=False):
        place = _place_in(data, detail)
        full = (*prefix, *place)
        kind = detail["type"]
        if kind == "extra_forbidden":
            fields = _fields_at(model, detail["loc"][:-1])
            faults.append(Fault(full, f"there is no key '{place[-1]}' here", near_miss(str(place[-1]), fields)))
        elif kind in ("missing", "union_tag_not_found"):
            faults.append(_missing(full, detail))
        elif kind in ("value_error", "assertion_error"):
            faults.append(Fault(full, str(detail["ctx"]["error"])))
        else:
            if kind == "union_tag_invalid":
                full = (*full, *_tag_key(detail))
            _, expected = expectations.setdefault(full, (_value(detail), []))
            expected.append(_expectation(detail))
    # Each branch of a union complains by itself about the same value: one fault says all that was allowed.
    for place, (value, expected) in expectations.items():
        faults.append(Fault(place, f"{show(value)} is not valid", f"it must be {_any_of(expected)}"))
    return faults


def coercions(raw: object, validated: object, place: Place) -> list[Fault]:
    """Where pydantic's lax mode took ``true`` or quoted text for a number, or text for true or false.

    Such slips would pass silently. A settings model may still parse text such as ``3 mm`` by itself.

    Args:
        raw: what was written.
        validated: the model's dump, with the same keys where it kept them.
        place: where ``raw`` is in the file.
    """
    if isinstance(raw, Mapping) and isinstance(validated, Mapping):
        pairs = [(key, raw[key], validated[key]) for key in raw if key in validated]
    elif isinstance(raw, list) and isinstance(validated, (list, tuple)) and len(raw) == len(validated):
        pairs = list(zip(range(len(raw)), raw, validated, strict=True))
    else:
        number = isinstance(validated, (int, float)) and not isinstance(validated, bool)
        if number and (isinstance(raw, bool) or (isinstance(raw, str) and FLOAT.fullmatch(raw.strip()))):
            return [Fault(place, f"{show(raw)} is not valid", "it must be a number")]
        if isinstance(validated, bool) and not isinstance(raw, bool):
            return [Fault(place, f"{show(raw)} is not valid", "it must be true or false")]
        return []
    return [fault for key, a, b in pairs for fault in coercions(a, b, (*place, key))]


def _any_of(expected: list[str]) -> str:
    distinct = list(dict.fromkeys(expected))
    if "a number" in distinct and "a whole number" in distinct:
        distinct.remove("a whole number")
    return " or ".join(distinct)


def _missing(place: Place, detail: ErrorDetails) -> Fault:
    if detail["type"] == "union_tag_not_found":
        return Fault((*place, *_tag_key(detail)), "is missing", "it says which of the forms of this map is meant")
    return Fault(place, "is missing")


def _tag_key(detail: ErrorDetails) -> Place:
    """The key that tells the branches of a union apart, as a place of length 1; empty where a function does."""
    name = str(detail["ctx"]["discriminator"]).strip("'")
    return (name,) if name.isidentifier() else ()


def _value(detail: ErrorDetails) -> object:
    return detail["ctx"]["tag"] if detail["type"] == "union_tag_invalid" else detail["input"]


def _expectation(detail: ErrorDetails) -> str:
    """What the value must be; pydantic's own message where the error type is a rare one."""
    context = {key: show(value) if isinstance(value, float) else value for key, value in detail.get("ctx", {}).items()}
    kind = detail["type"]
    if kind in ("literal_error", "enum", "union_tag_invalid"):
        listed = str(context.get("expected") or context.get("expected_tags"))
        choices = re.findall(r"'([^']*)'", listed)
        hint = near_miss(str(_value(detail)), choices)
        suggestion = f" ({hint})" if choices and hint.startswith("did you mean") else ""
        return f"one of {', '.join(choices) or listed}{suggestion}"
    if kind == "too_short" and isinstance(detail["input"], dict):
        return f"a map of at least {context['min_length']} key" + "s" * (context["min_length"] != 1)
    if kind in _EXPECTED:
        return _EXPECTED[kind].format_map(context)
    message = detail["msg"]
    return f"as follows: {message[0].lower()}{message[1:]}"


def _place_in(data: Mapping[str, Any], detail: ErrorDetails) -> Place:
    """The error's location without the union branches that pydantic mixes in and the file does not have."""
    place: list[str | int] = []
    here: Any = data
    location = detail["loc"]
    for index, key in enumerate(location):
        last = index == len(location) - 1
        if _holds(here, key):
            here = here[key]
        elif not (last and detail["type"] == "missing"):
            continue
        place.append(key)
    return tuple(place)


def _holds(here: object, key: str | int) -> bool:
    if isinstance(here, list):
        return isinstance(key, int) and key < len(here)
    return isinstance(here, Mapping) and key in here


def _fields_at(model: type[BaseModel], location: Iterable[str | int]) -> set[str]:
    """The keys that the model allows at a location in it; those of every branch where there is a union."""
    annotations: list[Any] = [model]
    for key in location:
        models = [m for annotation in annotations for m in _models_in(annotation)]
        below = [_fields(m)[key] for m in models if key in _fields(m)]
        # A key that is no field is a dict's key, a list's index or a union's branch: stay where we are.
        annotations = below or [m for m in models if m.__name__ == key or _has_tag(m, key)] or annotations
    return {str(name) for annotation in annotations for m in _models_in(annotation) for name in _fields(m)}


def _fields(model: type[BaseModel]) -> dict[str | int, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _has_tag(model: type[BaseModel], tag: object) -> bool:
    """Whether the model is the branch ``tag`` of a union told apart by a Literal field."""
    return any(tag in typing.get_args(annotation) for annotation in _fields(model).values())


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models an annotation may hold, through unions, Annotated, lists and dicts."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for part in typing.get_args(annotation) for model in _models_in(part)]
