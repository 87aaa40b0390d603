"""Every operation of a client, as steps that the blocking and the asynchronous client carry out."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from autotune.client.errors import ServiceError, refusal, strange
from autotune.client.persistence import persistently
from autotune.client.resources import Artifact, Checked, Study, read_plain, read_study
from autotune.client.steps import Answer, Call, Pause, Steps
from autotune.client.study_text import Submission, study_body
from autotune.errors import InputError, Problem

if TYPE_CHECKING:
    from autotune.results.document import StudyResult
    from autotune.tracking.registry import Calibration

Value = TypeVar("Value")
_PAGE = 500
_FIRST_LOOK, _LONGEST_LOOK = 0.2, 2.0
"""Seconds between two looks at a study that is waited for."""


@dataclass(frozen=True)
class Operations:
    """The operations of one client.

    Attributes:
        address: URL of the service, without a slash at its end.
        retry_seconds: time for which a request without an answer is repeated, in seconds.
    """

    address: str
    retry_seconds: float

    def submit(self, study: Submission, key: str | None) -> Steps[Study]:
        """See :meth:`autotune.client.blocking.Client.submit`."""
        body, kind = study_body(study)
        key = uuid.uuid4().hex if key is None else key
        if not 1 <= len(key) <= 255 or not all("!" <= character <= "~" for character in key):
            raise InputError(Problem("key", f"{key!r:.80} is no key", "give 1 to 255 ASCII characters without blanks"))
        headers = {"Content-Type": kind, "Idempotency-Key": key}
        call = Call("POST", self._path("studies"), headers=headers, body=body, again=(409,))
        return (yield from self._study(call))

    def check(self, study: Submission) -> Steps[Checked]:
        """See :meth:`autotune.client.blocking.Client.check`."""
        body, kind = study_body(study)
        call = Call("POST", self._path("check"), headers={"Content-Type": kind}, body=body)
        return (yield from self._read(call, lambda document: read_plain(Checked, document)))

    def get(self, study: str | Study) -> Steps[Study]:
        """See :meth:`autotune.client.blocking.Client.get`."""
        return (yield from self._study(Call("GET", self.of(study))))

    def list(self, states: Sequence[str], limit: int | None) -> Steps[tuple[Study, ...]]:
        """See :meth:`autotune.client.blocking.Client.list`."""
        if limit is not None and limit < 1:
            raise InputError(Problem("limit", f"{limit} is no number of studies", "give 1 or more, or None for all"))
        found: tuple[Study, ...] = ()
        more = True
        while more and (limit is None or len(found) < limit):
            count = _PAGE if limit is None else min(_PAGE, limit - len(found))
            query = [("limit", str(count)), *(("state", state) for state in states)]
            query += [("after", found[-1].id)] if found else []
            page, more = yield from self._read(Call("GET", self._path("studies"), tuple(query)), _page)
            found += page
        return found

    def wait(self, study: str | Study, timeout: float | None) -> Steps[Study]:
        """See :meth:`autotune.client.blocking.Client.wait`."""
        began, pause = time.monotonic(), _FIRST_LOOK
        while True:
            found = yield from self.get(study)
            if found.has_ended:
                return found
            left = float("inf") if timeout is None else timeout - (time.monotonic() - began)
            if left <= 0:
                raise TimeoutError(f"{found} after {timeout:g} s")
            yield Pause(min(pause, left))
            pause = min(1.5 * pause, _LONGEST_LOOK)

    def result(self, study: str | Study) -> Steps[StudyResult]:
        """See :meth:`autotune.client.blocking.Client.result`."""
        from pydantic import ValidationError

        from autotune.results.document import StudyResult

        call = Call("GET", self.of(study, "result"))
        document = yield from self._read(call, dict)
        try:
            return StudyResult.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            what = f"the result is of another version of autotune: {place}: {first['msg']}"
            raise ServiceError(Problem(call.where, what, "install the service's version here")) from error

    def artifacts(self, study: str | Study) -> Steps[tuple[Artifact, ...]]:
        """See :meth:`autotune.client.blocking.Client.artifacts`."""

        def read(document: Mapping[str, Any]) -> tuple[Artifact, ...]:
            return tuple(read_plain(Artifact, item) for item in document["artifacts"])

        return (yield from self._read(Call("GET", self.of(study, "artifacts")), read))

    def report(self, study: str | Study, path: Path) -> Steps[Path]:
        """See :meth:`autotune.client.blocking.Client.report`."""
        return (yield from self._download(self.of(study, "report"), path, "report.html"))

    def artifact(self, study: str | Study, name: str, path: Path) -> Steps[Path]:
        """See :meth:`autotune.client.blocking.Client.artifact`."""
        address = f"{self.of(study, 'artifacts')}/{quote(name, safe='/')}"
        return (yield from self._download(address, path, PurePosixPath(name).name))

    def log(self, study: str | Study) -> Steps[str]:
        """See :meth:`autotune.client.blocking.Client.log`."""
        answer, _ = yield from self._successful(Call("GET", self.of(study, "log")))
        return answer.body.decode(errors="replace")

    def cancel(self, study: str | Study) -> Steps[Study]:
        """See :meth:`autotune.client.blocking.Client.cancel`."""
        return (yield from self._changed(study, "cancel", ("cancelling", "cancelled")))

    def resume(self, study: str | Study) -> Steps[Study]:
        """See :meth:`autotune.client.blocking.Client.resume`."""
        return (yield from self._changed(study, "resume", ("queued", "starting", "running")))

    def delete(self, study: str | Study) -> Steps[None]:
        """See :meth:`autotune.client.blocking.Client.delete`."""
        call = Call("DELETE", self.of(study))
        answer, uncertain = yield from persistently(call, self.retry_seconds)
        if answer.status != 204 and not (answer.status == 404 and uncertain):
            raise refusal(call, answer)

    def calibration(self, name: str, alias: str) -> Steps[Calibration]:
        """See :meth:`autotune.client.blocking.Client.calibration`."""
        from autotune.tracking.registry import CalibratedParameter, Calibration

        def read(document: Mapping[str, Any]) -> Calibration:
            parameters = {key: _calibrated(value) for key, value in document["parameters"].items()}
            return read_plain(Calibration, {**document, "parameters": parameters})

        def _calibrated(value: Mapping[str, Any]) -> CalibratedParameter:
            interval = value["interval"]
            ends = None if interval is None else (float(interval[0]), float(interval[1]))
            return read_plain(CalibratedParameter, {**value, "interval": ends})

        address = self._path("calibrations", name)
        return (yield from self._read(Call("GET", address, (("alias", alias),)), read))

    def events(self, study: str | Study, after: int) -> Call:
        """The call that opens the stream of a study's events after one of them."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        return Call("GET", self.of(study, "events"), headers=headers | ({"Last-Event-ID": str(after)} if after else {}))

    def of(self, study: str | Study, *parts: str) -> str:
        """The address of a study, or of what belongs to it."""
        identifier = study.id if isinstance(study, Study) else study
        if not isinstance(identifier, str) or identifier.strip(".") == "":
            raise InputError(Problem("id", f"{identifier!r:.80} is no study's id", "give the id that submit returned"))
        return self._path("studies", identifier, *parts)

    def _path(self, *parts: str) -> str:
        return "/".join((f"{self.address}/api/v1", *(quote(part, safe="") for part in parts)))

    def _study(self, call: Call) -> Steps[Study]:
        return (yield from self._read(call, read_study))

    def _read(self, call: Call, read: Callable[[Mapping[str, Any]], Value]) -> Steps[Value]:
        """Make a call, and read the value that its answer's JSON describes."""
        answer, _ = yield from self._successful(call)
        return _value(call, answer, read)

    def _successful(self, call: Call) -> Steps[tuple[Answer, bool]]:
        answer, uncertain = yield from persistently(call, self.retry_seconds)
        if answer.status not in (200, 202):
            raise refusal(call, answer)
        return answer, uncertain

    def _changed(self, study: str | Study, action: str, wanted: Sequence[str]) -> Steps[Study]:
        """Have a study's state changed. A repeated request may be refused because an earlier one had its effect."""
        call = Call("POST", self.of(study, action))
        answer, uncertain = yield from persistently(call, self.retry_seconds)
        if answer.status == 409 and uncertain:
            found = yield from self.get(study)
            if found.state in wanted:
                return found
        if answer.status != 202:
            raise refusal(call, answer)
        return _value(call, answer, read_study)

    def _download(self, address: str, path: Path, name: str) -> Steps[Path]:
        target = path / name if path.is_dir() else path
        if not target.parent.is_dir():
            raise InputError(Problem(str(target), "its folder does not exist", "name a file in a folder that exists"))
        yield from self._successful(Call("GET", address, target=target))
        return target


def _value(call: Call, answer: Answer, read: Callable[[Mapping[str, Any]], Value]) -> Value:
    try:
        document = json.loads(answer.body)
        if isinstance(document, dict):
            return read(document)
    except (KeyError, TypeError, ValueError, RecursionError, AttributeError):
        pass
    raise strange(call, f"answers {answer.status} with what is no answer of an autotune service")


def _page(document: Mapping[str, Any]) -> tuple[tuple[Study, ...], bool]:
    studies = tuple(read_study(item) for item in document["studies"])
    return studies, document["next"] is not None and bool(studies)
