"""Which runs of a study are alive: each keeps a lease in the store and renews it while its process lives.

A running trial belongs to a run (:attr:`autotune.store.records.TrialRecord.owner`); where that run's lease has ended,
the trial is nobody's and is released. Optuna's own heartbeats work only inside ``Study.optimize``.

A lease is one attribute of the study, ``autotune:lease:N``: the run's name and when it expires, in UTC. Machines that
share a study need clocks that agree to some seconds. Slots are taken and given back while the study's lock is held
(:mod:`autotune.store.locks`); a slot is renewed by its holder alone, and only while the lease has not expired, so no
two ever write the same one.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from autotune.store.facts import LeaseFact
from autotune.store.trials import TrialStore

LEASE_SECONDS = 60.0
"""Seconds after its last renewal at which a lease expires; its run then counts as dead."""
_RENEWALS = 4.0  # per LEASE_SECONDS
_STARTED = Path("/proc/sys/kernel/random/boot_id")  # Linux alone has it


def alive(store: TrialStore) -> frozenset[str]:
    """The names of the runs that hold a lease."""
    return frozenset(lease.owner for lease in store.facts.leases.values() if _holds(lease))


class Lease:
    """One run's lease. After :meth:`take` a thread of its own renews it, until :meth:`give_back`.

    Attributes:
        owner: the run's name: machine, process id, start of the process, and a random part, separated by colons.
    """

    def __init__(self, store: TrialStore, seconds: float = LEASE_SECONDS) -> None:
        self.owner = f"{_machine()}:{os.getpid()}:{_began(os.getpid())}:{uuid.uuid4().hex[:8]}"
        self._store, self._seconds = store, seconds
        self._slot: int | None = None
        self._expires = datetime.now(UTC)
        self._given_back = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="autotune-lease", daemon=True)

    def take(self) -> None:
        """Take a lease, or take it anew where it has expired because this process slept or the store did not answer.

        The study's lock must be held.
        """
        if self._slot is not None and not self.lapsed:
            return
        leases = self._store.facts.leases
        own = {slot for slot, lease in leases.items() if lease.owner == self.owner}
        free = own | {slot for slot, lease in leases.items() if not _holds(lease)}
        free.add(next(slot for slot in range(len(leases) + 1) if slot not in leases))
        self._write(min(free))
        if not self._thread.is_alive():
            self._thread.start()

    @property
    def lapsed(self) -> bool:
        """Whether the lease has expired, so that it must be taken anew."""
        return datetime.now(UTC) >= self._expires

    def give_back(self, seconds: float = 2.0) -> None:
        """End the lease: from now on the trials that this run still has running belong to no run.

        Args:
            seconds: longest wait for a renewal that is under way, of a store that does not answer.
        """
        if self._given_back.is_set():
            return
        self._given_back.set()
        if self._thread.is_alive():
            self._thread.join(timeout=seconds)
        if self._slot is not None and not self.lapsed:
            self._seconds = 0.0
            self._write(self._slot)

    def _write(self, slot: int) -> None:
        expires = datetime.now(UTC) + timedelta(seconds=self._seconds)
        self._store.keep_lease(slot, LeaseFact(self.owner, expires))
        self._slot, self._expires = slot, expires

    def _renew(self) -> None:
        """Renew the lease, in its own thread. A store that does not answer is tried again; meanwhile it may expire."""
        while not self._given_back.wait(self._seconds / _RENEWALS):
            if self._slot is not None and not self.lapsed:
                with suppress(Exception):
                    self._write(self._slot)


def _holds(lease: LeaseFact) -> bool:
    """Whether a lease has not expired, and its process still exists where this process can see it."""
    if datetime.now(UTC) >= lease.expires:
        return False
    machine, pid, began, _ = lease.owner.rsplit(":", 3)
    return bool(machine != _machine() or _began(int(pid)) == began)


def _machine() -> str:
    """Name of this machine, its boot, and the group of processes that see each other on it, as far as is known.

    The host name alone would not do: machines made from one image may have the same.
    """
    try:
        processes = (Path("/proc/self/ns/pid")).readlink().name
    except OSError:
        processes = ""
    started = ""
    with suppress(OSError):
        started = _STARTED.read_text(encoding="ascii").strip()
    return f"{socket.gethostname()}/{started}/{processes.removeprefix('pid:')}"


def _began(pid: int) -> str:
    """Start of a process as text, which tells it from a later process of the same id; empty where there is none."""
    import psutil

    try:
        # Ticks since the machine was started: the clock may be set meanwhile.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
    with suppress(psutil.Error):
        return f"{psutil.Process(pid).create_time():.0f}"
    return ""
