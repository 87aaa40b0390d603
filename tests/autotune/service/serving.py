"""A service for the tests of its pages: studies are toys, and, unless a test says so, none of them is started."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from autotune.home import Home
from autotune.service.app import make_app
from autotune.service.board import Board
from autotune.service.event_log import append_event
from autotune.service.jobs import Job
from autotune.service.launcher import Launcher
from autotune.service.settings import Limits, ServiceSettings
from autotune.service.tokens import Role

TOY = "tests.autotune.toy:toy"
STUDY: dict[str, Any] = {
    "name": "toy",
    "objective": {"name": TOY},
    "parameters": {"shift": {"low": -1, "high": 1}, "tilt": {"low": -10, "high": 10}},
    "search": {"sampler": "random", "seed": 3},
    "budget": {"trials": 4},
}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
EXECUTION = ("execution.executor=inline",)


class Idle:
    """A launcher whose processes do nothing, and live until they are killed."""

    def __init__(self) -> None:
        self.killed: set[str] = set()

    def start(self, job: Job) -> dict[str, Any]:
        return {"pid": 1, "pid_started": 1.0}

    def found(self, job: Job) -> dict[str, Any] | None:
        return None

    def alive(self, job: Job) -> bool:
        return job.id not in self.killed

    def tell_to_stop(self, job: Job) -> None:
        self.killed.add(job.id)

    def kill(self, job: Job) -> None:
        self.killed.add(job.id)

    def left(self, job: Job) -> bool:
        return False

    def memory(self, job: Job) -> int:
        return 0


def settings_in(folder: Path, **changes: Any) -> ServiceSettings:
    """Settings of a service of toys in a folder; nothing is started without ``limits``."""
    known = ServiceSettings(
        home=Home(folder / "home"), objectives=(TOY,), limits=Limits(parallel=0), overrides=EXECUTION
    )
    return replace(known, **changes)


def study(**changes: Any) -> str:
    """A study file; JSON is YAML."""
    return json.dumps(STUDY | changes)


def visit(address: str, secret: str = "") -> httpx.Client:
    """A browser without scripts, logged in with a token."""
    cookies = {"autotune_token": secret} if secret else None
    return httpx.Client(base_url=address, headers=BROWSER, cookies=cookies)


def token(app: FastAPI, owner: str, role: Role = "submit") -> str:
    """A new token."""
    secret: str = app.state.tokens.new(owner, role, 1.0)[1]
    return secret


def search(board: Board, job: Job, values: list[float], budget: int = 10, ceiling: float | None = 0.95) -> None:
    """Add the events of a search whose best values are these."""
    metric = {"name": "consistency", "goal": "maximize", "noise_ceiling": ceiling}
    append_event(board.events(job), "started", study=job.study, metric=metric, ended=0, budget=budget)
    for number, value in enumerate(values):
        append_event(board.events(job), "ended", trial=number, best={"trial": number, "value": value})


@contextmanager
def serving(settings: ServiceSettings, launcher: Launcher, port: int = 0) -> Iterator[tuple[str, FastAPI]]:
    """Serve on a port of this machine, any without one, until the block ends; the address and the application."""
    app = make_app(settings, launcher)
    config = uvicorn.Config(app, "127.0.0.1", port, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="service")
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive() and time.monotonic() < deadline, "the service did not start"
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", app
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive(), "the service did not end"


def wait_for(address: str, identifier: str, *states: str, seconds: float = 120.0) -> dict[str, Any]:
    """A study, once it is in one of some states."""
    deadline = time.monotonic() + seconds
    while True:
        about: dict[str, Any] = httpx.get(f"{address}/api/v1/studies/{identifier}").json()
        if about["state"] in states:
            return about
        assert time.monotonic() < deadline, about
        time.sleep(0.1)


def text_of(html: str) -> str:
    """The words of a page, without its markup."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())
