"""``autotune watch`` as a user starts it: files that arrive slowly, at once or in part, and a watch that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.autotune.client.serving import free_port
from tests.autotune.watching.measured import TEMPLATE, write_measurement, write_template
from tests.end_to_end.studies import Place, autotune

TRIALS = 3


class Scene:
    """A folder that is watched, and what was evaluated of which measurement."""

    def __init__(self, place: Place, seconds: float = 0.0) -> None:
        self.place, self.folder, self.log = place, place.folder / "in", place.folder / "evaluated"
        self.folder.mkdir()
        self.template = write_template(place.folder, log=str(self.log), seconds=seconds)

    def start(self, *options: str) -> subprocess.Popen[str]:
        command = ("watch", str(self.folder), "--template", str(self.template), "--settle", "1.5", *options)
        return self.place.start(*command)

    def evaluated(self, name: str) -> int:
        return self.log.read_text().splitlines().count(name) if self.log.exists() else 0

    def answer(self, name: str) -> dict[str, Any] | None:
        path = self.folder / f"{name}.result.json"
        return json.loads(path.read_text()) if path.exists() else None


@pytest.fixture
def scene(place: Place) -> Scene:
    return Scene(place)


@pytest.fixture
def runs_end(place: Place) -> Iterator[None]:
    """What the test has started and not ended is killed: runs outlive their watch."""
    yield
    for process in processes_of(place):
        process.kill()


def processes_of(place: Place) -> list[psutil.Process]:
    """The processes that work in a place."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("AUTOTUNE_HOME") == str(place.home.folder) and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_for(what: Callable[[], object], process: subprocess.Popen[str], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.usefixtures("runs_end")
@pytest.mark.parametrize("notices", [(), ("--poll", "0.5")], ids=["announced", "polled"])
def test_files_that_arrive_slowly_at_once_and_in_part(scene: Scene, notices: tuple[str, ...]) -> None:
    whole = write_measurement(scene.place.folder / "elsewhere.h5")
    watch = scene.start(*notices)
    (scene.folder / "part.h5").write_bytes(whole[:-500])
    step = len(whole) // 8 + 1
    with (scene.folder / "slow.h5").open("wb") as stream:
        for place in range(0, len(whole), step):
            stream.write(whole[place : place + step])
            stream.flush()
            time.sleep(0.5)
        written = time.time()
    (scene.place.folder / "elsewhere.h5").rename(scene.folder / "moved.h5")
    wait_for(lambda: scene.answer("slow") and scene.answer("moved"), watch)
    assert scene.answer("part") is None
    (scene.folder / "part.h5").write_bytes(whole)
    wait_for(lambda: scene.answer("part"), watch)
    watch.send_signal(signal.SIGINT)
    printed, errors = watch.communicate(timeout=60)
    assert watch.returncode == 130, errors
    for name in ("slow", "moved", "part"):
        answer = scene.answer(name)
        assert (
            answer is not None and answer["status"] == "finished" and answer["result"]["trials"]["finished"] == TRIALS
        )
        assert scene.evaluated(f"{name}.h5") == TRIALS
        assert printed.count(f"{name}.h5 is whole") == 1
    assert printed.count("part.h5 is not whole: truncated file") == 1
    records = [json.loads(path.read_text()) for path in scene.place.home.folder.glob("watching/*/*.record")]
    slow = next(record for record in records if record["path"].endswith("slow.h5"))
    assert slow["modified"] / 1e9 == pytest.approx(written, abs=2)
    assert len(records) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("runs_end")
@pytest.mark.parametrize("all_of_it", [False, True], ids=["the watch", "the watch and the run"])
def test_a_watch_that_is_killed_in_the_middle(place: Place, all_of_it: bool) -> None:
    scene = Scene(place, seconds=2.0)
    for name in ("a", "b"):
        write_measurement(scene.folder / f"{name}.h5", number=ord(name))
        time.sleep(0.05)
    watch = scene.start()
    wait_for(lambda: scene.evaluated("a.h5") == 2, watch)
    watch.kill()
    watch.communicate()
    for process in processes_of(place) if all_of_it else ():
        process.kill()
    assert scene.answer("a") is None
    again = scene.start("--once")
    printed, errors = again.communicate(timeout=180)
    assert again.returncode == 0, printed + errors
    assert "a.h5: study a-" in printed and "goes on" in printed
    assert ("waits for the run that an earlier watch has started" in printed) != all_of_it
    for name in ("a", "b"):
        answer = scene.answer(name)
        assert answer is not None and answer["result"]["trials"]["finished"] == TRIALS
    # Of a run that was killed, the trial that was running is evaluated once more.
    assert scene.evaluated("a.h5") == TRIALS + all_of_it and scene.evaluated("b.h5") == TRIALS
    assert len(list(place.home.folder.glob("studies/*"))) == 2
    third = scene.start("--once")
    printed, _ = third.communicate(timeout=60)
    assert third.returncode == 0 and " is whole" not in printed and ": study " not in printed


