"""What the operator of a service decides: where studies and data are, who may use it, and how much each may take."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from autotune.home import Home
from autotune.tracking.place import default_address

MOST_BYTES = 1_000_000
"""Bytes of a request's body; a study file has no more."""


@dataclass(frozen=True)
class Limits:
    """How much one service, and one user of it, may take.

    Attributes:
        parallel: studies that run at once.
        queued: studies that may wait, of all users.
        parallel_each, queued_each: the same for each user.
        seconds: wall-clock time that a study's process may take, in seconds; None for no limit.
        memory: memory of a study's processes together, in bytes; None for no limit.
        trials: largest budget of trials that a study may state.
        submissions: submissions of one user in a minute.
        requests: requests of one address in a second.
        streams: event streams that are open at once.
        lost: how often a study whose process was lost is queued again.
    """

    parallel: int = 1
    queued: int = 1000
    parallel_each: int = 1000
    queued_each: int = 1000
    seconds: float | None = None
    memory: int | None = None
    trials: int = 10_000
    submissions: int = 600
    requests: int = 2000
    streams: int = 200
    lost: int = 5


@dataclass(frozen=True)
class ServiceSettings:
    """The settings of one service.

    Attributes:
        home: where studies are kept.
        host, port: the address that it listens on.
        roots: folders below which a study may read; relative paths in a study start from the first.
        objectives: names of the objectives that a study may state.
        backends: names of the packages that a study may have reconstruct; their own options are the operator's.
        tokens: whether every request needs a token.
        limits: see :class:`Limits`.
        overrides: ``dotted.key=value`` each, which every study is run with: its execution and tracking.
        slurm: whether each study is a job of SLURM instead of a process of this machine.
        slurm_options: further options of ``sbatch``.
        names: further host names that a request may be for, beside the address.
    """

    home: Home
    host: str = "127.0.0.1"
    port: int = 8000
    roots: tuple[Path, ...] = ()
    objectives: tuple[str, ...] = ("ptychography",)
    backends: tuple[str, ...] = ()
    tokens: bool = False
    limits: Limits = field(default_factory=Limits)
    overrides: tuple[str, ...] = ()
    slurm: bool = False
    slurm_options: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The service's own folder in the home."""
        return self.home.folder / "service"

    @property
    def tracking_uri(self) -> str:
        """Where studies are recorded in MLflow."""
        stated = [text.partition("=")[2] for text in self.overrides if text.startswith("tracking.uri=")]
        return stated[-1] if stated else default_address(self.home)

    def job(self, identifier: str) -> Path:
        """The folder of one study of the queue."""
        return self.folder / "studies" / identifier


def is_loopback(host: str) -> bool:
    """Whether an address reaches this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
