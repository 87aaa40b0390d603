"""The messages between a run and its worker processes: lines of JSON, each of which says what it is about.

    to the worker                             from the worker
    {"text", "path", "metric"}                {"opened": true} or {"refused": [[where, what, remedy], ...]}
    {"values", "seed", "folder",              {"progress": [iteration, iterations, metrics]}, answered by {"go": bool}
     "repetition", "examine", "in_parts"}     {"paused": reason}, {"resumed": true}
                                              {"ended": evaluation, "done": share} or {"broken": reason}

Every message also has ``start``, ``trial`` and ``attempt`` (:class:`Subject`). Neither side acts on a message whose
subject is not the one it is busy with, so that no answer is ever taken for another trial's. Nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Subject:
    """The subject of a message.

    Attributes:
        start: random name of one start of a worker process.
        trial: number of the trial that it evaluates; None for the worker itself, before its first trial.
        attempt: number of the evaluation, which no other one of the same executor has; 0 for the worker itself.
    """

    start: str
    trial: int | None = None
    attempt: int = 0

    def __str__(self) -> str:
        return "no trial" if self.trial is None else f"trial {self.trial}, attempt {self.attempt}"


def line_of(subject: Subject, message: Mapping[str, Any]) -> bytes:
    """A message as it is sent, with the end of its line."""
    return (json.dumps({**asdict(subject), **message}) + "\n").encode()


def message_of(line: bytes) -> tuple[Subject, dict[str, Any]]:
    """The subject and the content of a line.

    Raises:
        ValueError: the line is no message.
    """
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("a message is a JSON object")
    try:
        subject = Subject(message.pop("start"), message.pop("trial"), message.pop("attempt"))
    except KeyError as error:
        raise ValueError(f"a message without {error}") from error
    return subject, message
