"""The client, and the watch, against the service as an operator starts it: real processes, a real reconstruction."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autotune.client import Client, ServiceError
from tests.autotune.client.serving import free_port
from tests.end_to_end.studies import Place, autotune
from tests.end_to_end.test_demo_like import STUDY

SMALL = {key: value for key, value in STUDY.items() if key != "tracking"} | {
    "parameters": {"defocus": {"low": 0, "high": 250}, "iterations": 2},
    "search": {"sampler": "random", "seed": 0},
    "budget": {"trials": 3},
    "intervals": {"replicates": 0},
}


def of_measurement(place: Place, name: str) -> dict[str, Any]:
    """Make a measurement of this name; returns the study of it, which simulates none."""
    assert autotune("simulate", place.write(SMALL)) == 0
    (place.folder / "small.h5").rename(place.folder / name)
    objective: dict[str, Any] = {**STUDY["objective"], "data": {"file": name}}  # type: ignore[dict-item]
    del objective["simulate"]
    return SMALL | {"objective": objective}


class Service:
    """``autotune serve`` in a place, which may be killed and started again."""

    def __init__(self, place: Place) -> None:
        self.place, self.port = place, free_port()
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> Client:
        options = ("--port", str(self.port), "--data", str(self.place.folder), "--set", "tracking.enabled=false")
        self.process = self.place.start("serve", *options)
        client = Client(f"http://127.0.0.1:{self.port}", retry_seconds=60)
        client.list()  # waits until it answers
        return client

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.communicate(timeout=30)


@pytest.fixture
def service(place: Place) -> Iterator[Service]:
    service = Service(place)
    yield service
    service.kill()


@pytest.mark.slow
def test_a_study_outlives_the_service_and_the_client_follows_it(service: Service, tmp_path: Path) -> None:
    measured = of_measurement(service.place, "scan.h5")
    with service.start() as client:
        assert "64 of 24 x 24 pixels" in client.check(measured).plan
        study = client.submit(SMALL, key="scan-1")
        seen = []
        for event in client.events(study):
            seen.append(event)
            if event.event == "ended" and service.process is not None and service.process.poll() is None:
                service.kill()
                service.start().close()
        assert client.submit(SMALL, key="scan-1").id == study.id
        ended = client.wait(study, timeout=10)
        assert ended.state == "finished" and ended.attempts == 1, ended
        file = service.place.home.folder / "service" / "studies" / study.id / "events.jsonl"
        assert [event.data for event in seen] == [
            json.loads(line) for line in file.read_text().splitlines() if line[0] == "{"
        ]
        result = client.result(study)
        assert result.trials.finished == 3 and result.parameters["defocus"].unit == "angstrom"
        names = {artifact.name for artifact in client.artifacts(study)}
        best = client.artifact(study, next(name for name in names if name.endswith("reconstruction.h5")), tmp_path)
        assert best.read_bytes().startswith(b"\x89HDF")
        with pytest.raises(ServiceError, match="without its report"):
            client.report(study, tmp_path)


@pytest.mark.slow
def test_a_study_is_cancelled_and_goes_on(service: Service) -> None:
    with service.start() as client:
        study = client.submit(SMALL | {"budget": {"trials": 400}})
        for event in client.events(study):
            if event.event == "ended":
                client.cancel(study)
                break
        assert client.wait(study, timeout=60).state == "cancelled"
        assert client.resume(study).state in ("queued", "starting", "running")
        events = client.events(study, after=event.id)
        assert any(one.event == "ended" for one in events)
        client.cancel(study)
        assert client.wait(study, timeout=60).state == "cancelled"


@pytest.mark.slow
def test_the_watch_has_a_service_run_the_studies(service: Service, place: Place) -> None:
    (place.folder / "in").mkdir()
    template = place.write(of_measurement(place, "in/scan.h5"))
    with service.start() as client:
        url = f"http://127.0.0.1:{service.port}"
        command = ("watch", "in", "--template", template, "--service", url)
        first = place.start(*command)
        deadline = time.monotonic() + 60
        while not client.list():
            assert first.poll() is None and time.monotonic() < deadline, first.communicate()
            time.sleep(0.05)
        first.kill()
        first.communicate()
        again = place.start(*command, "--once")
        printed, errors = again.communicate(timeout=180)
        assert again.returncode == 0, printed + errors
        [study] = client.list()
    answer = json.loads((place.folder / "in" / "scan.result.json").read_text())
    assert (answer["status"], answer["id"], answer["service"]) == ("finished", study.id, url)
    assert answer["result"]["trials"]["finished"] == 3
