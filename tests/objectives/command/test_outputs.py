"""Numbers in JSON, text and HDF5, and what is said where they are not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from objectives.command.outputs import NoResult, number_of, numbers_of
from objectives.command.settings import Source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "result.json").write_text(
        json.dumps({"a": [1, {"b/c": 2.5, "~": "3e-1"}], "": 4, "x": "much", "t": True})
    )
    (tmp_path / "stdout.txt").write_bytes(b"error 5\nerror = 6.5\n\xff error = -7e2 end\n")
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "fit.txt").write_text("R = nan\n")
    with h5py.File(tmp_path / "out.h5", "w") as file:
        file["one"], file["many"], file["words"], file["group/deep"] = 1.5, np.arange(4), "text", np.array([[2]])
        file["outside"] = h5py.ExternalLink("other.h5", "/one")
        file["elsewhere"] = h5py.ExternalLink("../other.h5", "/")
        file["round"], file["nowhere"] = h5py.SoftLink("/elsewhere/one"), h5py.SoftLink("/gone")
        file["empty"] = h5py.Empty("f8")
    outside = tmp_path.parent / "other.h5"
    if not outside.exists():
        with h5py.File(outside, "w") as file:
            file["one"] = 12.0
    (tmp_path.parent / "secret.txt").write_text("12")
    (tmp_path / "link.txt").symlink_to(tmp_path.parent / "secret.txt")
    return tmp_path


def source(**stated: Any) -> Source:
    return Source.model_validate(stated)


@pytest.mark.parametrize(
    ("stated", "number"),
    [
        ({"json": "result.json", "pointer": "/a/0"}, 1.0),
        ({"json": "result.json", "pointer": "/a/1/b~1c"}, 2.5),
        ({"json": "result.json", "pointer": "/a/1/~0"}, 0.3),
        ({"json": "result.json", "pointer": "/"}, 4.0),
        ({"regex": r"error = (\S+)"}, -700.0),
        ({"regex": r"error = (\S+)", "which": "first"}, 6.5),
        ({"regex": r"^\d+|\d$"}, 5.0),
        ({"hdf5": "out.h5", "path": "one"}, 1.5),
        ({"hdf5": "out.h5", "path": "many", "index": -1}, 3.0),
        ({"hdf5": "out.h5", "path": "many", "index": 1}, 1.0),
        ({"hdf5": "out.h5", "path": "/group/deep"}, 2.0),
    ],
)
def test_numbers_are_found(stated: dict[str, Any], number: float, folder: Path) -> None:
    assert number_of(source(**stated), folder) == number


def test_what_is_not_finite_is_for_the_caller(folder: Path) -> None:
    assert np.isnan(number_of(source(regex=r"R = (\S+)", file="log/fit.txt"), folder))


@pytest.mark.parametrize(
    ("stated", "quoted"),
    [
        ({"json": "other.json"}, ["other.json", "not written"]),
        ({"json": "stdout"}, ["stdout", "not JSON"]),
        ({"json": "result.json", "pointer": "/a/2"}, ["/a/2", "not there"]),
        ({"json": "result.json", "pointer": "/a/-1"}, ["/a/-1", "not there"]),
        ({"json": "result.json", "pointer": "/x"}, ["/x", '"much" is not a number']),
        ({"json": "result.json", "pointer": "/t"}, ["true is not a number"]),
        ({"json": "result.json"}, ["the document", "not a number"]),
        ({"regex": r"loss = (\S+)"}, ["loss", "does not match"]),
        ({"regex": r"error = \S+"}, ["not a number"]),
        ({"regex": "1", "file": "link.txt"}, ["link.txt", "not written"]),
        ({"hdf5": "out.h5", "path": "none"}, ["out.h5: none", "not there"]),
        *[
            ({"hdf5": "out.h5", "path": path}, [path, "not there"])
            for path in ("outside", "elsewhere/one", "round", "nowhere", "empty", "/")
        ],
        ({"hdf5": "out.h5", "path": "group"}, ["out.h5: group", "no dataset"]),
        ({"hdf5": "out.h5", "path": "words"}, ["type object, not of numbers"]),
        ({"hdf5": "out.h5", "path": "many"}, ["shape (4,)", "one number"]),
        ({"hdf5": "out.h5", "path": "many", "index": 4}, ["a list with a place 4"]),
        ({"hdf5": "result.json", "path": "a"}, ["not a readable HDF5 file"]),
    ],
)
def test_what_is_missing_is_said(stated: dict[str, Any], quoted: list[str], folder: Path) -> None:
    with pytest.raises(NoResult) as caught:
        number_of(source(**stated), folder)
    for part in quoted:
        assert part in str(caught.value)


def test_deep_json_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(NoResult, match="not JSON"):
        number_of(source(json="deep.json"), tmp_path)


def test_an_object_of_numbers(folder: Path) -> None:
    (folder / "g.json").write_text('{"g": {"a": 1, "b": -2.5}, "bad": {"a": "inf"}, "list": [1]}')
    assert numbers_of(source(json="g.json", pointer="/g"), folder) == {"a": 1.0, "b": -2.5}
    for pointer, what in (("/bad", "not finite: a"), ("/list", "not an object")):
        with pytest.raises(NoResult, match=what):
            numbers_of(source(json="g.json", pointer=pointer), folder)


keys = st.text(max_size=5)


@given(st.lists(keys, max_size=4), st.floats(allow_nan=False))
def test_any_pointer_finds_its_place(tmp_path_factory: pytest.TempPathFactory, path: list[str], number: float) -> None:
    folder = tmp_path_factory.mktemp("pointer")
    document: Any = number
    for key in reversed(path):
        document = {key: document, f"{key}~": None}
    (folder / "r.json").write_text(json.dumps(document), encoding="utf-8")
    pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)
    assert number_of(source(json="r.json", pointer=pointer), folder) == number


@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"json": "a", "regex": "b"},
        {"json": "a", "which": "first"},
        {"regex": "("},
        {"hdf5": "a.h5"},
        {"json": "/etc/passwd"},
        {"json": "../a.json"},
        {"json": "a.json", "pointer": "b"},
    ],
)
def test_sources_that_make_no_sense_are_refused(stated: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        source(**stated)
