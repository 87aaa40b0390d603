"""Who is alive: leases that are renewed, expire, are taken anew and given back."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from autotune.objective import Metric
from autotune.store.leases import Lease, _began, _machine, alive
from autotune.store.trials import TrialStore


@pytest.fixture
def store(tmp_path: Path) -> TrialStore:
    return TrialStore.create(f"sqlite:///{tmp_path / 'trials.db'}", "s", Metric("consistency", "maximize"), {})


def slots(store: TrialStore) -> list[str]:
    return sorted(key for key in store.facts if key.startswith("autotune:lease:"))


def test_a_lease_is_renewed_until_it_is_given_back(store: TrialStore) -> None:
    lease = Lease(store, seconds=0.4)
    assert lease.lapsed and alive(store) == frozenset()
    lease.take()
    for _ in range(8):
        time.sleep(0.1)
        assert alive(store) == {lease.owner} and not lease.lapsed
    lease.give_back()
    assert alive(store) == frozenset()


def test_slots_are_used_again(store: TrialStore) -> None:
    first, second, third = Lease(store), Lease(store), Lease(store)
    first.take()
    second.take()
    assert alive(store) == {first.owner, second.owner}
    first.give_back()
    third.take()
    assert alive(store) == {second.owner, third.owner}
    assert len(slots(store)) == 2
    second.give_back()
    third.give_back()


def test_a_lease_that_lapsed_is_not_renewed_but_taken_anew(store: TrialStore, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = Lease(store, seconds=0.2)
    with monkeypatch.context() as patch:
        patch.setattr("autotune.store.leases._RENEWALS", 0.5)  # as if the process slept
        lease.take()
        time.sleep(0.25)
    assert lease.lapsed and alive(store) == frozenset()
    other = Lease(store)
    other.take()  # the slot that is free now
    lease.take()
    assert alive(store) == {lease.owner, other.owner}
    assert len(slots(store)) == 2
    lease.give_back()
    other.give_back()


def test_the_dead_hold_nothing(store: TrialStore) -> None:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    expires = "2999-01-01T00:00:00+00:00"
    own = _began(int(done.stdout)) or "12345"
    store.set_fact("autotune:lease:0", {"owner": f"{_machine()}:{done.stdout.strip()}:{own}:aa", "expires": expires})
    assert alive(store) == frozenset()
    elsewhere = f"another:{done.stdout.strip()}:{own}:aa"
    store.set_fact("autotune:lease:0", {"owner": elsewhere, "expires": expires})
    assert alive(store) == {elsewhere}
    store.set_fact("autotune:lease:0", {"owner": elsewhere, "expires": "2020-01-01T00:00:00+00:00"})
    assert alive(store) == frozenset()


def test_machines_of_one_name_are_told_apart(
    store: TrialStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    (tmp_path / "boot_id").write_text("another machine, made from the same image\n")
    with monkeypatch.context() as patch:
        patch.setattr("autotune.store.leases._STARTED", tmp_path / "boot_id")
        owner = f"{_machine()}:{done.stdout.strip()}:12345:aa"
    store.set_fact("autotune:lease:0", {"owner": owner, "expires": "2999-01-01T00:00:00+00:00"})
    assert alive(store) == {owner}  # although no process of that number is here
    monkeypatch.setattr("autotune.store.leases._STARTED", tmp_path / "boot_id")
    assert alive(store) == frozenset()
    monkeypatch.setattr("autotune.store.leases._STARTED", tmp_path / "none")
    assert _machine().count("/") == 2


def test_another_process_of_the_same_number_is_not_the_same(store: TrialStore) -> None:
    lease = Lease(store)
    machine, pid, began, key = lease.owner.rsplit(":", 3)
    assert began
    expires = "2999-01-01T00:00:00+00:00"
    store.set_fact("autotune:lease:0", {"owner": f"{machine}:{pid}:{int(began) - 100}:{key}", "expires": expires})
    assert alive(store) == frozenset()
    store.set_fact("autotune:lease:0", {"owner": lease.owner, "expires": expires})
    assert alive(store) == {lease.owner}
