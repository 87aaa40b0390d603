"""The near end of the contract with a package's own Python: start it, send a job, follow it, take its arrays.

Messages are lines of JSON in two pipes of their own, so that nothing that a package prints can disturb them; arrays are
``.npy`` files in memory. docs/backends.md states the contract, and ``programs/host.py`` is its other end.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import psutil
from numpy.typing import NDArray
from torch import Tensor

from autotune.objective import AutotuneError, Problem, child_environment

CONTRACT = 1
"""Version of the messages that this end speaks."""
_HOST = Path(__file__).parent / "programs" / "host.py"
_GRACE_SECONDS = 2.0
_LONGEST_MESSAGE = 2**20
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")

Array = NDArray[Any]


class BackendFailed(AutotuneError):
    """The package's process has failed, ended or answered what cannot be."""


@dataclass
class Progressed:
    """The state after an iteration, as the package told it.

    Attributes:
        iteration: from 1.
        loss: the package's own.
        object: (slice, y, x) or (y, x) complex.
        probe: (mode, y, x) or (y, x) complex.
        positions: (n, 2) of the object's pixel under the probe's middle, in pixels of ``object``.
    """

    iteration: int
    loss: float
    object: Array
    probe: Array
    positions: Array


@dataclass(frozen=True)
class Ended:
    """What a package leaves beside its last state.

    Attributes:
        own: (checked, y, x) intensities of its own model; None where it told none, or was stopped.
        files: name -> content of the files that it made of its last state.
        lost: why it could not make them, where they were wanted; empty where it did, or has none.
        remarks: what people should know of the reconstruction, in sentences.
    """

    own: Array | None
    files: Mapping[str, bytes]
    lost: str = ""
    remarks: Sequence[str] = ()


@dataclass
class BackendProcess:
    """A package's process, started by the first reconstruction and kept, since importing takes it seconds.

    It is a child of this process, in its process group: what ends one ends the other.

    Attributes:
        name: the backend's.
        python: its Python.
        adapter: path of its adapter, see ``programs/host.py``.
        threads: of the processor.
        versions: of its packages, once it runs.
    """

    name: str
    python: str
    adapter: Path
    threads: int = 1
    versions: Mapping[str, str] = field(default_factory=dict)
    _child: _Child | None = None
    _patterns: Tensor | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reconstruct(
        self,
        patterns: Tensor,
        arrays: Mapping[str, Array],
        job: Mapping[str, Any],
        report: Callable[[Progressed], bool],
        *,
        files: bool = False,
    ) -> Ended:
        """Make one reconstruction.

        Args:
            patterns: (n, y, x) float32, all of them; sent again only where they are other ones than the last.
            arrays: name -> the job's other arrays; ``rows`` are the indices of its patterns.
            job: the job's other attributes, plain JSON data.
            report: called after every iteration; returns whether to go on.
            files: whether it shall make files in formats of its own.

        Raises:
            BackendFailed: it has; the next reconstruction starts it anew where it has ended.
        """
        with self._lock, _folder_for_files(self.name) if files else nullcontext() as folder:
            child = self._started()
            fault: Exception | None = None
            try:
                self._begin(child, patterns, arrays, {**job, "files": folder})
                while (message := child.hear())["event"] == "progress":
                    state = _progressed(child, message)
                    try:
                        goes_on = report(state)
                    except Exception as error:  # ours, not the package's
                        fault = error
                        raise
                    child.say(do="go" if goes_on else "stop")
                own = child.taken("checked") if message.get("checked") else None
            except (OSError, ValueError, KeyError, TypeError) as error:
                self.end()
                if error is fault:
                    raise
                raise BackendFailed(Problem(self.name, f"answered what cannot be: {error}")) from None
            except BaseException:  # it is in the middle of something, or has ended
                self.end()
                raise
            if message["event"] == "failed":  # it waits for the next one
                raise BackendFailed(Problem(self.name, str(message.get("what"))))
            kept, lost = ({}, "") if folder is None else _files_in(Path(folder))
            remarks = [str(remark) for remark in message.get("remarks") or ()]
            return Ended(own, kept, str(message.get("lost") or "") or lost, remarks)

    def _begin(self, child: _Child, patterns: Tensor, arrays: Mapping[str, Array], job: Mapping[str, Any]) -> None:
        """Send a job; of its arrays, the patterns only where they are other ones than the last."""
        if self._patterns is not patterns:
            child.keep("patterns", patterns.cpu().numpy())
            child.ask("opened", do="open", patterns=child.path("patterns"))
            self._patterns = patterns
        for name, array in arrays.items():
            child.keep(name, array)
        results = {name.removesuffix("_now"): child.path(name) for name in _RESULTS}
        child.say(do="run", arrays={name: child.path(name) for name in arrays}, job=dict(job), results=results)

    def end(self) -> None:
        """End the process, if it runs."""
        if self._child is not None:
            self._child.close()
        self._child, self._patterns = None, None

    def _started(self) -> _Child:
        if self._child is not None and self._child.ended:
            self.end()
        if self._child is None:
            child = _Child(self.name, [self.python, str(_HOST), str(self.adapter)], self.threads)
            try:
                hello = child.hear()
                if hello["event"] != "hello" or hello.get("contract") != CONTRACT:
                    what = (
                        hello.get("what") or f"speaks version {hello.get('contract')}, not {CONTRACT}, of the contract"
                    )
                    raise BackendFailed(Problem(self.name, f"does not start: {what}"))
            except BaseException:
                child.close()
                raise
            self._child, self.versions = child, dict(hello["versions"])
        return self._child


