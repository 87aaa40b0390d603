"""Values of a study file as messages show them."""

from __future__ import annotations


def show(value: object) -> str:
    """A value as it would be written in YAML, shortened to one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        text = repr(value)
        return text.removesuffix(".0") if "e" not in text else text
    if isinstance(value, dict):
        return "a map" if value else "{}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]}...{text[0]}"


def kind_of(value: object) -> str:
    """What a value is, for messages: ``a list``, ``a map``, or the value itself."""
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a map"
    return show(value)
