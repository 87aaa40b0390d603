"""Speed of the ptychography solvers, compared with their Fourier transforms alone and with three other packages.

    python benchmarks/ptychography_speed.py --peers-python PEERS/bin/python --ptychi-python PTYCHI/bin/python

It ends with two tables: what each package has reached after two iterations, and the seconds that each of ours needs for
the residuals that the peers reached.

One thread. Seconds are processor seconds, which other work on the machine disturbs least; where wall-clock seconds are
much longer, the machine was busy, and the output says so. Peers run in their own interpreter (benchmarks/README.md says
how to make one); without it they are left out.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch are imported

import argparse
import importlib.metadata
import json
import platform
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from own_solvers import EARLY, SETTINGS, Point, seconds_to
from own_solvers import Problem as OwnProblem
from ptychography_data import SCANS, Scan, common_scan, default_folder
from truth import Region, Truth

_PEERS: dict[str, dict[int, list[str]]] = {
    "ptyrad_reconstruct.py": {64: ["--iterations", "30"], 128: ["--iterations", "20"]},
    "py4dstem_reconstruct.py": {64: ["--iterations", "30"], 128: ["--iterations", "20"]},
    "ptychi_reconstruct.py": {64: ["--iterations", "15"], 128: ["--iterations", "15"]},
}
"""Script -> pixels -> arguments. The scripts' defaults are the settings that did best (benchmarks/README.md)."""
_NEAR = 1.05
"""The easier target, as a multiple of the lowest residual that the peer reached."""
_BUSY = 1.15


def machine() -> dict[str, Any]:
    """Processor, load and software versions of this machine."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    versions = {name: importlib.metadata.version(name) for name in ("torch", "numba", "numpy", "scipy")}
    threads, load = torch.get_num_threads(), os.getloadavg()[0]
    return {"processor": model, "cores": os.cpu_count(), "threads": threads, "load": load, "versions": versions}


def run_peer(python: Path, script: str, scan: Scan, truth: Truth) -> dict[str, Any]:
    """Run one peer's reconstruction and return its report, or the failure under ``error``."""
    path = Path(__file__).parent / "peers" / script
    alone = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        region = Path(folder) / "region.npz"
        early = ["--early", str(EARLY), "--region", str(region)]
        command = [str(python), str(path), str(scan.plain), *_PEERS[script][scan.pixels], *early]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=alone)
        phase = None
        if region.exists():
            with np.load(region) as stored:
                phase = truth.correlation(Region(stored["field"], tuple(stored["first"])))
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines() or ["no output"]
        return {"package": script, "error": said[-1]}
    report: dict[str, Any] = {**json.loads(lines[-1]), "early_phase": phase}
    return report


def compare(peer: dict[str, Any], own: dict[str, list[Point]]) -> list[dict[str, Any]]:
    """Seconds of the peer and of each of our solvers to the peer's lowest residual, and to one slightly above it."""
    lowest = min(point["residual"] for point in peer["curve"])
    rows = []
    for target in (lowest, _NEAR * lowest):
        theirs = seconds_to(peer["curve"], target)
        ours = {solver: seconds_to(curve, target) for solver, curve in own.items()}
        reached = {solver: seconds for solver, seconds in ours.items() if seconds is not None}
        best = min(reached, key=lambda solver: reached[solver], default=None)
        factor = None if best is None or theirs is None else theirs / reached[best]
        rows.append({"residual": target, "peer": theirs, "ours": ours, "best": best, "times_faster": factor})
    return rows


def print_pace(paces: list[dict[str, Any]]) -> None:
    """Print the table of our solvers' time per iteration."""
    print("\nTime per pattern and iteration, probe refined, in microseconds")
    print("(its FFTs: alone, on an array in the cache; in place: the solver's loop with only its FFTs left in it)")
    heads = ("solver", "its FFTs", "ratio", "in place", "ratio", "FFTs")
    print(f"{'pixels':>9} {'':<7} " + " ".join(f"{head:>9}" for head in heads))
    for row in paces:
        in_place = row["in_place"]
        beside = (
            f"{'-':>9} {'-':>9}" if in_place is None else f"{1e6 * in_place:>9.1f} {row['seconds'] / in_place:>9.2f}"
        )
        print(
            f"{row['pixels']:>4}x{row['pixels']:<4} {row['solver']:<7} {1e6 * row['seconds']:>9.1f} "
            f"{1e6 * row['floor']:>9.1f} {row['ratio']:>9.2f} {beside} {row['transforms']:>9.2f}"
        )


def print_own_curves(scan: Scan, own: dict[str, list[Point]]) -> None:
    """Print the lowest residual of each of our solvers."""
    print(f"\n{scan.positions} patterns of {scan.pixels}x{scan.pixels}; residual of the truth {scan.noise_floor:.4f}")
    for solver, curve in own.items():
        end = min(curve, key=lambda point: point["residual"])
        print(
            f"  ours, {solver:<6} {end['seconds'] / end['iteration']:.4f} s per iteration with the start; "
            f"residual {end['residual']:.4f} after {end['iteration']:.0f} iterations, {end['seconds']:.2f} s"
        )


