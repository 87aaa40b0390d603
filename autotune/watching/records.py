"""What a watch keeps in the home: a record for each measurement, written whole, so that none is run twice.

watching/NUMBER/watch.lock       held by the watch of a folder
watching/NUMBER/run.lock         held by the run that a watch has started, also when the watch is gone
watching/NUMBER/refused.json     files that were told to be not whole
watching/NUMBER/STUDY.record     the record of a measurement
watching/NUMBER/STUDY.json       its study's result
watching/NUMBER/STUDY.log        what its run has printed
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from autotune.files import write_json, write_whole
from autotune.home import Home
from autotune.retrying import Patience
from autotune.watching.folder import Measurement

State = Literal["waiting", "begun", "ended"]
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Record:
    """What was done about one measurement.

    Attributes:
        path, size, modified: the measurement: see :class:`autotune.watching.folder.Measurement`.
        study: name of its study.
        where: address of the service that has the study; empty where it is run here.
        state: waiting for its turn, begun, or ended.
        id: the study's id in the service; empty where it has none.
        status: how it ended: finished, failed, rejected (nothing was run), or as the service says; empty before.
        reason: why, in words; may be empty.
        lost: how often its process was lost.
        template: hash of the template that it was begun with.
        written: whether its answer is beside the measurement.
    """

    path: str
    size: int
    modified: int
    study: str
    where: str
    state: State = "waiting"
    id: str = ""
    status: str = ""
    reason: str = ""
    lost: int = 0
    template: str = ""
    written: bool = False

    @property
    def measurement(self) -> Measurement:
        """The measurement."""
        return Measurement(Path(self.path), self.size, self.modified)


def folder_of_records(home: Home, watched: Path) -> Path:
    """Where the records of a watched folder, an absolute path without links, are kept in a home."""
    number = hashlib.sha256(str(watched).encode(errors="surrogateescape")).hexdigest()[:12]
    return home.folder / "watching" / number


class Records:
    """The records of one watched folder.

    Args:
        folder: where they are kept: see :func:`folder_of_records`.
        say: prints a line; is told where a full disk has to be waited for.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self._patience = Patience(lambda reason: say(f"waits: {reason}"), lambda: say("goes on"))
        self._records: dict[Measurement, Record] = {}
        for path in self.folder.glob("*.record"):
            record = _read(path)
            if record is not None:
                self._records[record.measurement] = record

    def of(self, measurement: Measurement) -> Record | None:
        """The record of a measurement."""
        return self._records.get(measurement)

    def all(self) -> Iterator[Record]:
        """Every record, the oldest measurement first."""
        yield from sorted(self._records.values(), key=lambda record: (record.modified, record.path))

    def keep(self, record: Record, **changes: Any) -> Record:
        """Keep a record, with changes."""
        record = replace(record, **changes)
        file, document = self.file(record, "record"), asdict(record)
        self._patience(lambda: write_json(file, document))
        self._records[record.measurement] = record
        return record

    def forget(self, record: Record) -> None:
        """Remove the record of a measurement for which nothing was begun."""
        self.file(record, "record").unlink(missing_ok=True)
        self._records.pop(record.measurement, None)

    def file(self, record: Record, suffix: str) -> Path:
        """A file of a measurement's own."""
        return self.folder / f"{record.study}.{suffix}"

    def result(self, record: Record) -> dict[str, Any] | None:
        """The result of a measurement's study; None where there is none."""
        return _object(self.file(record, "json"))

    def refused(self) -> MutableMapping[str, list[int]]:
        """The files that were told to be not whole; what is changed in it is kept."""
        return _Refused(self.folder / "refused.json")


class _Refused(dict[str, list[int]]):
    """A dict that is kept in a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(_object(path) or {})
        self._path = path

    def __setitem__(self, key: str, value: list[int]) -> None:
        if self.get(key) != value:
            super().__setitem__(key, value)
            self._write()

    def pop(self, key: str, *default: Any) -> Any:
        if key in self:
            value = super().pop(key)
            self._write()
            return value
        return super().pop(key, *default)

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, json.dumps(self))  # as ASCII: names of files may be no UTF-8 text


def study_name(measurement: Measurement) -> str:
    """The name of a measurement's study: that of the file as far as a study can have it, and what tells it from others.

    The same file has the same one, so that a record that was lost makes no second study.
    """
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", measurement.path.stem).strip("-._")[:_LONGEST_NAME]
    identity = f"{measurement.path}\0{measurement.size}\0{measurement.modified}"
    digest = hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:10]
    return f"{readable or 'measurement'}-{digest}"


def _read(path: Path) -> Record | None:
    """A record from its file, which another version may have written; None where it is none."""
    document, names = _object(path) or {}, {field.name for field in fields(Record)}
    with suppress(TypeError):
        return Record(**{name: value for name, value in document.items() if name in names})
    return None


def _object(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
