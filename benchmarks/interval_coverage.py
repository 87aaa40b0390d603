"""Coverage: how often the 90 % intervals hold the truth.

    python benchmarks/interval_coverage.py  # 100 measurements at 1e3 and 100 at 1e4 electrons
    python benchmarks/interval_coverage.py --engine direct --electrons 1e4  # by an independent simulator

Every measurement is small (144 patterns of 32 x 32) and has six parameters drawn at random; each is tuned as
`autotune run` does it, without MLflow. By default the forward model of the reconstruction also simulates the patterns.
Then the errors of an answer come only from noise and from the search, which is what the intervals claim to cover. With
`--engine direct` the forward model also errs in how it samples the detector, which no interval accounts for.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from simulated_study import run_simulated

TRUTH = {
    "camera_length": [-4, 4],
    "center_offset_y": [-2, 2],
    "center_offset_x": [-2, 2],
    "elliptical_distortion": [-0.02, 0.02],
    "defocus": [60, 180],
    "scan_rotation": [-12, 12],
}
SEARCHED = {
    "camera_length": [-5, 5],
    "center_offset_y": [-3, 3],
    "center_offset_x": [-3, 3],
    "elliptical_distortion": [-0.03, 0.03],
    "defocus": [0, 250],
    "scan_rotation": [-20, 20],
}


@dataclass(frozen=True)
class Answer:
    """Error, interval and verdict of one parameter in one study."""

    error: float
    half_width: float
    covered: bool
    verdict: str | None


def study(seed: int, electrons: float, engine: str, replicates: int) -> dict[str, Any]:
    """The study file of one measurement, as data."""
    return {
        "name": "coverage",
        "objective": {
            "name": "ptychography",
            "data": {"file": "measurement.h5"},
            "simulate": {
                "engine": engine,
                "seed": seed,
                "detector_pixels": 32,
                "angular_sampling_mrad": 2.0,
                "scan_points": 12,
                "scan_step_angstrom": 1.2,
                "electrons_per_pattern": electrons,
                "mismatch": TRUTH,
            },
        },
        "parameters": {name: {"low": low, "high": high} for name, (low, high) in SEARCHED.items()} | {"iterations": 20},
        "search": {"seed": seed},
        "budget": {"trials": 40, "converged": 1e-4},
        "intervals": {"replicates": replicates},
        "tracking": {"enabled": False},
        "report": False,
    }


def tuned(document: dict[str, Any]) -> dict[str, Answer]:
    """Simulate a measurement, tune it, and compare the answer with the truth."""
    with run_simulated(document) as (_, outcome):
        result, truths = outcome.result, outcome.truth
    answers = {}
    for name, parameter in result.parameters.items():
        (low, high), truth = parameter.interval, truths[name]
        half_width, covered = (high - low) / 2, low <= truth <= high
        answers[name] = Answer(parameter.estimate - truth, half_width, covered, parameter.verdict)
    return answers


def show(runs: Sequence[dict[str, Answer]], title: str) -> None:
    """Print coverage, bias and widths of each parameter."""
    print(f"{title}, {len(runs)} measurements")
    print(f"  {'parameter':24}{'coverage':>10}{'mean error':>14}{'rms error':>14}{'median +-':>14}  not identified")
    for name in TRUTH:
        of_one = [run[name] for run in runs]
        errors = [answer.error for answer in of_one]
        covered = statistics.mean(answer.covered for answer in of_one)
        rms = statistics.mean(error**2 for error in errors) ** 0.5
        width = statistics.median(answer.half_width for answer in of_one)
        doubtful = sum(answer.verdict != "identified" for answer in of_one)
        numbers = f"{100 * covered:>8.0f} %{statistics.mean(errors):>14.4g}{rms:>14.4g}{width:>14.4g}"
        print(f"  {name:24}{numbers}  {doubtful}", flush=True)


def main() -> None:
    """Run the studies and print how often the intervals hold the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measurements", type=int, default=100)
    parser.add_argument("--electrons", type=float, nargs="+", default=[1e3, 1e4], help="per pattern")
    parser.add_argument("--engine", choices=("model", "direct"), default="model")
    parser.add_argument(
        "--replicates", type=int, default=6, help="repeated measurements; 0: intervals of the search alone"
    )
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for electrons in arguments.electrons:
        runs: list[dict[str, Answer]] = []
        for seed in range(arguments.measurements):
            runs.append(tuned(study(seed, electrons, arguments.engine, arguments.replicates)))
            if (seed + 1) % 25 == 0 or seed + 1 == arguments.measurements:
                show(runs, f"{electrons:g} electrons per pattern, engine {arguments.engine}")


if __name__ == "__main__":
    main()
