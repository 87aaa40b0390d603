"""Where the studies of measurements are run: the protocol, and what they end with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from autotune.watching.records import Record


@dataclass(frozen=True)
class End:
    """How a study ended. Its result, where it has one, is in the records' folder.

    Attributes:
        status: finished, failed, rejected (nothing was run), or as the service says; ``lost`` where the process is gone
            and the study is to be begun again.
        reason: why, in words; may be empty.
    """

    status: str
    reason: str


class Runs(Protocol):
    """Runs studies."""

    where: str
    """Address of the service; empty where they are run here."""
    pace: float
    """Seconds between two looks at what runs."""

    def has_room(self) -> bool:
        """Whether another study may be begun now."""

    def begin(self, record: Record) -> str | End:
        """Begin a measurement's study, or go on with it; returns its id in the service, or that it cannot be run."""

    def end(self, record: Record) -> End | None:
        """How a study that was begun has ended; None while it goes on."""

    def stop(self) -> None:
        """End what runs here, in order; it can be gone on with."""
