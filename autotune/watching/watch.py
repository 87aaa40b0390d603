"""The watch: looks at the folder, begins a study for each new measurement, and writes the answers.

Everything that it must remember is in the records before it acts on it, so that it may be killed at any instruction.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from autotune.errors import AutotuneError
from autotune.watching.answers import in_words, write_answer
from autotune.watching.folder import Folder, Measurement
from autotune.watching.notices import Notices
from autotune.watching.records import Record, Records, study_name
from autotune.watching.runs import End, Runs
from autotune.watching.template import Template

MOST_LOST = 3
"""How often a study whose process was lost is begun again."""
_LONGEST_WAIT = 60.0


class Watch:
    """A watch of one folder. One process at a time has a folder's watch.

    Args:
        folder: the folder.
        records: what was done about its measurements.
        runs: where studies are run.
        notices: says when to look.
        template: what studies are made from.
        say: prints a line.
    """

    def __init__(
        self,
        folder: Folder,
        records: Records,
        runs: Runs,
        notices: Notices,
        template: Template,
        say: Callable[[str], None],
    ) -> None:
        self._folder, self._records, self._runs = folder, records, runs
        self._notices, self._template, self._say = notices, template, say
        self._going: dict[str, Record] = {}
        self._waiting = [record for record in records.all() if record.state != "ended"]
        self._unwritten = [record for record in records.all() if record.state == "ended" and not record.written]
        self._looks_at: float | None = 0.0
        self._told: set[str] = set()
        self.failed = 0
        """Studies that ended without an answer while this watch ran."""

    def run(self, once: bool) -> None:
        """Watch until Ctrl-C.

        Args:
            once: end when nothing is left to do.
        """
        try:
            while not (self.step() and once):
                self._notices.wait(self._seconds())
        finally:
            try:
                self._runs.stop()
            finally:
                self._notices.close()

    def step(self) -> bool:
        """Do what can be done now; returns whether nothing is left to do."""
        for record in list(self._going.values()):
            end = self._runs.end(record)
            if end is not None:
                self._conclude(self._going.pop(record.study), end)
        due = self._notices.due()
        if due or (self._looks_at is not None and time.monotonic() >= self._looks_at):
            self._look()
            self._unwritten = [record for record in self._unwritten if not self._write(record)]
        while self._waiting and self._runs.has_room():
            record = self._waiting.pop(0)
            if not self._begin(record):
                self._waiting.insert(0, record)
                break
        return not (self._going or self._waiting) and self._looks_at is None

    def _seconds(self) -> float:
        """Seconds until there may be something to do."""
        waits = [_LONGEST_WAIT]
        if self._going or self._waiting:
            waits.append(self._runs.pace)
        if self._looks_at is not None:
            waits.append(self._looks_at - time.monotonic())
        return max(0.0, min(waits))

    def _look(self) -> None:
        try:
            look = self._folder.look(self._is_known)
        except OSError as error:
            self._tell_once(str(self._folder.path), f"cannot be read: {error.strerror}; it is tried again")
            self._looks_at = time.monotonic() + 5.0
            return
        self._told.discard(str(self._folder.path))
        for path, note in look.notes:
            self._say(f"{self._folder.name(path)} {note}")
        for measurement in look.whole:
            file = str(measurement.path)
            record = Record(file, measurement.size, measurement.modified, study_name(measurement), self._runs.where)
            self._waiting.append(self._records.keep(record))
            self._say(f"{self._folder.name(measurement.path)} is whole: study {record.study}")
        self._looks_at = None if look.seconds is None else time.monotonic() + look.seconds

    def _is_known(self, measurement: Measurement) -> bool:
        """Whether there is a study for a measurement; one that was rejected is tried again with another template."""
        record = self._records.of(measurement)
        if record is None:
            return False
        again = record.status == "rejected" and record.template != self._template.digest()
        return not (again and record.state == "ended")

    def _begin(self, record: Record) -> bool:
        """Begin a study, or go on with it; false where its service does not answer."""
        name = self._folder.name(record.measurement.path)
        if Measurement.now(record.measurement.path) != record.measurement:
            if record.state == "waiting":  # what is there now is another measurement
                self._records.forget(record)
                self._say(f"{name} has changed or is gone: its study is not begun")
            else:
                self._conclude(record, End("failed", "the measurement has changed or gone since the study was begun"))
            return True
        again, state = record.state == "begun", record.state
        template = record.template if record.id else self._template.digest()
        record = self._records.keep(record, state="begun", where=self._runs.where, template=template)
        begun = self._runs.begin(record)
        if isinstance(begun, End):
            self._conclude(record, begun)
            return True
        if not begun and self._runs.where:
            self._records.keep(record, state=state)
            return False
        if begun != record.id:
            record = self._records.keep(record, id=begun)
        self._going[record.study] = record
        self._say(f"{name}: study {record.study} {'goes on' if again else 'begins'}")
        return True

    def _conclude(self, record: Record, end: End) -> None:
        """A study has ended: keep how, and write the answer; begin one again whose process was lost."""
        name = self._folder.name(record.measurement.path)
        if end.status == "lost" and record.lost < MOST_LOST:
            self._waiting.insert(0, self._records.keep(record, lost=record.lost + 1))
            self._say(f"{name}: {end.reason}; the study goes on")
            return
        if end.status == "lost":
            end = End("failed", f"{end.reason}, {record.lost + 1} times")
        self.failed += end.status != "finished"
        record = self._records.keep(record, state="ended", status=end.status, reason=end.reason, written=False)
        self._say(f"{name}: {in_words(record, self._records.result(record))}")
        if not self._write(record):
            self._unwritten.append(record)

    def _write(self, record: Record) -> bool:
        """Write the answer beside a measurement; false where that cannot be done now."""
        path = self._folder.answer(Path(record.path))
        try:
            write_answer(path, record, self._records.result(record))
        except (OSError, AutotuneError) as error:
            why = error.strerror if isinstance(error, OSError) else error.problems[0].what
            kept = f"its result is kept in {self._records.file(record, 'json')}"
            self._tell_once(str(path), f"cannot be written: {why}; {kept}, and writing is tried again")
            return False
        self._records.keep(record, written=True)
        self._told.discard(str(path))
        return True

    def _tell_once(self, path: str, trouble: str) -> None:
        if path not in self._told:
            self._say(f"{self._folder.name(Path(path))} {trouble}")
        self._told.add(path)
