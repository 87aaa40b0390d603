"""The service under load and under fire: nothing lost, nothing twice, and how fast it answers.

    python benchmarks/service.py                       # all of it, 10 to 15 minutes
    python benchmarks/service.py --parts load keys     # some of it

Parts:

- `fire`: 20 studies, two at a time, while the service is killed (-9) five times and a study's process five times.
  Counts the trials of each study in the store and in MLflow.
- `many`: 200 submissions by 20 clients at once.
- `keys`: one submission 50 times at once with one Idempotency-Key.
- `cancel`: seconds from the request until no process of the study is left, at several moments.
- `load`: status requests at a fixed rate for 30 s beside two studies that run.

Studies simulate their measurement: 25 patterns of 16 x 16 pixels, 4 trials of 2 iterations.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

TRIALS = 4
ENDED = ("finished", "failed", "rejected", "cancelled", "interrupted")
MARK = "AUTOTUNE_SERVICE_STUDY"


def study(name: str, trials: int = TRIALS, iterations: int = 2) -> str:
    """A study that takes seconds."""
    return yaml.safe_dump(
        {
            "name": name,
            "objective": {
                "name": "ptychography",
                "data": {"file": "scan.h5"},
                "simulate": {"detector_pixels": 16, "angular_sampling_mrad": 4.2, "scan_points": 5, "seed": 1,
                             "mismatch": {"defocus": 100}},
            },
            "parameters": {"defocus": {"low": 0, "high": 250}, "iterations": iterations},
            "search": {"sampler": "random"},
            "budget": {"trials": trials},
            "intervals": {"replicates": 0},
            "report": False,
        }
    )  # fmt: skip


@dataclass
class Service:
    """A service in a process of its own, which can be killed and started again."""

    home: Path
    parallel: int = 2
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1"

    def start(self) -> None:
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        command = [
            sys.executable,
            "-c",
            "from autotune.cli.main import main; main()",
            "serve",
            "--port",
            str(self.port),
        ]
        environment = os.environ | {"AUTOTUNE_HOME": str(self.home)}
        log = (self.home.parent / "serve.log").open("ab")
        self.process = subprocess.Popen(
            [*command, "--max-parallel", str(self.parallel)], env=environment, stdout=log, stderr=log
        )
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{self.port}/healthz").status_code == 200:
                    return
            time.sleep(0.1)
        raise RuntimeError((self.home.parent / "serve.log").read_text()[-2000:])

    def kill(self) -> None:
        assert self.process is not None  # noqa: S101
        self.process.kill()
        self.process.wait()

    def submit(self, text: str, key: str | None = None) -> httpx.Response:
        headers = {"Content-Type": "application/yaml"} | ({"Idempotency-Key": key} if key else {})
        return httpx.post(f"{self.url}/studies", content=text, headers=headers, timeout=60)

    def look(self, identifier: str) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/studies/{identifier}", timeout=30).json()
        return found

    def of_study(self) -> list[psutil.Process]:
        """The processes of all its studies."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                own = process.environ().get(MARK, "").startswith(str(self.home))
                if own and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


