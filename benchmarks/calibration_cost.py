"""Cost of the calibration of studies/demo.yaml, in full reconstructions, and its distance from the truth.

    python benchmarks/calibration_cost.py                       # 10 searches of the demo's measurement
    python benchmarks/calibration_cost.py --measurements 10     # one search each of 10 other measurements

Each search simulates the measurement and runs the study as `autotune run` does, without MLflow, in a temporary folder.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml

from autotune.home import Home
from autotune.objective import Simulates
from autotune.runs.run import run_study
from autotune.session import Quiet
from autotune.study import load_study

DEMO = Path(__file__).parents[1] / "studies" / "demo.yaml"

TOLERANCES = {
    "camera_length": 0.15,
    "center_offset_y": 0.05,
    "center_offset_x": 0.05,
    "elliptical_distortion": 0.003,
    "defocus": 2.0,
    "scan_rotation": 0.25,
}
"""Tolerances in the parameters' units: about 1 % of each range; 5 % for the ellipticity, where the metric is biased."""


@dataclass(frozen=True)
class Run:
    """Cost and result of one search."""

    cost: float
    trials: int
    seconds: float
    fraction_of_ceiling: float
    errors: Mapping[str, float]

    @property
    def within(self) -> bool:
        """Whether every parameter is within its tolerance."""
        return all(abs(error) <= TOLERANCES[name] for name, error in self.errors.items())


def search(seed: int, measurement: int | None, *, fidelity: bool) -> Run:
    """Search the demo's measurement, or another one."""
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "demo.yaml"
        text: dict[str, Any] = yaml.safe_load(DEMO.read_text(encoding="utf-8"))
        text["search"]["seed"] = seed
        text["tracking"] = {"enabled": False}
        text["report"] = False
        if measurement is not None:
            text["objective"]["simulate"]["seed"] = measurement
        if not fidelity:
            del text["search"]["fidelity"]
        study.write_text(yaml.safe_dump(text), encoding="utf-8")
        file = load_study(study)
        if not isinstance(file.objective_type, Simulates):
            raise TypeError(f"{DEMO} is not of an objective that simulates")
        file.objective_type.simulate(file.settings, folder=file.folder, output=None)
        started = time.monotonic()
        outcome = run_study(file, home=Home(Path(folder) / "home"), watcher=Quiet())
        seconds = time.monotonic() - started
    result = outcome.result
    best = {name: parameter.best for name, parameter in result.parameters.items()}
    return Run(
        result.cost.reconstruction_equivalents,
        result.trials.finished,
        seconds,
        result.metric.fraction_of_ceiling,
        {name: best[name] - outcome.truth[name] for name in TOLERANCES},
    )


def main() -> None:
    """Run the searches and print their costs and errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="searches of the demo's measurement (default: 10)")
    parser.add_argument("--measurements", type=int, default=0, help="other measurements, searched once each")
    parser.add_argument("--without-fidelity", action="store_true", help="every evaluation in full")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print("tolerances: " + ", ".join(f"{name} {value:g}" for name, value in TOLERANCES.items()))
    cases = (
        [(0, measurement) for measurement in range(1, arguments.measurements + 1)]
        if arguments.measurements
        else [(seed, None) for seed in range(arguments.seeds)]
    )
    runs = []
    for seed, measurement in cases:
        run = search(seed, measurement, fidelity=not arguments.without_fidelity)
        runs.append(run)
        errors = " ".join(f"{error / TOLERANCES[name]:+.2f}" for name, error in run.errors.items())
        where = f"seed {seed}" if measurement is None else f"measurement {measurement}"
        print(
            f"{where}: cost {run.cost:.2f}, {run.trials} trials, {run.seconds:.1f} s, "
            f"{100 * run.fraction_of_ceiling:.2f} % of the ceiling, errors in tolerances {errors}"
            f"{'' if run.within else '  NOT within'}",
            flush=True,
        )
    costs = sorted(run.cost for run in runs)
    print(
        f"median cost {statistics.median(costs):.2f} full reconstructions (from {costs[0]:.2f} to {costs[-1]:.2f}); "
        f"{sum(run.within for run in runs)} of {len(runs)} within all tolerances"
    )


if __name__ == "__main__":
    main()
