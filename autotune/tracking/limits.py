"""Names and texts as MLflow's columns hold them; SQLite takes any, PostgreSQL neither longer ones nor a NUL."""

from __future__ import annotations

import re

DATASET_NAME, DATASET_DIGEST = 500, 36
"""The longest name and digest of a dataset, in characters."""
_KEY, _TAG, _PARAMETER = 250, 8000, 6000


def key(name: str) -> str:
    """``name`` with what MLflow does not allow in a key replaced."""
    return re.sub(r"[^\w./ :-]", "_", name)[:_KEY]


def tag_text(text: str) -> str:
    """The text of a tag, cut to what MLflow holds."""
    return _cut(text, _TAG)


def parameter_text(text: str) -> str:
    """The text of a parameter, cut to what MLflow holds."""
    return _cut(text, _PARAMETER)


def _cut(text: str, longest: int) -> str:
    text = text.replace("\0", "")
    return text if len(text) <= longest else f"{text[: longest - 4]} ..."
