"""The watch with runs that a test decides: one study for each measurement, whatever is killed or cannot be written."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autotune.watching.folder import Folder
from autotune.watching.records import Record, Records
from autotune.watching.runs import End
from autotune.watching.template import Template
from autotune.watching.watch import MOST_LOST, Watch
from tests.autotune.watching.measured import write_measurement, write_template

FINISHED = End("finished", "the budget is used")


class Always:
    """Looks at every step."""

    def due(self) -> bool:
        return True

    def wait(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        pass


class Decided:
    """Begins studies, and ends them as it is told; has room for one."""

    where, pace = "", 0.1

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ends: list[End] = []
        self.going = 0
        self.identifier: str | End = ""

    def has_room(self) -> bool:
        return not self.going

    def begin(self, record: Record) -> str | End:
        self.begun.append(Path(record.path).name)
        self.going += self.identifier == ""
        return self.identifier

    def end(self, record: Record) -> End | None:
        if not self.ends:
            return None
        self.going -= 1
        return self.ends.pop(0)

    def stop(self) -> None:
        pass


class Scene:
    """A folder, its records, and watches of it, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder / "in", folder / "home"
        self.folder.mkdir()
        self.template = Template(write_template(folder))
        self.said: list[str] = []
        self.restart()

    def restart(self) -> None:
        self.runs = Decided()
        self.records = Records(self.home / "watching", self.said.append)
        folder = Folder(self.folder, "*.h5", 0.0, self.records.refused(), self.home)
        self.watch = Watch(folder, self.records, self.runs, Always(), self.template, self.said.append)

    def arrive(self, name: str, kind: str = "patterns") -> Path:
        write_measurement(self.folder / name, kind)
        return self.folder / name

    def answer(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / f"{name}.result.json").read_text())
        return document


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_one_after_the_other_each_once_with_an_answer(scene: Scene) -> None:
    scene.arrive("a.h5")
    time.sleep(0.02)
    scene.arrive("b.h5")
    assert not scene.watch.step() and scene.runs.begun == ["a.h5"]
    assert not scene.watch.step() and scene.runs.begun == ["a.h5"]
    scene.runs.ends = [FINISHED]
    assert not scene.watch.step() and scene.runs.begun == ["a.h5", "b.h5"]
    assert scene.answer("a")["status"] == "finished" and scene.answer("a")["measurement"] == "a.h5"
    scene.runs.ends = [End("failed", "three trials in a row failed")]
    assert scene.watch.step() and scene.watch.failed == 1
    assert scene.answer("b")["reason"] == "three trials in a row failed" and scene.answer("b")["result"] is None
    assert scene.watch.step() and len(scene.runs.begun) == 2
    scene.restart()
    assert scene.watch.step() and scene.runs.begun == []


def test_a_changed_measurement_is_another_one(scene: Scene) -> None:
    path = scene.arrive("a.h5")
    scene.watch.step()
    scene.runs.ends = [FINISHED]
    assert scene.watch.step()
    write_measurement(path, number=7)
    assert not scene.watch.step() and scene.runs.begun == ["a.h5", "a.h5"]
    assert len({record.study for record in scene.records.all()}) == 2


def test_a_watch_that_was_killed_goes_on_where_it_was(scene: Scene) -> None:
    scene.arrive("a.h5")
    time.sleep(0.02)
    scene.arrive("b.h5")
    scene.watch.step()
    scene.restart()
    scene.watch.step()
    assert scene.runs.begun == ["a.h5"] and any("a.h5: study a-" in line and "goes on" in line for line in scene.said)
    scene.runs.ends = [FINISHED]
    scene.watch.step()
    scene.restart()
    scene.watch.step()
    assert scene.runs.begun == ["b.h5"]


