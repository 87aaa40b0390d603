"""Server-sent events: any text, cut anywhere, comes out as it was sent."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from fastapi.sse import format_sse_event
from hypothesis import given
from hypothesis import strategies as st

from autotune.client import event_stream
from autotune.client.event_stream import Following, Message, MessageParser

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
IN_A_LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"))
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


def parsed(stream: bytes, cuts: list[int]) -> list[Message]:
    """What a parser makes of a stream that is cut at some places."""
    parser, places = MessageParser(), [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(places)]
    return [message for piece in pieces for message in parser.feed(piece)]


@given(st.lists(st.tuples(TEXT, IN_A_LINE, IN_A_LINE)), ENDS, st.lists(st.integers(0, 2000)))
def test_every_message_comes_out_wherever_the_stream_is_cut(
    messages: list[tuple[str, str, str]], end: str, cuts: list[int]
) -> None:
    stream = b""
    for data, kind, identifier in messages:
        text = format_sse_event(data_str=data, event=kind, id=identifier).decode()
        stream += (": ping\n\n" + text).replace("\n", end).encode()
    wanted = [
        Message(data.replace("\r\n", "\n").replace("\r", "\n"), kind, identifier) for data, kind, identifier in messages
    ]
    assert parsed(stream, cuts) == wanted


@given(st.binary(), st.lists(st.integers(0, 2000)))
def test_no_bytes_are_too_odd(stream: bytes, cuts: list[int]) -> None:
    assert parsed(stream, cuts) == parsed(stream, [])


def test_what_the_standard_says_of_odd_streams() -> None:
    stream = b"\xef\xbb\xbfdata\ndata:  b\nunknown: x\nretry: 5\n: a comment\nid: 7\n\nid: 8\n\n"
    stream += b"data:c\nid: a\0b\n\ndata: cut"
    assert parsed(stream, []) == [Message("\n b", "", "7"), Message("c", "", "8")]


def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "LONGEST", 100)
    with pytest.raises(ValueError, match="more than 100"):
        list(MessageParser().feed(b"data: " + b"x" * 200))


def sent(identifier: int, **data: object) -> bytes:
    return format_sse_event(data_str=json.dumps({"event": "ended", **data}), event="ended", id=str(identifier))


def test_events_that_come_again_are_left_out_and_cut_ones_come_later() -> None:
    following = Following(0)
    first, second, third = sent(10, trial=0), sent(20, trial=1), sent(30, trial=2)
    assert [event.data["trial"] for event in following.feed(first + second + third[:-1])] == [0, 1]
    assert following.after == 20 and not following.silent
    following.connect()
    assert following.silent
    assert [event.id for event in following.feed(second + third)] == [30]


@pytest.mark.parametrize(
    "message", [b"data: {}\nid: 1\n\n", b"data: x\nid: 1\n\n", b'data: {"event": "a"}\nid: x\n\n', b"data: [1]\n\n"]
)
def test_other_messages_are_no_events(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"event|Expecting"):
        list(Following(0).feed(message))
