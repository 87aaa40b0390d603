"""The files in the folder of one study of the queue, and whether its process lives.

The process (:mod:`autotune.cli.service_job`) holds a lock for as long as it lives, writes which process it is, and
leaves its exit code as its last act: where there is none, the process was lost. What it prints on standard output are
the events (:mod:`autotune.service.event_log`), and on standard error the log.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STUDY, LOCK, PROCESS, EXIT, RESULT, LOG = (
    "study.yaml",
    "run.lock",
    "process.json",
    "exit.json",
    "result.json",
    "log.txt",
)
_TAIL = 4000


def is_running(folder: Path) -> bool:
    """Whether the process of a study lives, on this machine."""
    try:
        with (folder / LOCK).open("a") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def kept(folder: Path, name: str) -> Mapping[str, Any] | None:
    """One of the JSON files, which are written whole; None where there is none."""
    try:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def last_words(folder: Path) -> str:
    """The end of the log, in a line; empty where there is none."""
    try:
        with (folder / LOG).open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _TAIL))
            lines = stream.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:1000] if lines else ""