def test_killed_between_the_end_and_the_answer(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    scene.arrive("a.h5")
    scene.watch.step()
    scene.runs.ends = [FINISHED]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("autotune.watching.watch.write_answer", killed)
        scene.watch.step()
    scene.restart()
    assert scene.watch.step() and scene.runs.begun == [] and scene.answer("a")["status"] == "finished"


def test_a_lost_process_is_begun_again_a_few_times(scene: Scene) -> None:
    scene.arrive("a.h5")
    for _ in range(MOST_LOST + 1):
        assert not scene.watch.step()
        scene.runs.ends = [End("lost", "its process was ended by SIGKILL")]
    assert scene.watch.step()
    assert len(scene.runs.begun) == MOST_LOST + 1
    assert scene.answer("a")["reason"] == f"its process was ended by SIGKILL, {MOST_LOST + 1} times"


def test_a_rejected_study_is_tried_again_with_another_template(scene: Scene, tmp_path: Path) -> None:
    scene.arrive("a.h5")
    scene.runs.identifier = End("rejected", "template.yaml: ...")
    assert scene.watch.step() and scene.answer("a")["status"] == "rejected"
    scene.restart()
    assert scene.watch.step() and scene.runs.begun == []
    write_template(tmp_path, seconds=0.5)
    assert not scene.watch.step() and scene.runs.begun == ["a.h5"]
    scene.runs.ends = [FINISHED]
    assert scene.watch.step() and scene.answer("a")["status"] == "finished"


def test_a_measurement_that_goes_away_before_its_turn_is_forgotten(scene: Scene) -> None:
    scene.arrive("a.h5")
    time.sleep(0.02)
    gone = scene.arrive("b.h5")
    scene.watch.step()
    gone.unlink()
    scene.runs.ends = [FINISHED]
    assert scene.watch.step() and scene.runs.begun == ["a.h5"]
    assert [Path(record.path).name for record in scene.records.all()] == ["a.h5"]


def test_a_measurement_that_changed_while_the_watch_was_dead_has_failed(scene: Scene) -> None:
    path = scene.arrive("a.h5")
    scene.watch.step()
    scene.restart()
    write_measurement(path, number=3)
    scene.watch.step()
    [first, second] = scene.records.all()
    assert (first.status, second.state) == ("failed", "begun") and "changed or gone" in first.reason


def test_an_answer_that_cannot_be_written_comes_later(scene: Scene) -> None:
    scene.arrive("a.h5")
    other = scene.folder / "a.result.json"
    other.write_text("notes of mine")
    scene.watch.step()
    scene.runs.ends = [FINISHED]
    for _ in range(3):
        scene.watch.step()
    told = [line for line in scene.said if "cannot be written" in line]
    assert len(told) == 1 and "is a file of this name that is no answer" in told[0]
    assert other.read_text() == "notes of mine"
    scene.restart()
    other.unlink()
    assert scene.watch.step() and scene.answer("a")["status"] == "finished" and scene.runs.begun == []


def test_a_folder_that_is_away_for_a_while(scene: Scene) -> None:
    scene.folder.rename(scene.folder.with_name("away"))
    assert not scene.watch.step() and not scene.watch.step()
    assert len([line for line in scene.said if "cannot be read: No such file" in line]) == 1
    scene.folder.with_name("away").rename(scene.folder)
    scene.arrive("a.h5")
    scene.watch.step()
    assert scene.runs.begun == ["a.h5"]


def test_the_service_that_does_not_answer_is_asked_again(scene: Scene) -> None:
    scene.runs.where = "http://service.test"
    scene.arrive("a.h5")
    assert not scene.watch.step() and not scene.watch.step()
    assert [record.state for record in scene.records.all()] == ["waiting"]
    scene.runs.identifier = "0123456789ab"
    scene.runs.going = 0
    assert not scene.watch.step()
    [record] = scene.records.all()
    assert (record.state, record.id, record.where) == ("begun", "0123456789ab", "http://service.test")


def test_once_ends_when_nothing_is_left(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    path = scene.arrive("a.h5")
    os.truncate(path, path.stat().st_size - 10)
    scene.watch.run(once=True)
    assert scene.runs.begun == [] and any("a.h5 is not whole" in line for line in scene.said)


def test_the_wait_is_until_something_is_due(scene: Scene, waits: Callable[[], float]) -> None:
    assert scene.watch.step() and waits() == 60
    scene.arrive("a.h5")
    scene.watch.step()
    assert waits() == scene.runs.pace


@pytest.fixture
def waits(scene: Scene) -> Callable[[], float]:
    """How long the watch would wait now."""
    return lambda: scene.watch._seconds()
