"""Run a reconstruction package in its own Python: the foreign end of the contract in docs/backends.md.

    python host.py ADAPTER.py READ WRITE

An adapter is a file with three names: ``PACKAGES``, the distributions whose versions are told; ``open_package()``,
which imports what takes long; and ``run(job, report)``, which reconstructs. This file needs the standard library and
numpy, and Python 3.8. Whatever the package prints goes to the standard error: messages have pipes of their own.
"""

import ctypes
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import signal
import sys
import threading
import traceback
from pathlib import Path

CONTRACT = 1
"""Version of the messages and of what an adapter is called with."""
_LONGEST = 20000
"""Characters of a failure that are told; all of it is in the standard error."""


class Job:
    """A reconstruction to be made, in the conventions of docs/backends.md.

    Attributes:
        patterns: (n, y, x) float32 counts, the unscattered beam at pixel N//2 of each axis.
        valid: (y, x) bool, the pixels that are compared.
        probe: (mode, y, x) complex64 start, its middle at pixel N//2; the sum of its squared modulus is the counts.
        positions: (n, 2) float64, (y, x) of the object's pixel under the probe's middle.
        object_shape: (rows, columns) that holds the probe at all positions.
        pixel: (y, x) of an object's pixel in angstrom; None where lengths are not known.
        wavelength: angstrom; None where it is not known.
        slices, slice_thickness: number of slices, and angstrom from one to the next (None for one slice).
        iterations: passes over all patterns.
        refine_probe, probe_start: whether the probe is reconstructed, too, and the iterations before it is.
        seed: of everything random.
        device: ``cpu`` or ``cuda``.
        threads: of the processor.
        values: the adapter's own solver parameters, name -> value.
        options: the package's own options, dotted name -> value; they come last.
        checked: indices of the patterns for which the package's own model is wanted.
        files: folder for files in the package's own formats; None where they are not wanted. See :meth:`keep`.
        lost: why there are none; empty where there are.
        remarks: a list to which sentences are added that people should know of the reconstruction.
    """

    files = None
    lost = ""

    def __init__(self, **attributes):
        self.remarks = []
        self.__dict__.update(attributes)

    def keep(self, write):
        """Call ``write(folder)``, with a Path, which makes files of the final state, where they are wanted.

        That it fails loses none of the reconstruction.
        """
        if self.files is None:
            return
        try:
            write(Path(self.files))
        except Exception as error:
            traceback.print_exc()
            self.lost = _in_words(error)
            shutil.rmtree(self.files)
            Path(self.files).mkdir()


def main(adapter, read, write):
    """Answer until the other end closes its pipe."""
    # Adapters here have the names of their packages, and Python looks in this folder first.
    here = Path(__file__).resolve().parent
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != here]
    os.set_inheritable(read, False)  # what the package starts must not hold the pipes open
    os.set_inheritable(write, False)
    os.dup2(2, 1)
    _end_with_parent()
    commands = os.fdopen(read, encoding="utf-8")
    to = os.fdopen(write, "w", encoding="utf-8")
    heard = _Heard(commands)

    def say(event, **rest):
        to.write(json.dumps({"event": event, **rest}) + "\n")
        to.flush()

    try:
        module = _load(adapter)
        module.open_package()
        say("hello", contract=CONTRACT, versions=_versions(module.PACKAGES))
    except BaseException as error:  # sys.exit in a package, too
        traceback.print_exc()
        say("failed", what=_in_words(error), traceback=traceback.format_exc()[-_LONGEST:])
        return
    patterns = None
    while (command := heard.next()) is not None:
        try:
            if command["do"] == "open":
                patterns = command["patterns"]
                say("opened")
            else:
                _run(module, patterns, command, heard, say)
        except BaseException as error:
            traceback.print_exc()
            say("failed", what=_in_words(error), traceback=traceback.format_exc()[-_LONGEST:])


def _run(module, patterns, command, heard, say):
    """One reconstruction."""
    import numpy as np

    def load(path):
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def save(path, array):
        with open(path, "wb") as file:  # noqa: PTH123
            np.save(file, array, allow_pickle=False)

    # Copies: the other end writes the next job into the same files.
    arrays = {name: np.array(load(path)) for name, path in command["arrays"].items()}
    job = Job(patterns=load(patterns)[arrays.pop("rows")], **arrays, **command["job"])
    into = command["results"]

    def report(iteration, loss, object, probe, positions):
        """Tell the state after an iteration; returns whether to go on.

        Args:
            iteration: from 1.
            loss: the package's own.
            object: complex (slice, y, x) or (y, x).
            probe: complex (mode, y, x) or (y, x), scaled and centred as the job's.
            positions: (n, 2) of the object's pixel under the probe's middle, in pixels of ``object``.
        """
        state = {"object": object, "probe": probe, "positions": positions}
        for name, array in state.items():
            save(into[name], np.ascontiguousarray(array))
        say("progress", iteration=int(iteration), loss=float(loss))
        answer = heard.next()
        return answer is not None and answer["do"] == "go"

    own = module.run(job, report)
    if own is not None:
        save(into["checked"], np.asarray(own, dtype=np.float64))
    say("ended", checked=own is not None, lost=job.lost, remarks=job.remarks)


class _Heard:
    """The commands, read by a thread, so that the other end's death is noticed while a package is busy."""

    def __init__(self, commands):
        self._commands, self._ready, self._lines = commands, threading.Semaphore(0), []
        threading.Thread(target=self._listen, daemon=True).start()

    def next(self):
        """The next command; None at the end."""
        self._ready.acquire()
        line = self._lines.pop(0)
        return None if line is None else json.loads(line)

    def _listen(self):
        for line in self._commands:
            self._lines.append(line)
            self._ready.release()
        os._exit(0)


def _end_with_parent():
    """Ask Linux to kill this process with the one that started it: a package may keep all threads from running."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, int(signal.SIGKILL), 0, 0, 0)


def import_torchvision():
    """Import torchvision for an adapter (``from __main__ import import_torchvision``), whatever torch it was built for.

    PyPI's is built for CUDA. Beside a CPU torch it cannot load its own operators, and fails as it describes the first
    of them; to declare them is enough for packages that call none.
    """
    import torch

    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        declared = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            declared.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import_torchvision.declared = declared  # what it declares lives as long as it
        import torchvision  # noqa: F401


def _load(path):
    spec = importlib.util.spec_from_file_location("adapter", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _versions(packages):
    found = {"python": platform.python_version()}
    for package in packages:
        found[package] = importlib.metadata.version(package)
    return found


def _in_words(error):
    said = str(error)
    said = said if len(said) <= _LONGEST else said[:_LONGEST] + " ..."
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
