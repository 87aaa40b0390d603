"""A real service on this machine's loopback, in a thread; what its studies do is acted, so that it takes no time."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from autotune.files import write_json
from autotune.home import Home
from autotune.service.app import make_app
from autotune.service.event_log import EVENTS, append_event
from autotune.service.job_files import EXIT, LOG
from autotune.service.jobs import Job
from autotune.service.settings import Limits, ServiceSettings

STUDY: dict[str, Any] = {
    "name": "toy",
    "objective": {"name": "tests.autotune.toy:toy"},
    "parameters": {"shift": {}},
    "budget": {"trials": 3},
}
RESULT: dict[str, Any] = {
    "schema": 1,
    "study": "toy",
    "status": "finished",
    "reason": "its budget is used",
    "trials": {"finished": 3, "failed": 0, "pruned": 0},
    "metric": {
        "name": "consistency",
        "best": 0.9,
        "noise_ceiling": 1.0,
        "fraction_of_ceiling": 0.9,
        "estimate": None,
        "deviation": None,
    },
    "limits": [],
    "pareto": None,
    "parameters": {},
    "correlations": None,
    "noise": None,
    "confirmation": None,
    "best_trial": 2,
    "remarks": [],
    "cost": {
        "seconds": 1.0,
        "evaluation_seconds": 1.0,
        "reconstruction_equivalents": 3.0,
        "interval_equivalents": 0.0,
    },
    "mlflow": {"tracking_uri": None, "experiment": None, "run_id": None},
    "artifacts": "/nowhere",
    "software": {},
    "seed": 0,
}
TRIALS = 3


@dataclass
class Actor:
    """Acts the process of each study: events as of three trials, a result, a report, files; each ends at once.

    Attributes:
        home: of the service.
        code: exit code of the studies that start from now on.
        held: studies stay running until this is set.
    """

    home: Home
    code: int = 0
    held: threading.Event = field(default_factory=threading.Event)
    stopped: set[str] = field(default_factory=set)
    started: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.held.set()

    def start(self, job: Job) -> dict[str, Any]:
        self.started.append(job.id)
        self.stopped.discard(job.id)
        events = self._folder(job) / EVENTS
        (self._folder(job) / EXIT).unlink(missing_ok=True)
        about = {"name": "consistency", "goal": "maximize", "noise_ceiling": 1.0}
        append_event(events, "started", study=job.study, metric=about, ended=0, budget=TRIALS)
        append_event(events, "warned", warning="a line separator\u2028and an emoji \U0001f52c are text")
        return {"pid": 2**22 + 1, "pid_started": time.time()}

    def found(self, job: Job) -> dict[str, Any] | None:
        return None

    def alive(self, job: Job) -> bool:
        if job.id in self.stopped:
            return False
        if not self.held.is_set():
            return True
        if not (self._folder(job) / EXIT).exists():
            self._finish(job)
        return False

    def tell_to_stop(self, job: Job) -> None:
        self.stopped.add(job.id)

    def kill(self, job: Job) -> None:
        pass

    def left(self, job: Job) -> bool:
        return False

    def final_reason(self, job: Job) -> str:
        return ""

    def leave(self) -> None:
        """Nothing is there to be left."""

    def memory(self, job: Job) -> int:
        return 0

    def _folder(self, job: Job) -> Path:
        return self.home.folder / "service" / "studies" / job.id

    def _finish(self, job: Job) -> None:
        events, results = self._folder(job) / EVENTS, self.home.study(job.study)
        for trial in range(TRIALS):
            append_event(events, "ended", trial=trial, best={"trial": trial, "value": 0.7 + 0.1 * trial})
        (self._folder(job) / LOG).write_text("Error: the log's last line\n")
        if self.code == 0:
            write_json(results / "result.json", RESULT | {"study": job.study})
            (results / "report.html").write_text("<html>a report</html>")
            (results / "trials").mkdir()
            (results / "trials" / "large.h5").write_bytes(bytes(range(256)) * 4000)
        write_json(self._folder(job) / EXIT, {"code": self.code})


@dataclass
class Served:
    """A service that runs.

    Attributes:
        url: its address.
        actor: acts its studies.
        app: its application.
    """

    url: str
    actor: Actor
    app: Any

    @property
    def events_of(self) -> Callable[[str], list[dict[str, Any]]]:
        """From a study's id to the events in its file."""

        def read(identifier: str) -> list[dict[str, Any]]:
            path = self.actor.home.folder / "service" / "studies" / identifier / EVENTS
            return [json.loads(line) for line in path.read_text().split("\n") if line]

        return read


@contextmanager
def serving(home: Path, port: int = 0, **options: Any) -> Iterator[Served]:
    """A service for the length of the block; what its home has stays, for another one."""
    port = port or free_port()
    options = {"objectives": ("tests.autotune.toy:toy",), "limits": Limits(parallel=4)} | options
    settings = ServiceSettings(home=Home(home), port=port, **options)
    actor = Actor(settings.home)
    settings.folder.mkdir(parents=True, exist_ok=True)
    app = make_app(settings, actor)
    with listening(app, port):
        yield Served(f"http://127.0.0.1:{port}", actor, app)


@contextmanager
def listening(app: Any, port: int) -> Iterator[None]:
    """Serve an ASGI application for the length of the block."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=1, ws="none", lifespan="auto")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
