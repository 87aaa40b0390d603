"""Stands in for the process of a study: does what the study's description says, and leaves the same files."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil


def say(event: str, **facts: object) -> None:
    print(json.dumps({"event": event, "time": "2026-01-01T00:00:00+00:00", **facts}), flush=True)


def main(folder: Path) -> int:
    lock = (folder / "run.lock").open("a")
    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    about = {"pid": os.getpid(), "started": psutil.Process().create_time()}
    (folder / "process.json").write_text(json.dumps(about))
    words = json.loads((folder / "study.yaml").read_text())["description"].split()
    if "deaf" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "child" in words:  # in a session of its own, as workers are
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    hoard = bytearray(300_000_000) if "hungry" in words else b""
    say("started", metric={"name": "consistency", "goal": "maximize", "noise_ceiling": 0.9}, ended=0, budget=4)
    say("ended", trial=0, state="finished", best={"trial": 0, "value": 0.5})
    if "sleep" in words:
        time.sleep(float(words[words.index("sleep") + 1]))
    if "die" in words:
        os.kill(os.getpid(), signal.SIGKILL)
    code = int(words[words.index("exit") + 1]) if "exit" in words else 0
    if code:
        print("Error: it went wrong", file=sys.stderr)
    (folder / "exit.json").write_text(json.dumps({"code": code}))
    return code + 0 * len(hoard)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
