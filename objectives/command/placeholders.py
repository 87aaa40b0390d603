"""Placeholders ``{{name}}`` in templates, arguments and variables of the environment.

Anything else in double braces is left as it is: programs' own files have braces, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from autotune.objective import Value

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


def names_in(text: str) -> Iterator[tuple[str, int]]:
    """Each placeholder's name, and the line that it stands in, from 1."""
    for match in _PLACEHOLDER.finditer(text):
        yield match[1], text.count("\n", 0, match.start()) + 1


def filled(text: str, values: Mapping[str, Value]) -> str:
    """The text with values for its placeholders; numbers as short as they come back exactly.

    Raises:
        KeyError: a placeholder has no value.
    """
    return _PLACEHOLDER.sub(lambda match: _text(values[match[1]]), text)


def _text(value: Value) -> str:
    return repr(float(value)) if isinstance(value, float) else str(value)
