"""A whole SLURM on this machine for a test: munged, slurmctld and slurmd, with everything they keep in one folder.

Nothing of an installed cluster is read or changed: the daemons have a configuration, ports, a key and a socket of their
own. They run as the calling user, and so do the jobs. Debian has them in ``slurm-wlm`` and ``munge``.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
_SECONDS = 30.0  # for a daemon to start
_CONFIGURATION = """
ClusterName=test
SlurmctldHost={machine}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=5
SchedulerParameters=sched_interval=1,batch_sched_delay=1
NodeName={machine} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=4000 State=UNKNOWN
PartitionName=debug Nodes={machine} Default=YES MaxTime=INFINITE OverSubscribe=NO State=UP
"""


class NoSlurm(Exception):
    """SLURM cannot be set up here; the message says why."""


@dataclass(frozen=True)
class Slurm:
    """A running cluster of one machine.

    Attributes:
        folder: folder of all its files.
        environment: variables by which its commands find the cluster.
    """

    folder: Path
    environment: Mapping[str, str]

    def command(self, *words: str) -> str:
        """Run one of its commands, and return what it prints."""
        done = subprocess.run(
            words, env={**os.environ, **self.environment}, capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout


@contextmanager
def slurm(cores: int = 2) -> Iterator[Slurm]:
    """Start a cluster, and end it with all its jobs afterwards.

    Args:
        cores: number of cores that the cluster's machine reports.

    Raises:
        NoSlurm: the cluster cannot be started; with the reason.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    missing = [name for name in _PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        raise NoSlurm(f"{', '.join(missing)} not installed; Debian has them in slurm-wlm and munge")
    with tempfile.TemporaryDirectory(prefix="autotune-slurm-") as name, ExitStack() as daemons:
        folder = Path(name)
        environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
        _configure(folder, cores)
        cluster = Slurm(folder, environment)
        munge = [f"--key-file={folder / 'munge.key'}", f"--socket={folder / 'munge.socket'}"]
        munge += [f"--{kind}-file={folder / f'munged.{kind}'}" for kind in ("pid", "log", "seed")]
        for words in (["munged", "--foreground", "--force", *munge], ["slurmctld", "-D"], ["slurmd", "-D"]):
            daemons.callback(_end, _start(words, cluster))
            if words[0] == "munged":
                _wait_for(lambda: (folder / "munge.socket").exists(), "munged gives no socket", cluster)
        _wait_for(lambda: "idle" in _state(cluster), "the cluster's machine does not become idle", cluster)
        try:
            yield cluster
        finally:
            cluster.command("scancel", "--user", pwd.getpwuid(os.getuid()).pw_name)
            with suppress(NoSlurm):  # those that do not end do so with slurmd
                _wait_for(lambda: not cluster.command("squeue", "--noheader"), "its jobs do not end", cluster)


def _configure(folder: Path, cores: int) -> None:
    for kept in ("state", "spool"):
        (folder / kept).mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o400)
    controller, node = _free_ports()
    settings = {
        "machine": socket.gethostname().split(".")[0],
        "controller_port": controller,
        "node_port": node,
        "folder": folder,
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "cores": cores,
    }
    (folder / "slurm.conf").write_text(_CONFIGURATION.format(**settings).lstrip())
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1]), int(other.getsockname()[1])


def _start(words: list[str], cluster: Slurm) -> subprocess.Popen[bytes]:
    with (cluster.folder / f"{words[0]}.out").open("wb") as printed:
        return subprocess.Popen(
            words,
            env={**os.environ, **cluster.environment},
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            cwd=cluster.folder,
        )


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(timeout=10)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _state(cluster: Slurm) -> str:
    try:
        return cluster.command("sinfo", "--noheader", "--format=%T")
    except subprocess.CalledProcessError:  # the controller is not there yet
        return ""


def _wait_for(condition: Callable[[], bool], complaint: str, cluster: Slurm) -> None:
    deadline = time.monotonic() + _SECONDS
    while not condition():
        if time.monotonic() > deadline:
            said = "\n".join(
                f"{log.name}: {log.read_text(errors='replace')[-600:]}"
                for pattern in ("*.out", "*.log")
                for log in sorted(cluster.folder.glob(pattern))
            )
            raise NoSlurm(f"{complaint}\n{said}")
        time.sleep(0.2)
