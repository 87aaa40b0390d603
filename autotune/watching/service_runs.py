"""Has a service run the studies of measurements: all are queued there, and asked for until they have ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from autotune.errors import AutotuneError, InputError
from autotune.watching.records import Record, Records
from autotune.watching.runs import End
from autotune.watching.template import Template

if TYPE_CHECKING:
    from autotune.client import Client, Study

_MISTAKES = (400, 409, 413, 415, 422)
"""Statuses that say that this study cannot be run there."""
_FORBIDDEN = (401, 403)
_REST = 5.0
"""Seconds after which a service that did not answer is asked again."""
_MOST = 100
"""Studies that are asked for at once; further ones wait here."""


class ServiceRuns:
    """Has a service run studies.

    Args:
        address: of the service, for the records.
        client: speaks to it, and repeats nothing: the watch goes on meanwhile.
        records: the records of the folder.
        template: what studies are made from.
        say: prints a line.
    """

    pace = 1.0

    def __init__(
        self, address: str, client: Client, records: Records, template: Template, say: Callable[[str], None]
    ) -> None:
        self.where = address
        self._client, self._records, self._template, self._say = client, records, template, say
        self._going: set[str] = set()
        self._rests_until, self._trouble = 0.0, ""

    def has_room(self) -> bool:
        """See :class:`autotune.watching.runs.Runs`."""
        return len(self._going) < _MOST and not self._rests

    def begin(self, record: Record) -> str | End:
        """See :class:`autotune.watching.runs.Runs`."""
        if record.id:
            self._going.add(record.study)
            return record.id
        try:
            file = self._template.study(record.measurement.path, record.study)
        except InputError as error:
            return End("rejected", "; ".join(map(str, error.problems)))
        study = self._ask(lambda: self._client.submit(file.text, key=f"{record.study}.{record.template[:8]}"))
        if study is None:
            return ""
        if isinstance(study, End):
            return study
        self._going.add(record.study)
        return study.id

    def end(self, record: Record) -> End | None:
        """See :class:`autotune.watching.runs.Runs`."""
        if self._rests:
            return None
        study = self._ask(lambda: self._client.get(record.id), gone="the service does not have the study any more")
        if study is not None and not isinstance(study, End) and study.has_ended:
            study = self._collected(record, study)
        elif not isinstance(study, End):
            return None
        if study is not None:
            self._going.discard(record.study)
        return study

    def stop(self) -> None:
        """See :class:`autotune.watching.runs.Runs`: the service goes on."""
        self._client.close()

    @property
    def _rests(self) -> bool:
        return time.monotonic() < self._rests_until

    def _collected(self, record: Record, study: Study) -> End | None:
        """Keep the result of a study that has ended; None where the service does not answer."""
        from autotune.client import ServiceError

        path = self._records.file(record, "json")
        path.unlink(missing_ok=True)
        try:
            self._client.artifact(study, "result.json", path)
        except ServiceError as error:
            if error.status != 404:  # a study that did not run has none
                self._rest(error)
                return None
        return End(study.state, study.reason)

    def _ask(self, ask: Callable[[], Study], gone: str = "") -> Study | End | None:
        """The service's answer; an end where there can be none; None where it is to be asked again.

        Raises:
            ServiceError: the token does not do.
        """
        from autotune.client import ServiceError

        try:
            study = ask()
        except ServiceError as error:
            if error.status in _FORBIDDEN:
                raise
            if error.status in _MISTAKES:
                return End("rejected", "; ".join(map(str, error.problems)))
            if error.status == 404 and gone:
                return End("failed", gone)
            self._rest(error)
            return None
        if self._trouble:
            self._say("the service answers again")
        self._trouble = ""
        return study

    def _rest(self, error: AutotuneError) -> None:
        self._rests_until = time.monotonic() + _REST
        if not self._trouble:
            self._say(f"{error.problems[0]}; it is asked again every {_REST:g} s")
        self._trouble = str(error)
