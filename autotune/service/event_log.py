"""The events of one study of the queue: a file of JSON objects in lines, which its process and the service add to.

The place after a line, in bytes, is the identifier of its event: it says where to go on reading, also after the service
was restarted. A file never shrinks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

EVENTS = "events.jsonl"
_LONGEST = 1_000_000
"""Bytes of a line; what a process prints beyond that is no event."""


def append_event(path: Path, event: str, **facts: Any) -> None:
    """Add an event of the service's own; a line that a killed process left unfinished is ended first."""
    line = (
        json.dumps(
            {"event": event, **({} if "time" in facts else {"time": now()}), **facts}, ensure_ascii=False
        ).encode()
        + b"\n"
    )
    with path.open("ab+") as stream:
        end = stream.seek(0, os.SEEK_END)
        if end:
            stream.seek(end - 1)
            line = line if stream.read(1) == b"\n" else b"\n" + line
        stream.write(line)


def read_events(path: Path, after: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The whole lines after a place, each with the place after it. What is no JSON object is left out.

    Args:
        path: the file; nothing where there is none.
        after: a place that this function gave, or 0. Elsewhere reading begins with the next line.
    """
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return
    with stream:
        if after > 0:
            stream.seek(after - 1)
            if stream.read(1) != b"\n":
                stream.readline(_LONGEST)
        while True:
            line = stream.readline(_LONGEST)
            if not line.endswith(b"\n"):
                if len(line) == _LONGEST:
                    continue
                return
            event = _object(line)
            if event is not None:
                yield stream.tell(), event


def size_of(path: Path) -> int:
    """Bytes of the file; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def now() -> str:
    """The time, UTC, as events have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("event"), str) else None
