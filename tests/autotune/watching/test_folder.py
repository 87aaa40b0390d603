"""When a file is a measurement, and when it is whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from autotune.errors import InputError
from autotune.watching.folder import Folder, Look, Measurement, require_pattern
from tests.autotune.watching.measured import write_measurement

SETTLE = 5.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds pass."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def let_pass(seconds: float) -> None:
        now[0] += seconds

    return let_pass


def folder_at(path: Path, pattern: str = "*.h5", refused: dict[str, list[int]] | None = None) -> Folder:
    return Folder(path, pattern, SETTLE, {} if refused is None else refused, path / "home")


def look(folder: Folder) -> Look:
    return folder.look(lambda measurement: False)


def test_a_file_is_whole_once_it_has_not_changed_for_a_while(tmp_path: Path, clock: Callable[[float], None]) -> None:
    folder, path = folder_at(tmp_path), tmp_path / "scan.h5"
    whole = write_measurement(path)
    path.write_bytes(whole[: len(whole) // 2])
    assert look(folder) == Look((), (), SETTLE)
    clock(3)
    assert look(folder).seconds == 2
    path.write_bytes(whole)  # goes on being written
    clock(3)
    assert look(folder) == Look((), (), SETTLE)
    clock(4.9)
    assert look(folder).whole == ()
    clock(0.1)
    assert look(folder) == Look((Measurement(path, len(whole), path.stat().st_mtime_ns),), (), None)


def test_a_file_that_was_renamed_in_is_whole_at_once(tmp_path: Path, clock: Callable[[float], None]) -> None:
    write_measurement(tmp_path / "scan.part")
    time.sleep(0.05)  # the clock of inodes ticks every few milliseconds
    (tmp_path / "scan.part").rename(tmp_path / "scan.h5")
    found = look(folder_at(tmp_path))
    assert [one.path.name for one in found.whole] == ["scan.h5"] and found.seconds is None


def test_a_truncated_file_is_told_once_and_tried_again_when_it_changes(
    tmp_path: Path, clock: Callable[[float], None]
) -> None:
    path, refused = tmp_path / "scan.h5", dict[str, list[int]]()
    whole = write_measurement(path)
    path.write_bytes(whole[:-100])
    folder = folder_at(tmp_path, refused=refused)
    look(folder)
    clock(SETTLE)
    [(told, note)] = look(folder).notes
    assert told == path and "is not whole: truncated file" in note and "tried again when it changes" in note
    clock(100)
    assert look(folder) == Look((), (), None)
    assert look(folder_at(tmp_path, refused=refused)) == Look((), (), None)  # another watch tells it neither
    path.write_bytes(whole)
    assert look(folder).seconds == SETTLE
    clock(SETTLE)
    assert [one.path for one in look(folder).whole] == [path] and refused == {}


def test_a_truncated_file_that_was_renamed_in_is_not_told_before_its_time(
    tmp_path: Path, clock: Callable[[float], None]
) -> None:
    whole = write_measurement(tmp_path / "part")
    (tmp_path / "part").write_bytes(whole[:-100])
    time.sleep(0.05)
    (tmp_path / "part").rename(tmp_path / "scan.h5")
    folder = folder_at(tmp_path)
    assert look(folder) == Look((), (), SETTLE)
    clock(SETTLE)
    assert len(look(folder).notes) == 1


def test_a_file_that_a_program_has_open_for_writing_waits(tmp_path: Path, clock: Callable[[float], None]) -> None:
    path, folder = tmp_path / "scan.h5", folder_at(tmp_path)
    write_measurement(path)
    import subprocess
    import sys

    code = f"import h5py, sys; f = h5py.File({str(path)!r}, 'r+'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stdin is not None
        assert writer.stdout.readline() == b"open\n"
        look(folder)
        clock(SETTLE)
        [(_, note)] = look(folder).notes
        assert "is open in a program that writes it" in note
        assert look(folder) == Look((), (), None)
        writer.stdin.close()
        writer.wait()
    look(folder)
    clock(SETTLE)
    assert [one.path for one in look(folder).whole] == [path]


@pytest.mark.parametrize("content", [b"", b"no HDF5 at all", b"\x89HDF\r\n\x1a\n"])
def test_other_files_are_not_whole(tmp_path: Path, clock: Callable[[float], None], content: bytes) -> None:
    (tmp_path / "scan.h5").write_bytes(content)
    folder = folder_at(tmp_path)
    look(folder)
    clock(SETTLE)
    assert len(look(folder).notes) == 1


def test_what_is_no_measurement_is_left_out(tmp_path: Path, clock: Callable[[float], None]) -> None:
    for name in ("home/studies/best.h5", ".hidden/a.h5", "below/.b.h5", "below/c.h5", "a.h5.result.json", "d.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_measurement(tmp_path / name)
    (tmp_path / "folder.h5").mkdir()
    (tmp_path / "link.h5").symlink_to(tmp_path / "nowhere.h5")
    found = {}
    for pattern in ("*.h5", "**/*.h5", "*"):
        folder = folder_at(tmp_path, pattern)
        look(folder)
        clock(SETTLE)
        found[pattern] = [one.path.name for one in look(folder).whole]
    assert found == {"*.h5": [], "**/*.h5": ["c.h5"], "*": ["d.txt"]}


def test_known_measurements_are_left_out_and_others_come_oldest_first(
    tmp_path: Path, clock: Callable[[float], None]
) -> None:
    for number, name in enumerate(("b.h5", "a.h5", "c.h5")):
        write_measurement(tmp_path / name)
        os.utime(tmp_path / name, (number, number))  # as a copy that keeps its times
    assert [one.path.name for one in look(folder_at(tmp_path)).whole] == ["b.h5", "a.h5", "c.h5"]
    found = folder_at(tmp_path).look(lambda measurement: measurement.path.name != "a.h5")
    assert [one.path.name for one in found.whole] == ["a.h5"]


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        look(folder_at(tmp_path / "gone"))


def test_answers_have_names_of_their_own(tmp_path: Path) -> None:
    def name(pattern: str, path: str) -> str:
        return folder_at(tmp_path, pattern).answer(tmp_path / path).relative_to(tmp_path).as_posix()

    assert name("*.h5", "scan.1.h5") == "scan.1.result.json"
    assert name("**/*.h5", "below/scan.h5") == "below/scan.result.json"
    assert name("scan*", "scan.h5") == "scan.h5.result.json"
    assert name("scan.*", "scan.cxi") == "scan.cxi.result.json"


def test_names_are_fit_for_a_terminal(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    assert folder.name(tmp_path / "a\x1b[31m\n.h5") == "a?[31m?.h5"
    assert folder.name(tmp_path) == str(tmp_path)


@pytest.mark.parametrize("pattern", ["", "/data/*.h5", "../*.h5", "a\0b", "**", "a**/b"])
def test_a_pattern_that_names_no_files_of_the_folder_is_refused(pattern: str) -> None:
    with pytest.raises(InputError, match=r"--pattern .*\*\.h5"):
        require_pattern(pattern)


def test_a_name_that_no_study_can_state_is_told(tmp_path: Path, clock: Callable[[float], None]) -> None:
    path = tmp_path / os.fsdecode(b"scan\xff.h5")
    write_measurement(tmp_path / "x")
    (tmp_path / "x").rename(path)
    with h5py.File(path):
        pass
    folder = folder_at(tmp_path)
    look(folder)
    clock(SETTLE)
    [(_, note)] = look(folder).notes
    assert "its name is no UTF-8 text" in note
