"""MLflow's credentials of the environment go to the server that the environment names, and to no other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow.utils import credentials

from autotune.tracking.client import open_client

SECRETS = {
    "MLFLOW_TRACKING_TOKEN": "canary-token",
    "MLFLOW_TRACKING_USERNAME": "canary",
    "MLFLOW_TRACKING_PASSWORD": "canary-word",
}


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """A server that answers nothing of use, and what was sent to it as Authorization."""
    heard: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers.get("Authorization", ""))
            self.send_error(404)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Listener)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(credentials, "_read_mlflow_creds_from_file", credentials._read_mlflow_creds_from_file)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def ask(uri: str) -> None:
    with pytest.raises(Exception, match=r"404|not found|failed"):
        open_client(uri).get_experiment("1")


@pytest.mark.parametrize(
    "named", ["", "https://127.0.0.1:{port}", "http://localhost:{port}", "http://127.0.0.1:1", "sqlite:///x.db"]
)
def test_another_server_is_sent_none(
    named: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with listening() as (uri, heard):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", named.format(port=uri.rpartition(":")[2]))
        with caplog.at_level(logging.WARNING):
            ask(uri)
        assert heard and not any(heard)
    [warning] = [record.getMessage() for record in caplog.records if "not sent" in record.getMessage()]
    assert "MLFLOW_TRACKING_TOKEN" in warning and uri in warning and "canary" not in warning


def test_the_file_of_credentials_is_for_no_server_of_a_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in SECRETS:
        monkeypatch.delenv(name)
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = a\nmlflow_tracking_password = canary\n"
    )
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with listening() as (uri, heard):
        ask(uri)
        assert heard and not any(heard)


def test_the_server_that_the_environment_names_is_sent_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as (uri, heard):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{uri}/")
        ask(uri)
        assert heard and all(heard)