@pytest.mark.slow
@pytest.mark.usefixtures("runs_end")
def test_failures_are_answers_and_others_go_on(scene: Scene) -> None:
    write_measurement(scene.folder / "bad.h5", "bad")
    time.sleep(0.05)
    write_measurement(scene.folder / "deadly.h5", "deadly")
    time.sleep(0.05)
    write_measurement(scene.folder / "good.h5")
    watch = scene.start("--once")
    printed, errors = watch.communicate(timeout=180)
    assert watch.returncode == 3, errors
    bad, deadly, good = (scene.answer(name) or {} for name in ("bad", "deadly", "good"))
    assert bad["status"] == "rejected" and "holds no patterns; measure again" in bad["reason"] and bad["result"] is None
    assert deadly["status"] == "failed" and "ended by SIGKILL, 4 times" in deadly["reason"]
    assert good["status"] == "finished" and scene.evaluated("good.h5") == TRIALS
    assert printed.count("deadly.h5: its process was ended by SIGKILL") == 3


@pytest.mark.slow
@pytest.mark.usefixtures("runs_end")
def test_an_interrupted_watch_ends_its_run_in_order(place: Place) -> None:
    scene = Scene(place, seconds=1.0)
    write_measurement(scene.folder / "a.h5")
    watch = scene.start()
    wait_for(lambda: scene.evaluated("a.h5") == 1, watch)
    other = scene.start()
    _, errors = other.communicate(timeout=60)
    assert other.returncode == 2 and "is watched by another process; end that one first" in errors
    watch.send_signal(signal.SIGTERM)
    printed, errors = watch.communicate(timeout=60)
    assert watch.returncode == 130 and "ends the run in order" in printed and errors == ""
    assert processes_of(place) == []
    again = scene.start("--once")
    again.communicate(timeout=120)
    answer = scene.answer("a")
    assert again.returncode == 0 and answer is not None and answer["result"]["trials"]["finished"] == TRIALS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere", "--template", "template.yaml"), "nowhere: no such folder; name the folder"),
        (("template.yaml", "--template", "template.yaml"), "template.yaml: is not a folder"),
        ((".", "--template", "none.yaml"), "none.yaml: no such file"),
        ((".", "--template", "template.yaml", "--pattern", "/x/*.h5"), "--pattern '/x/*.h5': names no files"),
        ((".", "--template", "template.yaml", "--settle", "inf"), "--settle inf: is no time; give seconds"),
        ((".", "--template", "template.yaml", "--poll", "inf"), "--poll inf: is no time; give seconds"),
        ((".", "--template", "template.yaml", "--service", "here"), "execution: is decided by the operator"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_done(
    place: Place, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    write_template(place.folder)
    assert autotune("watch", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(place.home.folder.glob("studies/*"))


def test_a_service_that_is_not_there_is_told(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    template = {key: value for key, value in TEMPLATE.items() if key not in ("execution", "tracking")}
    write_template(place.folder, template)
    for service, code, message in (
        (f"http://127.0.0.1:{free_port()}", 3, "the service cannot be reached"),
        ("here", 2, "url: 'here' is no address of a service"),
    ):
        assert autotune("watch", ".", "--template", "template.yaml", "--service", service) == code
        assert message in capsys.readouterr().err


def test_a_study_that_goes_on_elsewhere_is_not_begun_here(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    from autotune.home import Home
    from autotune.watching.records import Record, Records, folder_of_records

    write_template(place.folder)
    records = Records(folder_of_records(Home.from_environment(), Path.cwd().resolve()), print)
    records.keep(Record("/data/a.h5", 1, 2, "a-1", "http://service.test"), state="begun", id="0123456789ab")
    assert autotune("watch", ".", "--template", "template.yaml", "--once") == 2
    message = "/data/a.h5: its study was begun by http://service.test; give --service http://service.test"
    assert message in capsys.readouterr().err


def test_nothing_to_do_is_done_at_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    write_template(place.folder)
    assert autotune("watch", ".", "--template", "template.yaml", "--once", "--poll", 0.2) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert f"watches {Path.cwd()} for *.h5: a study of template.yaml for each, run here" in line
