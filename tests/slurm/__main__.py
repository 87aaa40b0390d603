"""Run the demo's study on a real SLURM set up for it, and print what a user would see: ``python -m tests.slurm``."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.end_to_end.studies import ROOT
from tests.slurm.server import Slurm, slurm

EXECUTION = """
execution:
  executor: dask
  workers: 2
  timeout: 600
  cluster:
    kind: slurm
    cores: 1
    memory: 2 GB
    walltime: "00:20:00"
    scheduler_options: {host: 127.0.0.1}
"""


def show(text: str, folder: Path) -> None:
    """Print without the names of this machine and its folders."""
    for name, shown in ((str(folder), "~"), (str(ROOT), "~/autotune"), (socket.gethostname(), "node1")):
        text = re.sub(rf"{re.escape(name)}\b", shown, text)
    print(text.rstrip(), flush=True)


def command(line: str, folder: Path, cluster: Slurm, *, queue_at: int = 0) -> None:
    """Run a command and show it with what it prints; after that many lines, the queue too."""
    show(f"\n$ {line}", folder)
    words = shlex.split(line)
    if words[0] == "autotune":
        words = [sys.executable, "-c", "from autotune.cli.main import main; main()", *words[1:]]
    environment = {**os.environ, **cluster.environment, "AUTOTUNE_HOME": str(folder / ".autotune"), "COLUMNS": "110"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    for number, printed in enumerate(process.stdout, 1):
        show(printed, folder)
        if number == queue_at:
            queue = cluster.command("squeue", "--format=%.6i %.10P %.14j %.3t %.8M %.5C %R")
            show(
                "\n    (meanwhile, squeue says)\n" + re.sub("^", "    ", queue.rstrip(), flags=re.MULTILINE) + "\n",
                folder,
            )
    if process.wait():
        raise SystemExit(f"{words} ended with {process.returncode}")


def main() -> None:
    with tempfile.TemporaryDirectory() as name, slurm() as cluster:
        folder = Path(name)
        demo = (ROOT / "studies" / "demo.yaml").read_text(encoding="utf-8")
        (folder / "demo.yaml").write_text(demo + EXECUTION.lstrip(), encoding="utf-8")
        command("sinfo", folder, cluster)
        command("tail -n 9 demo.yaml", folder, cluster)
        command("autotune simulate demo.yaml", folder, cluster)
        command("autotune run demo.yaml", folder, cluster, queue_at=4)
        command("squeue", folder, cluster)


if __name__ == "__main__":
    main()