def print_peer(peer: dict[str, Any], scan: Scan, rows: list[dict[str, Any]]) -> None:
    """Print the comparison with one peer."""
    curve = peer["curve"]
    end = curve[-1]
    per_pattern = 1e6 * end["seconds"] / len(curve) / scan.positions
    lowest = min(point["residual"] for point in curve)
    print(
        f"  {peer['package']} {peer['version']}: {end['seconds'] / len(curve):.4f} s per iteration, "
        f"{per_pattern:.0f} us per pattern and iteration; residual {lowest:.4f} within {len(curve)} iterations"
    )
    wall, processor = peer["wall_seconds"], end["seconds"]
    if wall > _BUSY * processor:
        print(f"    (the machine was busy: {wall:.1f} s on the wall for {processor:.1f} s of processor)")
    for row in rows:
        ours = ", ".join(
            f"{solver} {'not reached' if seconds is None else f'{seconds:.2f} s'}"
            for solver, seconds in row["ours"].items()
        )
        verdict = "" if row["times_faster"] is None else f" -> {row['best']} is {row['times_faster']:.1f} times faster"
        print(f"    to {row['residual']:.4f}: {row['peer']:.2f} s; ours: {ours}{verdict}")


def print_early(rows: list[dict[str, Any]]) -> None:
    """Print what every package has reached after ``EARLY`` iterations."""
    print(f"\nAfter {EARLY} iterations: consistency, correlation of the phase with the truth; seconds per iteration")
    for row in rows:
        print(
            f"{row['pixels']:>4}x{row['pixels']:<4} {row['name']:<16} {row['consistency']:>7.4f} {row['phase']:>7.4f} "
            f"{row['seconds']:>8.4f}"
        )


def early_row(scan: Scan, name: str, curve: list[Point], phase: float | None) -> dict[str, Any]:
    """One row of :func:`print_early`; the seconds are those of the second half of the curve."""
    half = len(curve) // 2
    late, middle = curve[-1], curve[half - 1]
    each = (late["seconds"] - middle["seconds"]) / (late["iteration"] - middle["iteration"])
    at = next(point["residual"] for point in curve if point["iteration"] == EARLY)
    reached = {"consistency": 1 - at, "phase": float("nan") if phase is None else phase}
    return {"pixels": scan.pixels, "name": name, **reached, "seconds": each}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure everything, and print each part as it is finished."""
    facts = machine()
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    print(f"{facts['processor']}, {facts['cores']} cores, {facts['threads']} thread used, load {facts['load']:.1f}")
    print(versions)
    if facts["load"] > 0.5:
        print("other work is running: read the seconds with care")
    result: dict[str, Any] = {"machine": facts, "settings": SETTINGS, "pace": [], "scans": [], "early": []}
    problems = {pixels: OwnProblem(common_scan(arguments.folder, pixels)) for pixels in arguments.pixels}
    for pixels, problem in problems.items():
        for solver in SETTINGS:
            pace = problem.pace(solver)
            row = {"pixels": pixels, "solver": solver, "ratio": pace.ratio, **vars(pace)}
            result["pace"].append(row)
    print_pace(result["pace"])
    pythons = interpreters(arguments)
    for pixels, problem in problems.items():
        truth = Truth(SCANS[pixels])
        own = {solver: problem.curve(solver) for solver in SETTINGS}
        print_own_curves(problem.scan, own)
        for solver, curve in own.items():
            phase = truth.correlation(problem.region(solver, EARLY))
            result["early"].append(early_row(problem.scan, f"ours, {solver}", curve, phase))
        peers = [run_peer(python, script, problem.scan, truth) for script, python in pythons.items()]
        for peer in peers:
            if "error" in peer:
                print(f"  {peer['package']} failed: {peer['error']}")
                continue
            peer["comparison"] = compare(peer, own)
            print_peer(peer, problem.scan, peer["comparison"])
            result["early"].append(early_row(problem.scan, peer["package"], peer["curve"], peer["early_phase"]))
        facts_of_scan = {"pixels": problem.scan.pixels, "positions": problem.scan.positions}
        result["scans"].append({**facts_of_scan, "noise_floor": problem.scan.noise_floor, "ours": own, "peers": peers})
    print_early(result["early"])
    return result


def interpreters(arguments: argparse.Namespace) -> dict[str, Path]:
    """Script of each peer that has an interpreter -> the interpreter; prints which are left out."""
    found: dict[str, Path] = {}
    for option, scripts in (
        ("peers_python", ("ptyrad_reconstruct.py", "py4dstem_reconstruct.py")),
        ("ptychi_python", ("ptychi_reconstruct.py",)),
    ):
        named = getattr(arguments, option) or Path(os.environ.get(f"AUTOTUNE_{option.upper()}", ""))
        if named.expanduser().is_file():
            found |= dict.fromkeys(scripts, named.expanduser())
            continue
        why = "no interpreter named" if named == Path() else f"there is no {named}"
        flag = "--" + option.replace("_", "-")
        print(f"\n{', '.join(scripts)} left out, {why}: see {flag} and AUTOTUNE_{option.upper()}")
    return found


def main() -> None:
    """Parse, measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=default_folder(), help="where the data are kept")
    parser.add_argument("--pixels", type=int, nargs="+", choices=sorted(SCANS), default=sorted(SCANS))
    parser.add_argument("--peers-python", type=Path, metavar="PATH", help="python of an environment with both packages")
    parser.add_argument("--ptychi-python", type=Path, metavar="PATH", help="python of an environment with pty-chi")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every number and curve to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = measure(arguments)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
