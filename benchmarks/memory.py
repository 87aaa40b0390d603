"""Peak memory of opening and reconstructing 64 x 64 patterns of 128 x 128, as a multiple of the data plus the object.

    python benchmarks/memory.py

Each solver runs in a process of its own. The peak is that of the resident set, less the resident set before the file is
opened; by then everything is imported, and a tiny reconstruction has compiled the code that is compiled at first use.
The data are float32, the object complex64. Linux only: other systems do not report a process's own peak.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch are imported

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_SOLVERS = ("lbfgs", "lsqml", "epie", "rpie", "adam")
_ITERATIONS = 2
"""Enough to reach the peak: all buffers exist after the first iteration, and L-BFGS's history from the start."""
_TARGET = 1.5


def resident_bytes(which: str) -> int:
    """``VmRSS`` (now) or ``VmHWM`` (peak) of this process; unlike ru_maxrss, it is not inherited from the parent."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith(which + ":"))
    return int(line.split()[1]) * 1024


def measure(path: Path, tiny: Path, solver: str) -> dict[str, Any]:
    """Open and reconstruct in this process, and return sizes in bytes."""
    import torch

    from objectives.diffraction.data.open.reading import open_measurement
    from objectives.diffraction.data.settings import DataSettings, GeometrySettings
    from objectives.ptychography.model.device import Machine
    from objectives.ptychography.objective import PtychographyObjective

    def reconstruct(file: Path) -> tuple[int, int, dict[str, int]]:
        measurement = open_measurement(DataSettings(file=file), GeometrySettings(), folder=Path())
        peaks = {"opened": resident_bytes("VmHWM")}
        objective = PtychographyObjective(measurement, Machine(torch.device("cpu"), torch.float32))
        values = {"solver": solver, "iterations": _ITERATIONS, "probe": "refined"}
        evaluation = objective.evaluate(values, metric="consistency", seed=0)
        peaks["reconstructed"] = resident_bytes("VmHWM")
        return measurement.patterns.size * 4, evaluation.arrays["object"].nbytes, peaks

    reconstruct(tiny)
    before = resident_bytes("VmRSS")
    data, of_object, peaks = reconstruct(path)
    return {
        "solver": solver,
        "data": data,
        "object": of_object,
        "before": before,
        **{name: peak - before for name, peak in peaks.items()},
        "multiple": (peaks["reconstructed"] - before) / (data + of_object),
    }


def make_data(folder: Path) -> None:
    """Write both files, in a process of its own, so that their memory is in no measured peak."""
    from ptychography_data import large_scan

    print(json.dumps([str(large_scan(folder)), str(large_scan(folder, points=4))]))


def _in_its_own_process(*arguments: str) -> Any:
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure every solver and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the data are kept")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every number to this file")
    parser.add_argument("--solvers", nargs="+", choices=_SOLVERS, default=_SOLVERS)
    parser.add_argument("--of", nargs=3, metavar=("FILE", "TINY", "SOLVER"), help=argparse.SUPPRESS)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make is not None:
        make_data(arguments.make)
        return
    if arguments.of is not None:
        path, tiny, solver = arguments.of
        print(json.dumps(measure(Path(path), Path(tiny), solver)))
        return
    if arguments.folder is None:
        from ptychography_data import default_folder

        arguments.folder = default_folder()
    path, tiny = _in_its_own_process("--make", str(arguments.folder))
    columns = "".join(f"{name:>10}" for name in ("data", "object", "opened", "peak"))
    print(f"{'solver':<7}{columns}  peak / (data + object); target {_TARGET}")
    rows = []
    for solver in arguments.solvers:
        row = _in_its_own_process("--of", path, tiny, solver)
        rows.append(row)
        sizes = "".join(f"{row[name] / 2**20:>6.1f} MiB" for name in ("data", "object", "opened", "reconstructed"))
        print(f"{solver:<7} {sizes}  {row['multiple']:.2f}", flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
