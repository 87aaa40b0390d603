"""A study as it is sent: the text of a file, a text, or a dict."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotune.errors import InputError, Problem

Submission = str | os.PathLike[str] | Mapping[str, Any]
"""A study: the path of its file; its text, which has several lines or is a JSON object; or a dict."""
MOST_BYTES = 1_000_000
"""Bytes of a study that the service takes."""


def study_body(study: Submission) -> tuple[bytes, str]:
    """The bytes of a study, and their media type.

    Raises:
        InputError: there is no such file, it is not UTF-8 text, the study is too large, or holds what no study can.
    """
    if isinstance(study, Mapping):
        return _limited(_json(study), "study"), "application/json"
    if isinstance(study, str) and ("\n" in study or study.lstrip().startswith("{")):
        return _limited(study.encode("utf-8", errors="replace"), "study"), "application/yaml"
    if not isinstance(study, str | os.PathLike):
        what = f"{study!r:.80} is {type(study).__name__}"
        raise InputError(Problem("study", what, "give a path, the text of a study file, or a dict"))
    return _limited(_file(Path(study)), str(study)), "application/yaml"


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
    except OSError as error:
        remedy = "name a study file, such as study.yaml"
        raise InputError(Problem(str(path), f"cannot be read: {error.strerror}", remedy)) from error
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(raw) <= MOST_BYTES:
            raise InputError(Problem(str(path), "is not UTF-8 text", "save the file as UTF-8")) from error
    return raw


def _json(study: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(study, ensure_ascii=False, allow_nan=False, default=_plain).encode()
    except (TypeError, ValueError, RecursionError) as error:
        what = f"holds what no study file can hold: {error}"
        raise InputError(Problem("study", what, "use plain values: numbers, texts, lists and dicts")) from error


def _plain(value: Any) -> Any:
    """A value that JSON does not know as one that it knows: paths, other mappings, numbers of NumPy."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return value.item()
    raise TypeError(f"{value!r:.80} is {type(value).__name__}")


def _limited(body: bytes, where: str) -> bytes:
    if len(body) > MOST_BYTES:
        what = f"is larger than {MOST_BYTES} bytes"
        raise InputError(Problem(where, what, "a study is a page of YAML; measurements stay where the service reads"))
    return body
