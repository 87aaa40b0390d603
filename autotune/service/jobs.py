"""A study in the queue: its states, and which follows which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal[
    "queued", "starting", "running", "cancelling", "finished", "failed", "rejected", "cancelled", "interrupted"
]
WAITING: tuple[State, ...] = ("queued",)
ACTIVE: tuple[State, ...] = ("starting", "running", "cancelling")
ENDED: tuple[State, ...] = ("finished", "failed", "rejected", "cancelled", "interrupted")
RESUMABLE: tuple[State, ...] = ("failed", "cancelled", "interrupted")
IN_WORDS: dict[State, str] = {
    "queued": "waits for its turn",
    "starting": "its process is being started",
    "running": "its trials are being evaluated",
    "cancelling": "is being cancelled",
    "finished": "has its answer",
    "failed": "has failed",
    "rejected": "could not be run as it is",
    "cancelled": "was cancelled",
    "interrupted": "was ended from outside; it can be resumed",
}


@dataclass(frozen=True)
class Job:
    """One study of the queue.

    Attributes:
        number: its place among all that were ever submitted.
        id: its public identifier.
        name: the study's name, as its file has it.
        study: its name in the trial store.
        state: see :data:`IN_WORDS`.
        reason: why it is in this state, in words; empty for none.
        owner: who submitted it.
        created, started, ended: UTC times, ISO 8601; None before.
        queued_at: number by which the queue is sorted: later ones wait longer.
        attempts: how often its process was started.
        lost: how often its process was lost.
        pid, pid_started: its process, and when that began (seconds since the epoch); None without one.
        stop_at: time, seconds since the epoch, at which it was told to stop; None where it was not.
        stop_for: state that it ends in where it was told to stop, cancelled or failed; None where it was not.
        slurm: its job of SLURM; None without one.
        data: the measurement's path, for people; empty where there is none.
    """

    number: int
    id: str
    name: str
    study: str
    state: State
    reason: str
    owner: str
    created: str
    started: str | None
    ended: str | None
    queued_at: int
    attempts: int
    lost: int
    pid: int | None
    pid_started: float | None
    stop_at: float | None
    stop_for: State | None
    slurm: str | None
    data: str

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state in ENDED
