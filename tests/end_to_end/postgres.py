"""A PostgreSQL server for a test: on loopback, with a folder and a password of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PASSWORD = "not-to-be-seen"  # noqa: S105


def _program(name: str) -> str | None:
    """Debian keeps the server's programs off the path."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: float(p.parents[1].name))
    return shutil.which(name) or (str(installed[-1]) if installed else None)


def _as_somebody(folder: Path) -> list[str]:
    """The server refuses to be run by root: what to put before its commands, having given the folder away."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("PostgreSQL cannot be run by root, and there is no setpriv")
    user = next((u for u in pwd.getpwall() if u.pw_name in ("postgres", "nobody")), None)
    if user is None:
        pytest.skip("PostgreSQL cannot be run by root, and there is no other user")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@dataclass(frozen=True)
class Server:
    """A running server."""

    folder: Path
    control: tuple[str, ...]
    port: int

    @property
    def url(self) -> str:
        return f"postgresql://tuner:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def do(self, what: str, *options: str) -> None:
        """``pg_ctl``: start, stop or restart."""
        log = self.folder / "log"
        done = subprocess.run(
            [*self.control, what, "-w", "-D", self.folder / "data", "-l", log, *options],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if done.returncode:
            raise RuntimeError(f"pg_ctl {what} failed: {log.read_text() if log.exists() else 'no log'}")


@contextmanager
def postgres_server() -> Iterator[Server]:
    """Start a server, and stop it afterwards; skips the test where there is none to start."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    initdb, control = _program("initdb"), _program("pg_ctl")
    if initdb is None or control is None:
        pytest.skip("PostgreSQL's server is not installed")
    # Not in pytest's folder, which nobody but its owner may enter.
    with tempfile.TemporaryDirectory(prefix="autotune-pg-") as name, socket.socket() as free:
        folder = Path(name)
        before = _as_somebody(folder)
        (folder / "password").write_text(PASSWORD)
        options = ["--auth=scram-sha-256", "--username=tuner", f"--pwfile={folder / 'password'}", "--no-sync"]
        made = subprocess.run(
            [*before, initdb, "-D", folder / "data", *options], cwd=folder, capture_output=True, text=True
        )
        if made.returncode:
            pytest.skip(f"PostgreSQL cannot be set up here: {made.stderr.strip()}")
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
        free.close()
        server = Server(folder, (*before, control), port)
        server.do("start", "-o", f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}")
        try:
            yield server
        finally:
            server.do("stop", "-m", "immediate")