@contextlib.contextmanager
def service(parallel: int = 2) -> Iterator[Service]:
    """A service in a new home."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        running = Service(Path(folder) / "home", parallel)
        running.start()
        try:
            yield running
        finally:
            running.kill()
            for process in running.of_study():
                with contextlib.suppress(psutil.Error):
                    process.kill()


def fire(studies: int, kills: int) -> None:
    """Kill the service and processes of studies, and count what comes of it."""
    random.seed(1)
    with service() as running:
        ids = [running.submit(study(f"s{n}"), f"key-{n}").json()["id"] for n in range(studies)]
        began = time.monotonic()
        left = [*["service"] * kills, *["run"] * kills]
        random.shuffle(left)
        states: dict[str, str] = {}
        while not all(states.get(one) in ENDED for one in ids):
            time.sleep(random.uniform(1, 6))  # noqa: S311
            if left:
                if left[-1] == "service":
                    left.pop()
                    running.kill()
                    time.sleep(random.uniform(0, 3))  # noqa: S311
                    running.start()
                else:
                    leaders = [process for process in running.of_study() if _leads(process)]
                    if leaders:
                        left.pop()
                        with contextlib.suppress(psutil.Error):
                            random.choice(leaders).send_signal(signal.SIGKILL)  # noqa: S311
            states = {one: running.look(one)["state"] for one in ids}
        seconds = time.monotonic() - began
        attempts = Counter(running.look(one)["attempts"] for one in ids)
        print(f"fire: {studies} studies in {seconds:.0f} s, {dict(Counter(states.values()))}, starts {dict(attempts)}")
        _count(running, ids)


def _leads(process: psutil.Process) -> bool:
    """Whether it is the process of a study, and none that this has started."""
    with contextlib.suppress(psutil.Error):
        return "service_job" in " ".join(process.cmdline())
    return False


def _count(running: Service, ids: list[str]) -> None:
    """Trials in the store, and runs in MLflow, of each study."""
    from mlflow import MlflowClient

    from autotune.home import Home
    from autotune.store.trials import TrialStore

    home = Home(running.home)
    finished: Counter[int] = Counter()
    numbers: Counter[bool] = Counter()
    recorded: Counter[int] = Counter()
    client = MlflowClient(tracking_uri=home.tracking_uri)
    experiments = [one.experiment_id for one in client.search_experiments()]
    runs = client.search_runs(experiments, max_results=5000)
    parents = {run.info.run_name: run for run in runs if "mlflow.parentRunId" not in run.data.tags}
    for one in ids:
        name = running.look(one)["study"]
        store = TrialStore.open(home.store_url, name)
        assert store is not None  # noqa: S101
        trials = [trial for trial in store.trials() if trial.state == "finished"]
        finished[len(trials)] += 1
        numbers[sorted(trial.index or 0 for trial in trials) == list(range(TRIALS))] += 1
        parent = parents.get(name)
        children = [
            run for run in runs
            if parent is not None and run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
            and run.info.status == "FINISHED"
        ]  # fmt: skip
        recorded[len(children)] += 1
    print(f"  finished trials of a study: {dict(finished)}; each place in the search once: {dict(numbers)}")
    print(f"  finished trials of a study in MLflow: {dict(recorded)}")


def many(submissions: int, clients: int) -> None:
    """Submit at once, and look whether each is there once."""
    with service(1) as running:
        running.submit(study("first", trials=1000))
        began = time.monotonic()
        with ThreadPoolExecutor(clients) as pool:
            answers = list(pool.map(lambda n: running.submit(study(f"s{n}"), f"key-{n}"), range(submissions)))
        seconds = time.monotonic() - began
        codes = Counter(answer.status_code for answer in answers)
        ids = {answer.json()["id"] for answer in answers}
        listed: set[str] = set()
        path: str | None = "/api/v1/studies?limit=100"
        while path:
            page = httpx.get(f"http://127.0.0.1:{running.port}{path}").json()
            listed |= {one["id"] for one in page["studies"]}
            path = page["next"]
        print(
            f"many: {submissions} submissions by {clients} clients in {seconds:.1f} s: {dict(codes)}, "
            f"{len(ids)} studies, {len(ids & listed)} of them listed"
        )


def keys(times: int) -> None:
    """One key, many times at once."""
    with service(1) as running:
        with ThreadPoolExecutor(times) as pool:
            answers = list(pool.map(lambda _: running.submit(study("same"), "one-key"), range(times)))
        codes = dict(Counter(answer.status_code for answer in answers))
        print(f"keys: {times} times: {codes}, {len({answer.json()['id'] for answer in answers})} study")


def cancel(times: int) -> None:
    """Cancel at several moments, and time until everything is gone."""
    random.seed(2)
    with service(2) as running:
        taken = []
        for number in range(times):
            one = running.submit(study(f"c{number}", trials=1000, iterations=200)).json()["id"]
            other = (
                running.submit(study(f"d{number}", trials=1000, iterations=200)).json()["id"] if number % 2 else None
            )
            time.sleep(random.choice([0.1, 0.5, 1, 2, 4, 8, 12]))  # noqa: S311
            for identifier in filter(None, (one, other)):
                began = time.monotonic()
                httpx.post(f"{running.url}/studies/{identifier}/cancel")
                folder = str(running.home / "service" / "studies" / identifier)
                while running.look(identifier)["state"] != "cancelled" or any(
                    _marked(process) == folder for process in running.of_study()
                ):
                    time.sleep(0.05)
                taken.append(time.monotonic() - began)
        print(f"cancel: {len(taken)} studies gone with all their processes after {statistics.median(taken):.1f} s "
              f"(median), {max(taken):.1f} s (largest)")  # fmt: skip


def _marked(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ().get(MARK, "")
    return ""


def load(rates: list[int], seconds: float) -> None:
    """Status requests at a fixed rate beside two running studies."""
    with service(2) as running:
        ids = [running.submit(study(f"l{n}", trials=5000, iterations=50)).json()["id"] for n in range(2)]
        while not all(running.look(one)["progress"]["trials"] > 1 for one in ids):
            time.sleep(0.2)
        for rate in rates:
            asyncio.run(_load(running, ids, rate, seconds))


async def _load(running: Service, ids: list[str], rate: int, seconds: float) -> None:
    """Requests are spread over connections that stay open; a request is timed from when it is sent."""
    requests = [f"GET /api/v1/studies/{one} HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\n\r\n".encode() for one in ids]
    taken: list[float] = []
    codes: Counter[str] = Counter()
    count, connections = int(rate * seconds), 20
    began = time.perf_counter() + 0.5

    async def ask(first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        for number in range(first, count, connections):
            due = began + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            sent = time.perf_counter()
            writer.write(requests[number % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode().lower().split("\r\n")
            length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
            await reader.readexactly(length)
            codes[lines[0].split(" ")[1]] += 1
            taken.append(time.perf_counter() - sent)
        writer.close()

    await asyncio.gather(*(ask(first) for first in range(connections)))
    reached = len(taken) / (time.perf_counter() - began)
    cuts = statistics.quantiles(taken, n=100)
    print(
        f"load: {rate}/s for {seconds:g} s: {reached:.0f}/s, {dict(codes)}, median {1e3 * cuts[49]:.1f} ms, "
        f"95 % below {1e3 * cuts[94]:.1f} ms, 99 % below {1e3 * cuts[98]:.1f} ms"
    )


def main() -> None:
    """Run the parts."""
    parts = ("fire", "many", "keys", "cancel", "load")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--rates", type=int, nargs="+", default=[300, 1000])
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    for part in arguments.parts:
        match part:
            case "fire":
                fire(arguments.studies, arguments.kills)
            case "many":
                many(200, 20)
            case "keys":
                keys(50)
            case "cancel":
                cancel(10)
            case "load":
                load(arguments.rates, arguments.seconds)


if __name__ == "__main__":
    main()
