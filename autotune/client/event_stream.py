"""Server-sent events: from the bytes of a stream to the events of a study, each exactly once.

The format is that of the HTML standard, "Server-sent events", section "Parsing an event stream".
"""

from __future__ import annotations

import codecs
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from autotune.client.resources import Event

LONGEST = 16_000_000
"""Characters of one event; the service's have at most a million bytes."""
_ALIVE = 5.0
"""Seconds after which a connection counts as having worked, even if it brought nothing."""
_LINE_END = re.compile(r"\r\n|\n|\r")  # and no other: text of an event may hold those of Unicode


@dataclass(frozen=True)
class Message:
    """One message of a stream.

    Attributes:
        data: its text; lines are joined with line feeds.
        event: its kind; empty where it states none.
        id: its identifier, or that of the last message that had one; empty for none.
    """

    data: str
    event: str = ""
    id: str = ""


class MessageParser:
    """Parses one stream, which may be cut into pieces anywhere. A message that the end cuts off is dropped."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8-sig")(errors="replace").decode
        self._rest = ""
        self._after_return = False
        self._data: list[str] = []
        self._event, self._id = "", ""

    def feed(self, piece: bytes) -> Iterator[Message]:
        """The messages that are complete with the next piece of the stream.

        Raises:
            ValueError: a message is too long.
        """
        text = self._decode(piece)
        if text and self._after_return:
            text = text.removeprefix("\n")  # it belongs to the line end that the last piece ended in
        self._after_return = text.endswith("\r") if text else self._after_return and not piece
        self._rest += text
        start = 0
        for end in _LINE_END.finditer(self._rest):
            message = self._line(self._rest[start : end.start()])
            start = end.end()
            if message is not None:
                yield message
        self._rest = self._rest[start:]
        if len(self._rest) + sum(map(len, self._data)) > LONGEST:
            raise ValueError(f"an event has more than {LONGEST} characters")

    def _line(self, line: str) -> Message | None:
        """Take one line; returns the message that it ends, if it does."""
        if not line:
            message = Message("\n".join(self._data), self._event, self._id) if self._data else None
            self._data, self._event = [], ""
            return message
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        return None  # a comment, or a field that says nothing here


class Following:
    """Where a client is in the events of a study, over all the connections that it takes.

    Attributes:
        after: identifier of the last event that was given; 0 for none.
    """

    def __init__(self, after: int) -> None:
        self.after = after
        self._parser = MessageParser()
        self._new, self._began = False, time.monotonic()

    def connect(self) -> None:
        """Begin with another connection."""
        self._parser, self._new, self._began = MessageParser(), False, time.monotonic()

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The new events that are complete with a piece of the stream.

        Raises:
            ValueError: a message is no event of a study.
        """
        for message in self._parser.feed(piece):
            event = _event(message)
            if event.id > self.after:
                self.after, self._new = event.id, True
                yield event

    @property
    def silent(self) -> bool:
        """Whether this connection has brought nothing new."""
        return not self._new

    @property
    def worked(self) -> bool:
        """Whether this connection has worked for a while, so that a later failure is another one."""
        return self._new or time.monotonic() - self._began > _ALIVE


def _event(message: Message) -> Event:
    if not (message.id.isascii() and message.id.isdecimal()):
        raise ValueError(f"an event has the id {message.id[:40]!r}, which is no number")
    data = json.loads(message.data)
    if not isinstance(data, dict) or not isinstance(data.get("event"), str):
        raise ValueError("an event is no JSON object that names its kind")
    return Event(int(message.id), data["event"], data)
