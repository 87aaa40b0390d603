"""A service whose studies are jobs of a real SLURM, set up on this machine for the test."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from autotune.service.settings import Limits, ServiceSettings
from autotune.service.slurm import SlurmLauncher, require_slurm
from tests.autotune.service.conftest import TOY, serving, settings, study
from tests.slurm.server import Slurm

__all__ = ["settings"]
pytestmark = pytest.mark.slow


@pytest.fixture
def on_slurm(cluster: Slurm, settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch) -> ServiceSettings:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    require_slurm()
    return replace(settings, slurm=True, limits=Limits(parallel=4))


def jobs(cluster: Slurm) -> list[str]:
    return cluster.command("squeue", "--noheader", "--format=%i").split()


def test_studies_are_jobs_that_outlive_the_service(cluster: Slurm, on_slurm: ServiceSettings) -> None:
    with serving(on_slurm, TOY, SlurmLauncher) as service:
        lives = service.submit(study("sleep 6")).json()["id"]
        service.until(lives, "running", seconds=60)
        before = service.app.state.board.get(lives)
        assert before.slurm in jobs(cluster)
    with serving(on_slurm, TOY, SlurmLauncher) as service:
        fails = service.submit(study("exit 3")).json()["id"]
        after = service.app.state.board.get(lives)
        assert (after.state, after.slurm, after.attempts) == ("running", before.slurm, 1)
        service.until(lives, "finished", seconds=60)
        service.until(fails, "failed", seconds=60)
        with service.client() as client:
            assert client.get(f"/studies/{lives}").json()["progress"]["best"] == 0.5
            assert "it went wrong" in client.get(f"/studies/{fails}/log").text


def test_jobs_are_cancelled_where_they_wait_and_where_they_run(cluster: Slurm, on_slurm: ServiceSettings) -> None:
    with serving(on_slurm, TOY, SlurmLauncher) as service:
        running = [service.submit(study("deaf child sleep 600", f"s{n}")).json()["id"] for n in range(4)]
        end = time.monotonic() + 60
        while not any(service.state(one) == "running" for one in running):
            assert time.monotonic() < end
            time.sleep(0.1)
        began = time.monotonic()
        with service.client() as client:
            for one in running:
                assert client.post(f"/studies/{one}/cancel").status_code == 202
        for one in running:
            service.until(one, "cancelled", seconds=60)
        assert not jobs(cluster) and time.monotonic() - began < 25


def test_a_job_that_is_lost_is_submitted_again(cluster: Slurm, on_slurm: ServiceSettings) -> None:
    with serving(on_slurm, TOY, SlurmLauncher) as service:
        identifier = service.submit(study("sleep 600")).json()["id"]
        service.until(identifier, "running", seconds=60)
        first = service.app.state.board.get(identifier).slurm
        cluster.command("scancel", "--signal=KILL", "--full", first)
        end = time.monotonic() + 60
        while service.app.state.board.get(identifier).slurm in (first, None):
            assert time.monotonic() < end
            time.sleep(0.1)
        service.until(identifier, "running", seconds=60)
        with service.client() as client:
            client.post(f"/studies/{identifier}/cancel")
        service.until(identifier, "cancelled", seconds=60)
