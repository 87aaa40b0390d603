"""Packages tuned by this project and by their own search, on the same patterns: the error of the defocus.

    autotune backends install py4dstem; autotune backends install ptyrad
    python benchmarks/backends.py --ptyrad-python PTYRAD/bin/python --json backends.json      # 15 to 20 minutes

The patterns are `scan64` of ptychography_data.py: a known lens, whose defocus alone is searched for, in +-300 angstrom.
Each search makes as many trials with as many iterations, from three seeds, and reconstructs with a fixed probe; PtyRAD
compares intensities in both cases. The answer of a package's own search is its best trial. Ours is the estimate at the
end of the search, the optimum of the surrogate; the best trial is printed beside it. PtyRAD 1.0.0 does not parse below
Python 3.12: its own search needs a Python that is newer (or an edited file, see README.md).
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch are imported

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from ptychography_data import Scan, common_scan, default_folder

from autotune.home import Home
from autotune.runs.run import run_study
from autotune.session import Quiet
from autotune.study import load_study
from objectives.ptychography.backends.environments import is_installed, python_of
from objectives.ptychography.backends.table import find_backend

_PEERS = Path(__file__).parent / "peers"
_TRIALS, _ITERATIONS, _SEEDS = 20, 8, (0, 1, 2)
_RANGE = (-300.0, 300.0)
Found = dict[str, Any]


def ours(name: str, scan: Scan, seed: int) -> Found:
    """A study with a backend."""
    with tempfile.TemporaryDirectory() as folder:
        document = {
            "name": "defocus",
            "objective": {
                "name": "ptychography",
                "data": {"file": str(scan.measurement)},
                "backend": {"name": name},
            },
            "parameters": {"defocus": {"low": _RANGE[0], "high": _RANGE[1]}, "iterations": _ITERATIONS},
            "search": {"seed": seed},
            "budget": {"trials": _TRIALS},
            "intervals": {"replicates": 0},
            "tracking": {"enabled": False},
            "report": False,
        }
        path = Path(folder) / "study.yaml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        started = time.perf_counter()
        outcome = run_study(load_study(path), home=Home(Path(folder) / "home"), watcher=Quiet())
        defocus = outcome.result.parameters["defocus"]
        assert defocus.estimate is not None and defocus.best is not None  # noqa: S101
        return {
            "seconds": time.perf_counter() - started,
            "answer": float(defocus.estimate),
            "best_trial": float(defocus.best),
        }


def own(python: str, program: str, scan: Scan, seed: int, *rest: str) -> Found:
    """A package's own search."""
    ends = ("--low", str(_RANGE[0]), "--high", str(_RANGE[1]))
    counts = ("--trials", str(_TRIALS), "--iterations", str(_ITERATIONS), "--seed", str(seed))
    command = [python, str(_PEERS / program), str(scan.plain), *counts, *ends, *rest]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    best = min(range(len(found["loss"])), key=found["loss"].__getitem__)
    return {"seconds": found["seconds"], "answer": found["defocus"][best], "best_trial": found["defocus"][best]}


def main() -> None:
    """Run every search, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=default_folder(), help="where the data are kept")
    parser.add_argument("--ptyrad-python", help="a Python 3.12 or newer that has PtyRAD, for its own search")
    parser.add_argument("--json", type=Path, help="write all of it to this file")
    options = parser.parse_args()
    scan = common_scan(options.folder, 64)
    searches: dict[str, Any] = {}
    for name in ("ptyrad", "py4dstem"):
        if is_installed(find_backend(name)):
            searches[f"{name}, this project"] = lambda seed, name=name: ours(name, scan, seed)
        else:
            print(f"{name} is left out: autotune backends install {name}")
    if options.ptyrad_python:
        for sampler in ("TPESampler", "GPSampler"):
            searches[f"ptyrad, hypertune {sampler}"] = lambda seed, sampler=sampler: own(
                options.ptyrad_python, "ptyrad_hypertune.py", scan, seed, "--sampler", sampler
            )
    if is_installed(find_backend("py4dstem")):
        python = str(python_of(find_backend("py4dstem"), None, Path()))
        searches["py4dstem, PtychographyOptimizer"] = lambda seed: own(python, "py4dstem_optimizer.py", scan, seed)
    results = {}
    print(f"| search | error of the defocus, angstrom, seeds {_SEEDS} | median | best trial's | seconds |")
    print("|---|---|---|---|---|")
    for label, search in searches.items():
        found = [search(seed) for seed in _SEEDS]
        results[label] = found
        errors = [abs(each["answer"] - scan.defocus) for each in found]
        of_trials = statistics.median(abs(each["best_trial"] - scan.defocus) for each in found)
        listed, middle = " / ".join(f"{e:.2f}" for e in errors), statistics.median(errors)
        seconds = statistics.median(each["seconds"] for each in found)
        print(f"| {label} | {listed} | {middle:.2f} | {of_trials:.2f} | {seconds:.0f} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
