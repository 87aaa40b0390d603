"""``autotune ui``: the MLflow user interface on what this home has recorded."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from types import FrameType
from typing import Annotated

import typer

from autotune.errors import AutotuneError, InputError, Problem
from autotune.home import Home

_MODE = "?workflowType=machine_learning"
"""Without this part of the address MLflow greets its user with the tools for language models. It does so again behind
its own links, which lack it: so the printed address skips the list of experiments where there is only one."""


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5000,
    host: Annotated[
        str,
        typer.Option(help="Interface to listen on; others than 127.0.0.1 open the record to the network."),
    ] = "127.0.0.1",
) -> None:
    """Show the recorded studies in a browser, until Ctrl-C.

    Serves the record that MLFLOW_TRACKING_URI names, else the one in AUTOTUNE_HOME.
    """
    from autotune.tracking.place import default_address

    home = Home.from_environment()
    uri = default_address(home)
    if uri.startswith(("http://", "https://")):
        typer.echo(f"MLflow runs as a server already: open {uri}")
        return
    _require_record(uri)
    require_free_port(host, port)
    _serve(uri, home, host, port)


def _require_record(uri: str) -> None:
    """Raise :class:`InputError` where nothing was ever recorded: MLflow would create an empty database."""
    from autotune.tracking.client import record_file

    database = record_file(uri)
    if database is not None and not database.is_file():
        raise InputError(
            Problem(
                str(database),
                "nothing is recorded here yet",
                "run a study first (autotune run study.yaml), or set AUTOTUNE_HOME to where one was run",
            )
        )


def require_free_port(host: str, port: int) -> None:
    """Raise :class:`InputError` where MLflow could not listen."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise InputError(
            Problem(f"--host {host} --port {port}", f"cannot listen there: {error}", "give another --port")
        ) from error


def _serve(uri: str, home: Home, host: str, port: int) -> None:
    """Run MLflow's server until it ends by itself, by Ctrl-C or by SIGTERM."""
    environment = os.environ | {
        # URIs may hold a password: the environment is private to the user, a command line is not.
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_REGISTRY_STORE_URI": uri,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": home.mlflow_artifacts.as_uri(),
        "MLFLOW_DISABLE_TELEMETRY": os.environ.get("MLFLOW_DISABLE_TELEMETRY", "true"),
        # MLflow's background jobs serve language-model features and keep a second process busy.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # Without this, a folder called mlflow where the user happens to stand would be imported.
        "PYTHONSAFEPATH": "1",
        # Its user cannot mend deprecations inside MLflow's server.
        "PYTHONWARNINGS": "ignore",
    }
    # No --serve-artifacts: the browser gets artifacts from where each run keeps them.
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    command += ["--workers", "1", "--no-serve-artifacts", "--uvicorn-opts", "--log-level warning"]
    server = subprocess.Popen(command, env=environment)
    asked_to_end = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal asked_to_end
        asked_to_end = True
        server.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    if _wait_until_it_listens(server, host, port):
        address = f"http://{host}:{port}/"
        typer.echo(f"MLflow shows your studies at {address}{_start_page(address)} (Ctrl-C ends it)")
    code = server.wait()
    if code and not asked_to_end:
        problem = Problem("MLflow", f"the server ended with exit code {code}", "its own message is above")
        raise AutotuneError(problem)


def _start_page(address: str) -> str:
    """The page of the one experiment that has runs of ours; the list of experiments where there are several."""
    import json
    import urllib.request

    url = f"{address}api/2.0/mlflow/experiments/search?max_results=100"
    ours: list[str] = []
    with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(url, timeout=10.0) as answer:  # noqa: S310
        experiments = json.load(answer).get("experiments", [])
        ours = [experiment["experiment_id"] for experiment in experiments if experiment["name"] != "Default"]
    return f"#/experiments/{ours[0]}/runs{_MODE}" if len(ours) == 1 else f"#/experiments{_MODE}"


def _wait_until_it_listens(server: subprocess.Popen[bytes], host: str, port: int) -> bool:
    """Whether the server accepted a connection before it ended."""
    while server.poll() is None:
        try:
            with socket.create_connection((host, port), timeout=1.0):
                return True
        except OSError:
            time.sleep(0.2)
    return False
