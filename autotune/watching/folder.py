"""The watched folder: which of its files are measurements, and when one is whole.

A measurement is whole when it opens as HDF5 and has not changed for some seconds. One that was renamed in, or copied
with its times, is so at once: the time at which its inode changed is then later than that at which its content did,
which are the same after every write.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from autotune.errors import InputError, Problem

ANSWER = ".result.json"
"""End of the names of answers, which are no measurements."""
_WILD = frozenset("*?[]")


@dataclass(frozen=True)
class Measurement:
    """A file as it was at one time.

    Attributes:
        path: its absolute path.
        size: its size in bytes.
        modified: when its content was changed last, in nanoseconds since the epoch.
    """

    path: Path
    size: int
    modified: int

    @classmethod
    def now(cls, path: Path) -> Measurement | None:
        """The file as it is now; None where there is none."""
        try:
            about = path.stat()
        except OSError:
            return None
        return cls(path, about.st_size, about.st_mtime_ns) if stat.S_ISREG(about.st_mode) else None


@dataclass(frozen=True)
class Look:
    """What one look at the folder has found.

    Attributes:
        whole: measurements that are whole and new, the oldest first.
        notes: file and sentence, each to be told once.
        seconds: seconds until a file can be whole that is not yet, although nothing changes; None for no such file.
    """

    whole: tuple[Measurement, ...]
    notes: tuple[tuple[Path, str], ...]
    seconds: float | None


@dataclass
class _Seen:
    """A file that is not known to be whole, since when it has been as it is, and what was done about it."""

    mark: list[int]
    since: float
    tried: bool = False
    told: bool = False


class Folder:
    """A folder with measurements.

    Args:
        folder: its absolute path.
        pattern: pattern of the measurements' paths in it, such as ``*.h5``.
        settle: seconds for which a file must not have changed.
        refused: path -> mark of each file that was told to be not whole; it is kept up to date here.
        left_out: folder below which there are no measurements.
    """

    def __init__(
        self, folder: Path, pattern: str, settle: float, refused: MutableMapping[str, list[int]], left_out: Path
    ) -> None:
        self.path, self.pattern = folder, pattern
        self._settle, self._refused, self._left_out = settle, refused, left_out
        self._seen: dict[Path, _Seen] = {}

    def look(self, known: Callable[[Measurement], bool]) -> Look:
        """Look at every file once.

        Args:
            known: whether there is a study for a measurement already.

        Raises:
            OSError: the folder cannot be read.
        """
        whole: list[Measurement] = []
        notes: list[tuple[Path, str]] = []
        waits: list[float] = []
        paths = list(self._measurements())
        for path in paths:
            measurement = Measurement.now(path)
            if measurement is None or known(measurement):
                continue
            seen = self._as_it_is(path)
            if seen is None:
                continue
            left = self._settle - (time.monotonic() - seen.since)
            if left > 0 and (seen.tried or not _was_moved(seen.mark)):
                waits.append(left)
                continue
            seen.tried = True
            trouble = trouble_of(path)
            if not trouble:
                whole.append(measurement)
                self._refused.pop(str(path), None)
            elif left > 0:
                waits.append(left)
            elif note := self._refuse(path, seen, trouble):
                notes.append((path, note))
        self._seen = {path: self._seen[path] for path in paths if path in self._seen}
        whole.sort(key=lambda measurement: (measurement.modified, measurement.path))
        return Look(tuple(whole), tuple(notes), min(waits, default=None))

    def name(self, path: Path) -> str:
        """A file's path in the folder, fit for a terminal."""
        text = str(path.relative_to(self.path)) if self.path in path.parents else str(path)
        return "".join(character if character.isprintable() else "?" for character in text)

    def answer(self, path: Path) -> Path:
        """The file that a measurement's answer is written to, beside it: ``scan.result.json`` for ``scan.h5``.

        Where the pattern allows files that differ in their suffix alone, the suffix stays: ``scan.h5.result.json``.
        """
        suffix = PurePath(self.pattern).suffix
        stays = not suffix or bool(_WILD & set(suffix))
        return path.with_name((path.name if stays else path.stem) + ANSWER)

    def _measurements(self) -> Iterator[Path]:
        next(self.path.iterdir(), None)  # raises where it cannot be read, which glob() keeps to itself
        for path in self.path.glob(self.pattern):
            hidden = any(part.startswith(".") for part in path.relative_to(self.path).parts)
            if not (hidden or path.name.endswith(ANSWER) or path.is_relative_to(self._left_out)):
                yield path

    def _as_it_is(self, path: Path) -> _Seen | None:
        """What is known of a file as it is now; None where it is gone, or was told to be not whole as it is."""
        try:
            about = path.stat()
        except OSError:
            return None
        mark = [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]
        if self._refused.get(str(path)) == mark:
            return None
        seen = self._seen.get(path)
        if seen is None or seen.mark != mark:
            seen = self._seen[path] = _Seen(mark, time.monotonic())
        return seen

    def _refuse(self, path: Path, seen: _Seen, trouble: str) -> str:
        """Note that a file is not whole, although it does not change; returns the sentence to tell, if any."""
        if trouble is _WRITTEN:  # its writer may close it without a change
            told, seen.told = seen.told, True
            return "" if told else f"{trouble}; it is tried again when that has closed it"
        self._refused[str(path)] = seen.mark
        return f"is not whole: {trouble}; it is tried again when it changes"


_WRITTEN = "is open in a program that writes it"


def trouble_of(path: Path) -> str:
    """Why a file does not open as HDF5; empty where it does."""
    import h5py

    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "its name is no UTF-8 text, which a study file cannot state"
    try:
        with h5py.File(path, "r", locking="best-effort"):
            return ""
    except BlockingIOError:
        return _WRITTEN
    except Exception as error:  # whatever HDF5 makes of a file that is half there
        text = " ".join(str(error).split())
        return text.removeprefix("Unable to synchronously open file ").strip("()") or type(error).__name__


def require_pattern(pattern: str) -> None:
    """Raise :class:`InputError` where a pattern names no files of a folder."""
    path = PurePath(pattern)
    if not pattern or path.is_absolute() or ".." in path.parts or not path.name or "\0" in pattern:
        raise InputError(Problem(f"--pattern {pattern!r}", "names no files in the folder", "such as '*.h5'"))
    if any("**" in part and part != "**" for part in path.parts) or path.name == "**":
        what = "has '**' in a part of a path"
        raise InputError(Problem(f"--pattern {pattern!r}", what, "'**/*.h5' means in all folders below, too"))


def _was_moved(mark: list[int]) -> bool:
    _, modified, changed, _ = mark
    return changed > modified
