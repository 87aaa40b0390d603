"""The queue: every study that was submitted, in memory and in the table, and each change of its state.

One process at a time has a board of a home. What it changes is in the table before anyone sees it.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import shutil
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from autotune.errors import Problem
from autotune.files import write_whole
from autotune.service.database import JobTable
from autotune.service.event_log import EVENTS, append_event, now
from autotune.service.intake import accept
from autotune.service.job_files import EXIT, STUDY
from autotune.service.jobs import ACTIVE, ENDED, RESUMABLE, WAITING, Job, State
from autotune.service.problems import Refused
from autotune.service.progress import Follower, Progress
from autotune.service.settings import ServiceSettings

_ID_BYTES = 6
_log = logging.getLogger(__name__)


def new_identifier() -> str:
    """A study's identifier that no other has."""
    return secrets.token_hex(_ID_BYTES)


class Board:
    """The studies of a service.

    Args:
        settings: of the service.
        table: where the studies are kept.
    """

    def __init__(self, settings: ServiceSettings, table: JobTable) -> None:
        self.settings, self._table = settings, table
        self.lock = threading.RLock()
        """Held while a study's state is looked at and changed."""
        self._jobs = {job.id: job for job in table.all()}
        self._followers: dict[str, Follower] = {}
        self._unsaid: list[tuple[Job, str]] = []
        self.changed = threading.Event()
        """Set where there may be something to do."""

    def get(self, identifier: str) -> Job | None:
        """A study by its identifier."""
        return self._jobs.get(identifier)

    def all(self, states: Collection[State] | None = None) -> list[Job]:
        """All studies, or those in some states, in the order of their submission."""
        with self.lock:
            jobs = list(self._jobs.values())
        return [job for job in jobs if states is None or job.state in states]

    def waiting(self) -> list[Job]:
        """The studies that wait, the next one first."""
        return sorted(self.all(WAITING), key=lambda job: job.queued_at)

    def position(self, job: Job) -> int | None:
        """How many studies are before a waiting one, itself included; None for one that does not wait."""
        if job.state not in WAITING:
            return None
        return 1 + sum(other.queued_at < job.queued_at for other in self.all(WAITING))

    def progress(self, job: Job) -> Progress:
        """How far a study is."""
        return self._follower(job).now()

    def is_far_behind(self, job: Job) -> bool:
        """Whether :meth:`progress` would have to read for long."""
        return self._follower(job).is_far_behind

    def say_rest(self) -> None:
        """Add the changes of states that are not in the studies' events yet: the disk may be full for a while."""
        with self.lock:
            while self._unsaid:
                job, when = self._unsaid[0]
                try:
                    append_event(self.events(job), "state", time=when, state=job.state, reason=job.reason)
                except FileNotFoundError:
                    pass  # the study was forgotten meanwhile
                except OSError as error:
                    _log.warning("events are kept back: %s", error.strerror)
                    return
                self._unsaid.pop(0)

    def steps(self, job: Job) -> list[tuple[int, float]]:
        """Where a study's best value changed: how many trials had ended, and the value."""
        follower = self._follower(job)
        follower.now()
        return follower.steps

    def events(self, job: Job) -> Path:
        """The file of a study's events."""
        return self.settings.job(job.id) / EVENTS

    def submit(self, text: str, owner: str, key: str | None) -> tuple[Job, bool]:
        """Queue a study; returns it, and whether it is new.

        Args:
            text: the study, YAML or JSON.
            owner: who submits it.
            key: his idempotency key: with the same one, the same text is one study.

        Raises:
            InputError: the study is not one that may be run.
            Refused: the queue is full, or the key was used for another study.
        """
        body = hashlib.sha256(text.encode()).hexdigest()
        if known := self._same(owner, key, body):
            return known, False
        identifier = new_identifier()
        accepted = accept(text, identifier, self.settings, self.study_of)
        folder = self.settings.job(identifier)
        with self.lock:
            if known := self._same(owner, key, body):  # another request was faster
                return known, False
            self._require_room(owner)
            try:
                folder.mkdir(parents=True)
                write_whole(folder / STUDY, accepted.text)
            except OSError as error:
                shutil.rmtree(folder, ignore_errors=True)
                _log.error("a study cannot be kept: %s", error)
                full = "the service's disk does not take the study; try again later"
                raise Refused(503, full, headers={"Retry-After": "60"}) from error
            job = self._table.add(
                {
                    "id": identifier,
                    "name": accepted.name,
                    "study": accepted.study,
                    "state": "queued",
                    "owner": owner,
                    "created": now(),
                    "queued_at": self._next_place(),
                    "data": accepted.data,
                    "key": key,
                    "body": body,
                }
            )
            if job is None:
                shutil.rmtree(folder, ignore_errors=True)
                raise Refused(409, "another study was submitted with this Idempotency-Key meanwhile; ask again")
            self._publish(job)
        return job, True

    def change(self, job: Job, state: State, reason: str = "", **values: Any) -> Job:
        """Bring a study into a state."""
        if state in ENDED:
            values |= {"ended": now(), "pid": None, "pid_started": None, "stop_at": None, "stop_for": None}
        with self.lock:
            job = self._table.change(job, {"state": state, "reason": reason, **values})
            self._publish(job)
        return job

    def has_started(self, job: Job, **values: Any) -> Job:
        """Note the process of a study; one that was cancelled meanwhile stays so, and one that waits in SLURM waits."""
        with self.lock:
            job = self._jobs[job.id]
            if values.keys() == {"slurm"}:
                return self.note(job, **values)
            state: State = "cancelling" if job.state == "cancelling" else "running"
            return self.change(job, state, job.reason, started=now(), **values)

    def note(self, job: Job, **values: Any) -> Job:
        """Change values of a study that are not its state."""
        with self.lock:
            job = self._table.change(job, values)
            self._jobs[job.id] = job
        return job

    def cancel(self, job: Job, stop_at: float, reason: str, stop_for: State = "cancelled") -> Job:
        """Cancel a study that waits, or have the process of one that runs told to stop.

        Raises:
            Refused: it has ended.
        """
        with self.lock:
            job = self._jobs[job.id]
            if job.state == "cancelling":
                return job
            if job.has_ended:
                raise Refused(409, f"the study has ended: it is {job.state}")
            if job.state in WAITING:
                return self.change(job, stop_for, reason)
            return self.change(job, "cancelling", reason, stop_at=stop_at, stop_for=stop_for)

    def resume(self, job: Job) -> Job:
        """Queue a study again that ended before its budget was used.

        Raises:
            Refused: it did not, or the queue is full.
        """
        with self.lock:
            job = self._jobs[job.id]
            if job.state not in RESUMABLE:
                raise Refused(409, f"the study is {job.state}; one that is {', '.join(RESUMABLE)} can be resumed")
            self._require_room(job.owner)
            # Or the end of its last process would be taken for that of the next, were the service killed in between.
            (self.settings.job(job.id) / EXIT).unlink(missing_ok=True)
            return self.change(job, "queued", lost=0, ended=None, queued_at=self._next_place())

    def remove(self, job: Job) -> None:
        """Forget a study that has ended, and delete its folder in the queue.

        Raises:
            Refused: it has not ended.
        """
        with self.lock:
            job = self._jobs[job.id]
            if not job.has_ended:
                raise Refused(409, f"the study is {job.state}: cancel it first")
            self._table.remove(job)
            del self._jobs[job.id]
            self._followers.pop(job.id, None)
        shutil.rmtree(self.settings.job(job.id), ignore_errors=True)

    def counts(self) -> Iterator[tuple[State, int]]:
        """How many studies are in each state."""
        states = [job.state for job in self.all()]
        for state in (*WAITING, *ACTIVE, *ENDED):
            yield state, states.count(state)

    def _follower(self, job: Job) -> Follower:
        follower = self._followers.get(job.id)
        if follower is None:
            follower = self._followers.setdefault(job.id, Follower(self.events(job)))
        return follower

    def _same(self, owner: str, key: str | None, body: str) -> Job | None:
        """The study that was submitted with a key; None for none."""
        found = None if key is None else self._table.by_key(owner, key)
        if found is None:
            return None
        job, before = found
        if before != body:
            what = Problem(
                "Idempotency-Key", "belongs to a study with another text", "use another key for another study"
            )
            raise Refused(422, "this Idempotency-Key was used with another study", [what])
        return self._jobs.get(job.id, job)

    def study_of(self, identifier: str) -> str | None:
        """A study's name in the trial store, by its identifier here; None where there is none."""
        job = self.get(identifier)
        return None if job is None else job.study

    def _require_room(self, owner: str) -> None:
        waiting, limits = self.all(WAITING), self.settings.limits
        if len(waiting) >= limits.queued:
            raise Refused(503, f"the queue is full: {len(waiting)} studies wait", headers={"Retry-After": "60"})
        own = sum(job.owner == owner for job in waiting)
        if own >= limits.queued_each:
            raise Refused(429, f"{own} of your studies wait; more may not", headers={"Retry-After": "60"})

    def _next_place(self) -> int:
        return 1 + max((job.queued_at for job in self._jobs.values()), default=0)

    def _publish(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._unsaid.append((job, now()))
        self.say_rest()
        self.changed.set()