class _Child:
    """A process with its pipes and the files that it shares."""

    def __init__(self, name: str, command: Sequence[str], threads: int) -> None:
        self._name = name
        self._files: dict[str, int] = {}
        for shared in ("patterns", "rows", "valid", "probe", "positions", *_RESULTS):
            self._files[shared] = _shared_file(f"{name}-{shared}")
        read, to = os.pipe()
        back, write = os.pipe()
        told = {**child_environment(), **dict.fromkeys(_THREADS, str(threads))}
        told.pop("PYTHONPATH", None)  # of this Python's packages
        inherited = (read, write, *self._files.values())
        try:
            self._process = subprocess.Popen(
                [*command, str(read), str(write)], stdin=subprocess.DEVNULL, pass_fds=inherited, env=told
            )
        except OSError as error:
            for descriptor in (to, back, *inherited):
                os.close(descriptor)
            raise BackendFailed(Problem(name, f"{command[0]} cannot be started: {error.strerror}")) from None
        os.close(read)
        os.close(write)
        self._to, self._from = os.fdopen(to, "wb", buffering=0), os.fdopen(back, "rb")
        self._finalizer = weakref.finalize(self, _close, self._process, self._to, self._from, dict(self._files))

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def say(self, **command: Any) -> None:
        """Send a command."""
        try:
            self._to.write(json.dumps(command).encode() + b"\n")
        except BrokenPipeError:
            raise BackendFailed(Problem(self._name, self._ending())) from None

    def hear(self) -> dict[str, Any]:
        """Wait for a message."""
        line = self._from.readline(_LONGEST_MESSAGE)
        if not line.endswith(b"\n"):
            raise BackendFailed(Problem(self._name, self._ending()))
        message: dict[str, Any] = json.loads(line)
        return message

    def ask(self, event: str, **command: Any) -> None:
        """Send a command that is answered by one ``event``."""
        self.say(**command)
        answer = self.hear()
        if answer["event"] != event:
            raise BackendFailed(Problem(self._name, str(answer.get("what"))))

    def path(self, name: str) -> str:
        """Path of a shared file, for both ends."""
        return f"/proc/self/fd/{self._files[name]}"

    def keep(self, name: str, array: Array) -> None:
        """Write an array for the other end."""
        with open(self.path(name), "wb") as file:  # noqa: PTH123
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)

    def taken(self, name: str) -> Array:
        """An array of the other end, copied: it may write the next one over it."""
        with open(self.path(name), "rb") as file:  # noqa: PTH123
            found: Array = np.load(io.BytesIO(file.read()), allow_pickle=False)
        return found

    def close(self) -> None:
        """End the process and give back what it shares."""
        self._finalizer()

    def _ending(self) -> str:
        """How the process ended."""
        try:
            code = self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return "has closed its end of the pipe"
        if code >= 0:
            return f"its process ended with exit code {code}"
        return f"its process was ended by {signal.Signals(-code).name}"


@contextlib.contextmanager
def _folder_for_files(name: str) -> Iterator[str]:
    """A temporary folder; those of processes that were killed are removed."""
    begin = f"autotune-files-{name}-"
    for left in Path(tempfile.gettempdir()).glob(f"{begin}*"):
        pid = left.name.removeprefix(begin).partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{begin}{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        yield folder


def _files_in(folder: Path) -> tuple[dict[str, bytes], str]:
    """The content of the files, and what is left out."""
    kept = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    folders = [path.name for path in sorted(folder.iterdir()) if path.is_dir()]
    return kept, f"{', '.join(folders)} is no file, and only files are kept" if folders else ""


def _progressed(child: _Child, message: Mapping[str, Any]) -> Progressed:
    arrays = (child.taken(f"{name}_now") for name in ("object", "probe", "positions"))
    return Progressed(int(message["iteration"]), float(message["loss"]), *arrays)


_RESULTS = ("object_now", "probe_now", "positions_now", "checked")


def _shared_file(name: str) -> int:
    """Descriptor of a file in memory, which is gone as soon as no process has it open (Linux)."""
    return os.memfd_create(name, 0)


def _close(process: subprocess.Popen[bytes], to: BinaryIO, back: BinaryIO, files: Mapping[str, int]) -> None:
    below: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        below = psutil.Process(process.pid).children(recursive=True)
    to.close()  # it ends when it reads this
    try:
        process.wait(_GRACE_SECONDS if process.poll() is None else 0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in below:
        with contextlib.suppress(psutil.Error):
            child.kill()
    back.close()
    for descriptor in files.values():
        os.close(descriptor)
