"""Processes of studies: ended states, lost ones, adoption, cancelling for sure, limits."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace

import psutil
import pytest

from autotune.service import board, supervisor
from autotune.service.event_log import read_events
from autotune.service.jobs import Job
from autotune.service.launcher import STUDY_OF
from autotune.service.settings import Limits, ServiceSettings
from tests.autotune.service.conftest import Running, serving, study

Serve = Callable[..., Running]


def job(service: Running, identifier: str) -> Job:
    found = service.app.state.board.get(identifier)
    assert found is not None
    return found


def submitted(service: Running, description: str, name: str = "toy") -> str:
    identifier: str = service.submit(study(description, name)).json()["id"]
    return identifier


def processes(settings: ServiceSettings, identifier: str) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            own = process.environ().get(STUDY_OF) == str(settings.job(identifier))
            if own and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


@pytest.mark.parametrize(
    ("description", "state"),
    [("", "finished"), ("exit 2", "rejected"), ("exit 3", "failed"), ("exit 4", "failed"), ("exit 130", "interrupted"),
     ("exit 99", "failed")],
)  # fmt: skip
def test_an_exit_code_is_a_state(description: str, state: str, settings: ServiceSettings, serve: Serve) -> None:
    service = serve(settings)
    identifier = submitted(service, description)
    assert service.until(identifier, "finished", "failed", "rejected", "interrupted") == state
    assert job(service, identifier).attempts == 1


def test_a_lost_process_is_started_again_but_not_for_ever(settings: ServiceSettings, serve: Serve) -> None:
    service = serve(replace(settings, limits=Limits(lost=2)))
    identifier = submitted(service, "die")
    service.until(identifier, "failed")
    ended = job(service, identifier)
    assert (ended.attempts, ended.lost) == (3, 3) and ended.reason == "its process was lost, 3 times"


@pytest.mark.slow
def test_a_process_that_lives_is_adopted_and_its_end_is_seen(settings: ServiceSettings, serve: Serve) -> None:
    with serving(settings) as first:
        lives, ends, waits = (
            submitted(first, "sleep 6"),
            submitted(first, "sleep 0.7", "ends"),
            submitted(first, "", "waits"),
        )
        first.until(lives, "running")
        first.until(ends, "running")
        before = job(first, lives)
    time.sleep(1)  # the second one ends while nobody looks
    service = serve(settings)
    after = job(service, lives)
    assert (after.state, after.pid, after.pid_started, after.attempts) == ("running", before.pid, before.pid_started, 1)
    for identifier in (ends, waits, lives):
        service.until(identifier, "finished")
        assert job(service, identifier).attempts == 1


def test_a_process_lost_while_nobody_looked_is_started_again(settings: ServiceSettings, serve: Serve) -> None:
    with serving(settings) as first:
        identifier = submitted(first, "sleep 600")
        first.until(identifier, "running")
        pid = job(first, identifier).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    service = serve(settings)
    end = time.monotonic() + 20
    while job(service, identifier).attempts < 2 or job(service, identifier).state != "running":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert job(service, identifier).pid != pid


@pytest.mark.slow
def test_one_that_was_started_but_not_noted_is_found(settings: ServiceSettings, serve: Serve) -> None:
    """The service is killed between starting a process and writing that down."""
    with serving(settings) as first:
        identifier = submitted(first, "sleep 3")
        first.until(identifier, "running")
        known = job(first, identifier)
        first.app.state.board.note(known, state="starting", pid=None, pid_started=None)
        first.app.state.supervisor.stop()
        first.app.state.board.note(known, state="starting", pid=None, pid_started=None)
    service = serve(settings)
    service.until(identifier, "running")
    assert job(service, identifier).pid == known.pid
    service.until(identifier, "finished")
    assert job(service, identifier).attempts == 1


def test_cancelling_ends_what_does_not_listen_and_its_children(
    settings: ServiceSettings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "GRACE", 1.0)
    service = serve(settings)
    identifier = submitted(service, "deaf child sleep 600")
    service.until(identifier, "running")
    while len(processes(settings, identifier)) < 2:
        time.sleep(0.05)
    with service.client() as client:
        began = time.monotonic()
        client.post(f"/studies/{identifier}/cancel")
        service.until(identifier, "cancelled")
    assert not processes(settings, identifier) and 1.0 <= time.monotonic() - began < 10


def test_children_that_a_finished_process_leaves_are_ended(settings: ServiceSettings, serve: Serve) -> None:
    service = serve(settings)
    identifier = submitted(service, "child")
    service.until(identifier, "finished")
    assert not processes(settings, identifier)


@pytest.mark.slow
def test_limits_of_time_and_memory_fail_a_study(
    settings: ServiceSettings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_LIMITS", 0.1)
    service = serve(replace(settings, limits=Limits(seconds=4.0, memory=200_000_000, parallel=2)))
    slow, large = submitted(service, "sleep 600"), submitted(service, "hungry sleep 600")
    for identifier, what in ((large, "GB of the 0.20 GB"), (slow, "longer than the 4 s")):
        assert service.until(identifier, "failed", "finished", "cancelled") == "failed"
        assert what in job(service, identifier).reason


def test_each_user_has_a_share(settings: ServiceSettings, serve: Serve) -> None:
    service = serve(replace(settings, limits=Limits(parallel=2, parallel_each=1)))
    first, second = submitted(service, "sleep 600", "a"), submitted(service, "sleep 600", "b")
    board = service.app.state.board
    other, _ = board.submit(study("sleep 600", "c"), "another", None)
    service.until(first, "running")
    service.until(other.id, "running")
    time.sleep(0.5)
    assert job(service, second).state == "queued" and board.position(job(service, second)) == 1


def test_trouble_is_said_and_passes(settings: ServiceSettings, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    service = serve(settings)
    watching = service.app.state.supervisor

    def broken() -> list[Job]:
        raise OSError("the disk is gone")

    monkeypatch.setattr(service.app.state.board, "waiting", broken)
    identifier = submitted(service, "")
    end = time.monotonic() + 10
    while not watching.trouble:
        assert time.monotonic() < end
        time.sleep(0.02)
    with service.client() as client:
        ready = client.get(f"{service.url}/readyz")
        assert ready.status_code == 503 and "the disk" not in ready.text
    monkeypatch.undo()
    service.until(identifier, "finished")
    assert not watching.trouble


def test_a_full_disk_keeps_events_back_and_loses_none(
    settings: ServiceSettings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = serve(settings)
    real = board.append_event

    def full(*arguments: object, **facts: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(board, "append_event", full)
    identifier = submitted(service, "sleep 0.2")
    service.until(identifier, "finished")
    monkeypatch.setattr(board, "append_event", real)
    end = time.monotonic() + 10
    while True:
        path = service.app.state.board.events(job(service, identifier))
        states = [event["state"] for _, event in read_events(path, 0) if event["event"] == "state"]
        if states:
            break
        assert time.monotonic() < end
        time.sleep(0.05)
    assert states == ["queued", "starting", "running", "finished"]
