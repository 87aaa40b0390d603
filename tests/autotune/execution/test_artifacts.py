"""A trial's folder is complete or not there."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from autotune.execution.artifacts import discard_unfinished, keep_evaluation
from autotune.objective import Evaluation, Status
from tests.autotune.toy import Toy, ToySettings

OBJECT = np.arange(12, dtype=np.complex64).reshape(3, 4) * (1 + 2j)
EVALUATION = Evaluation(
    Status.COMPLETE,
    metrics={"consistency": 0.75},
    arrays={"object": OBJECT, "positions": np.array([[0, 1], [2, 3]])},
    attributes={"pixel_size_angstrom": 0.25, "solver": "lbfgs", "iterations": 12},
)


class Draws(Toy):
    """A toy with one picture, or an error in its place."""

    def __init__(self, picture: bytes | Exception = b"\x89PNG") -> None:
        super().__init__(ToySettings())
        self.picture = picture

    def pictures(self, evaluation: Evaluation) -> dict[str, bytes]:
        if isinstance(self.picture, Exception):
            raise self.picture
        return {"object": self.picture}


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_arrays_facts_and_pictures_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "00003"
    keep_evaluation(folder, EVALUATION, Draws())
    assert names(tmp_path) == ["trials", "trials/00003", "trials/00003/object.png", "trials/00003/reconstruction.h5"]
    with h5py.File(folder / "reconstruction.h5") as file:
        assert np.array_equal(file["object"][()], OBJECT) and file["object"].dtype == np.complex64
        assert np.array_equal(file["positions"][()], [[0, 1], [2, 3]])
        facts = {"pixel_size_angstrom": 0.25, "solver": "lbfgs", "iterations": 12, "consistency": 0.75}
        assert facts.items() <= dict(file.attrs).items()


def test_what_an_earlier_attempt_left_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "00003"
    for path in (folder / "old.png", tmp_path / ".00003.tmp" / "half.h5"):
        path.parent.mkdir()
        path.write_bytes(b"old")
    keep_evaluation(folder, EVALUATION, Draws())
    assert names(tmp_path) == ["00003", "00003/object.png", "00003/reconstruction.h5"]
    keep_evaluation(folder, Evaluation(Status.DIVERGED, reason="NaN"), Draws())
    assert names(tmp_path) == []


def test_an_evaluation_without_arrays_is_not_drawn(tmp_path: Path) -> None:
    keep_evaluation(tmp_path / "0", Evaluation(Status.FAILED, reason="no"), Draws(KeyError("object")))
    assert names(tmp_path) == []


@pytest.mark.parametrize("target", ["pathlib.Path.rename", "pathlib.Path.write_bytes", "h5py.Group.create_dataset"])
def test_a_process_that_ends_while_writing_leaves_no_folder(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """As a signal."""

    def killed(*arguments: Any, **named: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(target, killed)
        with pytest.raises(Killed):
            keep_evaluation(tmp_path / "00003", EVALUATION, Draws())
    assert [path.name for path in tmp_path.iterdir()] == [".00003.tmp"]
    (tmp_path / "00001").mkdir()
    discard_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["00001"]
    discard_unfinished(tmp_path / "not there")


def test_a_picture_that_cannot_be_drawn_costs_only_the_picture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        keep_evaluation(tmp_path / "00003", EVALUATION, Draws(ValueError("no\nfont")))
    assert names(tmp_path) == ["00003", "00003/reconstruction.h5"]
    assert caplog.messages == ["Trial 00003 has no pictures: drawing them failed (ValueError: no font)"]


def test_files_that_the_objective_made_are_kept_as_they_are(tmp_path: Path) -> None:
    """Without arrays, too."""
    files = {"model.bin": bytes(range(256))}
    keep_evaluation(tmp_path / "0", replace(EVALUATION, files=files), Draws())
    assert names(tmp_path / "0") == ["files", "files/model.bin", "object.png", "reconstruction.h5"]
    assert (tmp_path / "0" / "files" / "model.bin").read_bytes() == files["model.bin"]
    keep_evaluation(tmp_path / "1", replace(EVALUATION, files={"a": b"b"}, arrays={}), Draws(KeyError("object")))
    assert names(tmp_path / "1") == ["files", "files/a"]


@pytest.mark.parametrize("name", ["../stolen", "..", ".", "", "a/b", "a\0b", "a" * 300, "é" * 150])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"files: .* is no name of a file"):
        replace(EVALUATION, files={name: b""})


@pytest.mark.parametrize(
    ("files", "remarks"), [({"a": "text"}, ()), ({"a": None}, ()), ({7: b""}, ()), ({}, "one text")]
)
def test_what_is_no_file_or_remark_is_refused(files: Any, remarks: Any) -> None:
    """By the evaluation itself, so that it is one failed trial."""
    with pytest.raises(TypeError, match=r"files: |remarks are"):
        replace(EVALUATION, files=files, remarks=remarks)
