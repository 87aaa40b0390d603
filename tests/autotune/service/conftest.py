"""A service on loopback whose studies are run by :mod:`tests.autotune.service.toy_job`."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from autotune.home import Home
from autotune.service.launcher import Launcher, LocalLauncher
from autotune.service.settings import Limits, ServiceSettings
from tests.autotune.service.processes import end_studies

TOY = (sys.executable, str(Path(__file__).with_name("toy_job.py")))


def study(description: str = "", name: str = "toy", **more: Any) -> str:
    """The text of a study that may be run."""
    import json

    document = {
        "name": name,
        "description": description,
        "objective": {"name": "ptychography", "data": {"file": "scan.h5"}},
        "parameters": {"defocus": {"low": 0, "high": 100}},
        **more,
    }
    return json.dumps(document)


@dataclass
class Running:
    """A service that listens."""

    settings: ServiceSettings
    app: Any
    url: str

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=f"{self.url}/api/v1", timeout=20, **options)

    def submit(self, text: str, **headers: str) -> httpx.Response:
        with self.client() as client:
            kind = {"Content-Type": "application/yaml"}
            return client.post("/studies", content=text, headers=kind | headers)

    def state(self, identifier: str) -> str:
        job = self.app.state.board.get(identifier)
        return "gone" if job is None else job.state

    def until(self, identifier: str, *states: str, seconds: float = 30) -> str:
        end = time.monotonic() + seconds
        while (state := self.state(identifier)) not in states:
            assert time.monotonic() < end, f"{identifier} is {state}, not {states}"
            time.sleep(0.02)
        return state


@contextlib.contextmanager
def serving(
    settings: ServiceSettings, command: tuple[str, ...] = TOY, launcher: Callable[..., Launcher] = LocalLauncher
) -> Iterator[Running]:
    """A service in a thread of this process; its studies outlive it."""
    import uvicorn

    from autotune.service.app import make_app

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = replace(settings, port=port)
    app = make_app(settings, launcher(settings, command))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield Running(settings, app, f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    data = tmp_path / "data"
    data.mkdir()
    (data / "scan.h5").touch()
    return ServiceSettings(Home(tmp_path / "home"), roots=(data,), limits=Limits(parallel=2))


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    """Starts services that end with the test, and what they have started."""
    homes: list[Path] = []
    with contextlib.ExitStack() as running:

        def start(settings: ServiceSettings, command: tuple[str, ...] = TOY) -> Running:
            homes.append(settings.home.folder)
            return running.enter_context(serving(settings, command))

        yield start
    for home in homes:
        end_studies(home)
