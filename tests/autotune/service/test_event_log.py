"""The file of a study's events: every event once, from any place, whatever was cut short."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from autotune.service.event_log import append_event, read_events, size_of

texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30)


def read(path: Path, after: int = 0) -> list[str]:
    return [event["text"] for _, event in read_events(path, after) if "text" in event]


@given(said=st.lists(texts, max_size=12), stops=st.lists(st.integers(0, 40), max_size=6))
def test_readers_that_stop_and_go_on_miss_nothing_and_see_nothing_twice(said: list[str], stops: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        seen: list[str] = []
        place = 0
        for number, text in enumerate(said):
            append_event(path, "said", text=text)
            if number in stops or number == len(said) - 1:
                for after, event in read_events(path, place):
                    seen.append(event["text"])
                    place = after
        assert seen == said and place == size_of(path)


@given(st.integers(0, 300))
def test_from_any_place_reading_begins_with_a_whole_line(place: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        ends = []
        for number in range(4):
            append_event(path, "said", text=str(number))
            ends.append(size_of(path))
        expected = [str(n) for n in range(4) if (0 if n == 0 else ends[n - 1]) >= place]
        assert read(path, place) == expected


def test_a_line_that_was_cut_short_is_left_out_and_ended(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert read(path) == [] and size_of(path) == 0
    append_event(path, "said", text="a")
    with path.open("a") as stream:
        stream.write('{"event": "said", "text": "lo')
    assert read(path) == ["a"]
    append_event(path, "said", text="b")
    assert read(path) == ["a", "b"]


def test_what_is_no_event_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = [
        b"no json",
        b"[1]",
        b'{"event": 3}',
        b'{"x": 1}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"event": "said", "text": "a"}',
    ]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    assert read(path) == ["a"]
    with path.open("ab") as stream:
        stream.write(b"x" * 3_000_000 + b"\n" + json.dumps({"event": "said", "text": "b"}).encode() + b"\n")
    assert read(path) == ["a", "b"]
