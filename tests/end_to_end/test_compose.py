"""What compose.yaml starts, started without containers: the same commands and variables, on loopback."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.autotune.service.processes import end_studies
from tests.docs.pages import ROOT
from tests.end_to_end.postgres import Server, postgres_server

pytestmark = pytest.mark.slow
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
AUTOTUNE = [sys.executable, "-c", "from autotune.cli.main import main; main()"]


def study(name: str, trials: int) -> str:
    simulate = {"detector_pixels": 16, "angular_sampling_mrad": 4.2, "scan_points": 5, "mismatch": {"defocus": 100}}
    return yaml.safe_dump(
        {
            "name": name,
            "objective": {"name": "ptychography", "data": {"file": "scan.h5"}, "simulate": simulate},
            "parameters": {"defocus": {"low": 0, "high": 250}, "iterations": 2},
            "search": {"sampler": "random"},
            "budget": {"trials": trials},
            "intervals": {"replicates": 0},
            "report": False,
        }
    )


@pytest.fixture
def server() -> Iterator[Server]:
    with postgres_server() as running:
        yield running


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Here:
    """The values of compose.yaml with the containers' hosts, ports and folders replaced by this machine's."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.mlflow, self.service = free_port(), free_port()
        self.replaced = {
            "postgresql://autotune:${POSTGRES_PASSWORD}@database/autotune": server.url,
            "http://mlflow:5000": f"http://127.0.0.1:{self.mlflow}",
            "mlflow:5000,localhost:5000,127.0.0.1:5000": f"127.0.0.1:{self.mlflow}",
            "/work": str(folder),
            "/data": str(folder / "data"),
            "5000": str(self.mlflow),
            "8000": str(self.service),
        }

    def text(self, value: str) -> str:
        for old, new in self.replaced.items():
            if value == old or (old.startswith("/") and re.search(rf"(^|///?){old}(/|$)", value)):
                value = value.replace(old, new)
        return value

    def environment(self, of: str) -> dict[str, str]:
        return os.environ | {name: self.text(value) for name, value in COMPOSE[of]["environment"].items()}

    def command(self, of: str) -> list[str]:
        return [self.text(word) for word in COMPOSE[of]["command"]]


@contextmanager
def started(
    command: list[str], environment: dict[str, str], log: Path, address: str
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream, start_new_session=True)
    try:
        end = time.monotonic() + 90
        while time.monotonic() < end and process.poll() is None:
            with suppress(httpx.HTTPError):
                if httpx.get(address).status_code < 500:
                    break
            time.sleep(0.2)
        else:
            raise AssertionError(log.read_text()[-3000:])
        yield process
    finally:
        process.terminate()
        process.wait(20)


def test_the_three_processes_work_together_and_survive_a_restart_of_the_database(
    server: Server, tmp_path: Path
) -> None:
    here = Here(server, tmp_path)
    (tmp_path / "data").mkdir()
    mlflow = [
        str(Path(sys.executable).with_name(COMPOSE["mlflow"]["entrypoint"][0])),
        *COMPOSE["mlflow"]["entrypoint"][1:],
    ]
    environment = here.environment("service")
    assert environment["AUTOTUNE_STORAGE"] == server.url and environment["AUTOTUNE_HOME"] == str(tmp_path / "home")
    with (
        started([*mlflow, *here.command("mlflow")], here.environment("mlflow"), tmp_path / "mlflow.log",
                f"http://127.0.0.1:{here.mlflow}/health"),
        started([*AUTOTUNE, *here.command("service")], environment, tmp_path / "serve.log",
                f"http://127.0.0.1:{here.service}/healthz"),
    ):  # fmt: skip
        new = [*AUTOTUNE, "token", "new", "--owner", "ada"]
        token = subprocess.run(new, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        url = f"http://127.0.0.1:{here.service}/api/v1"
        assert httpx.get(f"{url}/studies").status_code == 401
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/yaml"}
        try:
            with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
                ids = [client.post("/studies", content=study(f"s{n}", 8)).json()["id"] for n in range(3)]
                time.sleep(6)
                server.do("restart", "-m", "immediate")
                _until_finished(client, ids)
                for one in ids:
                    about = client.get(f"/studies/{one}").json()
                    assert about["progress"]["trials"] == 8 and about["attempts"] == 1
                    assert client.get(f"/studies/{one}/result").json()["trials"]["finished"] == 8
        finally:
            end_studies(tmp_path / "home")
        _all_are_recorded(f"http://127.0.0.1:{here.mlflow}", 3, 8)
    logs = (tmp_path / "serve.log").read_text() + (tmp_path / "mlflow.log").read_text()
    assert token not in logs and server.url not in logs and "not-to-be-seen" not in logs


def _until_finished(client: httpx.Client, ids: list[str]) -> None:
    end = time.monotonic() + 240
    states: dict[str, str] = {}
    while set(states.values()) != {"finished"}:
        assert time.monotonic() < end and not {"failed", "rejected", "interrupted"} & set(states.values()), states
        time.sleep(0.5)
        for one in ids:
            answer = client.get(f"/studies/{one}")
            if answer.status_code == 200:
                states[one] = answer.json()["state"]


def _all_are_recorded(uri: str, studies: int, trials: int) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()], max_results=1000)
    finished = [run for run in runs if run.info.status == "FINISHED"]
    assert len(finished) == studies * (trials + 1)
