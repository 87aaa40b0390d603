"""The blocking client of the REST service."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import httpx

from autotune.client.connection import (
    answer_of,
    arguments,
    checked_address,
    parsed,
    request_headers,
    require_stream,
    stream_timeout,
    through_environment,
    unreachable,
    unwritten,
)
from autotune.client.errors import Unreachable, refusal
from autotune.client.event_stream import Following
from autotune.client.operations import Operations
from autotune.client.persistence import FIRST_WAIT, Attempts
from autotune.client.resources import Artifact, Checked, Event, Study
from autotune.client.steps import Answer, Call, Pause, Result, Steps
from autotune.client.study_text import Submission
from autotune.files import whole

if TYPE_CHECKING:
    from autotune.results.document import StudyResult
    from autotune.tracking.registry import Calibration


class Client:
    """The studies of one service. Threads may share a client; close it, or use it in a ``with`` block.

    A request that gets no answer, or is answered that the service is busy (429, 503), is repeated; none has its effect
    twice. A study may be given by its id or as a :class:`Study`. Every method raises :class:`ServiceError` where the
    service refuses, fails or cannot be reached, and :class:`autotune.errors.InputError` where an argument is wrong.

    Args:
        url: address of the service, such as ``http://127.0.0.1:8000``.
        token: token of the user; None for a service that demands none. It is in no message and no ``repr``.
        timeout: seconds to wait for a connection, and for each part of an answer.
        retry_seconds: time for which a request is repeated, in seconds; 0 for never.
        transport: how httpx sends requests; None for over the network.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        retry_seconds: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._do = Operations(checked_address(url), retry_seconds)
        self._timeout = timeout
        self._http = httpx.Client(
            headers=request_headers(token),
            timeout=timeout,
            transport=transport,
            trust_env=through_environment(self._do.address),
        )

    def __repr__(self) -> str:
        return f"Client({self._do.address!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; studies go on."""
        self._http.close()

    def submit(self, study: Submission, key: str | None = None) -> Study:
        """Queue a study.

        Args:
            study: the path of a study file; its text, of several lines or as JSON; or a dict. Paths in it are those of
                the service's machine.
            key: the same study with the same key is queued once; None for a new key.
        """
        return self._carry_out(self._do.submit(study, key))

    def check(self, study: Submission) -> Checked:
        """Have a study and its measurement read, and say what would be run; nothing is run."""
        return self._carry_out(self._do.check(study))

    def get(self, study: str | Study) -> Study:
        """The study as it is now."""
        return self._carry_out(self._do.get(study))

    def list(self, states: Sequence[str] = (), limit: int | None = 50) -> tuple[Study, ...]:
        """The studies of the service, the latest first.

        Args:
            states: the states to list; empty for all.
            limit: most studies to list; None for all.
        """
        return self._carry_out(self._do.list(states, limit))

    def wait(self, study: str | Study, timeout: float | None = None) -> Study:
        """Wait until a study has ended, and return it as it is then, whether it has finished or failed.

        Args:
            study: the study.
            timeout: most seconds to wait; None for no limit.

        Raises:
            TimeoutError: it has not ended by then.
        """
        return self._carry_out(self._do.wait(study, timeout))

    def events(self, study: str | Study, after: int = 0) -> Iterator[Event]:
        """The events of a study as they come, each once, until it has ended. Lost connections are opened again.

        Args:
            study: the study.
            after: id of an event: the events after it, instead of all.
        """
        following, known_to_have_ended = Following(after), False
        attempts = Attempts(self._do.events(study, after), self._do.retry_seconds)
        while True:
            call = self._do.events(study, following.after)
            following.connect()
            try:
                with self._open(call, stream_timeout(self._timeout)) as response:
                    wait = attempts.after_answer(response.status_code, response.headers)
                    if wait is None:
                        if response.status_code == 204:
                            return
                        if response.status_code != 200:
                            raise refusal(call, answer_of(response, response.read()))
                        require_stream(call, response)
                        for piece in response.iter_bytes():
                            yield from parsed(call, following, piece)
            except httpx.RequestError as error:
                if following.worked:
                    attempts.renew()
                wait = attempts.after_error(unreachable(error))
            if not following.silent:
                attempts.renew()
                wait = wait or 0.0
            elif wait is None:  # the stream has ended in order, and brought nothing
                if known_to_have_ended:
                    return
                known_to_have_ended = self.get(study).has_ended
                wait = 0.0 if known_to_have_ended else FIRST_WAIT
            time.sleep(wait)

    def result(self, study: str | Study) -> StudyResult:
        """The answer of a study: the content of result.json."""
        return self._carry_out(self._do.result(study))

    def artifacts(self, study: str | Study) -> tuple[Artifact, ...]:
        """The files of a study, by name."""
        return self._carry_out(self._do.artifacts(study))

    def artifact(self, study: str | Study, name: str, path: str | os.PathLike[str]) -> Path:
        """Download one of a study's files; what is there afterwards is whole. Returns its path.

        Args:
            study: the study.
            name: name of the file, as :meth:`artifacts` lists it.
            path: the file to write, or an existing folder to write it in.
        """
        return self._carry_out(self._do.artifact(study, name, Path(path)))

    def report(self, study: str | Study, path: str | os.PathLike[str]) -> Path:
        """Download the report of a study, an HTML page, as :meth:`artifact` does."""
        return self._carry_out(self._do.report(study, Path(path)))

    def log(self, study: str | Study) -> str:
        """What the study's process has printed on standard error: the last megabyte."""
        return self._carry_out(self._do.log(study))

    def cancel(self, study: str | Study) -> Study:
        """Cancel a study that has not ended. Its process ends some seconds later: see :meth:`wait`."""
        return self._carry_out(self._do.cancel(study))

    def resume(self, study: str | Study) -> Study:
        """Queue a study again that failed, or was cancelled or interrupted: it goes on where it was."""
        return self._carry_out(self._do.resume(study))

    def delete(self, study: str | Study) -> None:
        """Have the service forget a study that has ended. Its trials and files stay."""
        self._carry_out(self._do.delete(study))

    def calibration(self, name: str, alias: str = "champion") -> Calibration:
        """The answer that is registered under a name: each parameter with its interval."""
        return self._carry_out(self._do.calibration(name, alias))

    def _carry_out(self, steps: Steps[Result]) -> Result:
        try:
            step = next(steps)
            while True:
                try:
                    answer = self._step(step)
                except Unreachable as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result

    def _step(self, step: Call | Pause) -> Answer | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            with self._open(step) as response:
                if step.target is None or response.status_code != 200:
                    return answer_of(response, response.read())
                self._write(step, response)
                return answer_of(response, b"")
        except httpx.RequestError as error:
            raise unreachable(error) from error

    def _write(self, call: Call, response: httpx.Response) -> None:
        assert call.target is not None  # noqa: S101
        try:
            with whole(call.target) as temporary, temporary.open("wb") as stream:
                for piece in response.iter_bytes():
                    stream.write(piece)
        except OSError as error:
            raise unwritten(call, error) from error

    @contextmanager
    def _open(self, call: Call, timeout: httpx.Timeout | None = None) -> Iterator[httpx.Response]:
        given = arguments(call) | ({} if timeout is None else {"timeout": timeout})
        response = self._http.send(self._http.build_request(**given), stream=True)
        try:
            yield response
        finally:
            response.close()
