"""Tune a solver in-sample and on withheld counts, and compare both reconstructions with the truth.

    python benchmarks/overfitting.py                                      # 10 measurements, each tuned twice
    python benchmarks/overfitting.py --picture docs/images/overfitting.png
    python benchmarks/overfitting.py --of patterns --fraction 0.2         # what is withheld; see docs/held-out.md

Every measurement is a small one at low dose (144 patterns of 32 x 32), of another specimen. The instrument is known;
four hyperparameters of the solver are tuned as `autotune run` does it, without MLflow: once by the consistency of the
counts that the solver saw, once by that of counts withheld from it. The settings chosen by each tuning are then used to
reconstruct from all counts, so that the two reconstructions differ only by these settings; both are compared with the
specimen inside the scanned area.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from simulated_study import run_simulated

from autotune.objective import Evaluation, Value
from autotune.study import StudyFile
from objectives.metrics import aligned_phases, correlation
from objectives.ptychography.settings import PtychographySettings
from objectives.ptychography.simulation.direct import Specimen, specimen_of
from objectives.ptychography.simulation.instrument import stated_positions

Split = Literal["in_sample", "held_out"]
SPLITS: tuple[Split, ...] = get_args(Split)

_COLOURS: Mapping[Split, str] = {"in_sample": "#D55E00", "held_out": "#0072B2"}
_BAR_ANGSTROM = 5.0

DEFOCUS_ANGSTROM = 100
HYPERPARAMETERS = {
    "iterations": {"low": 5, "high": 100, "log": True},
    "smoothness": {"low": 1e-4, "high": 1.0, "log": True},
    "sparsity": {"low": 1e-4, "high": 1.0, "log": True},
    "preconditioner_floor": {"low": 1e-3, "high": 1.0, "log": True},
}


@dataclass(frozen=True)
class Withheld:
    """The study's ``objective.held_out``, except for its seed."""

    of: str
    fraction: float


@dataclass(frozen=True)
class Picture:
    """A reconstruction and the truth, cut to the scanned area.

    Attributes:
        phase, truth: phases in radians, (rows, columns), without the offset and ramp by which they differ.
        pixel: size (y, x) of a pixel, angstrom.
        correlation: correlation of the complex object with the truth, 0..1.
    """

    phase: NDArray[np.float64]
    truth: NDArray[np.float64]
    pixel: tuple[float, float]
    correlation: float

    @property
    def rms_error(self) -> float:
        """Root-mean-square error of the phase, radians."""
        return float(np.std(self.phase - self.truth))

    @property
    def contrast(self) -> float:
        """Standard deviation of the phase over the truth's. Penalties lower it, noise raises it."""
        return float(np.std(self.phase) / np.std(self.truth))


@dataclass(frozen=True)
class Choice:
    """The settings that one tuning chose.

    Attributes:
        values: hyperparameter -> value of its best trial.
        of_all: the reconstruction from all counts with these values.
        as_tuned: correlation of the trial's own reconstruction, from the counts that it saw.
    """

    values: Mapping[str, Value]
    of_all: Picture
    as_tuned: float


def study(seed: int, electrons: float, split: Split, trials: int, withheld: Withheld) -> dict[str, Any]:
    """The study file of one measurement, as data; the measurement is the same for both splits."""
    return {
        "name": "overfitting",
        "objective": {
            "name": "ptychography",
            "data": {"file": "measurement.h5"},
            "held_out": {"of": withheld.of, "fraction": withheld.fraction, "seed": seed},
            "simulate": {
                "seed": seed,
                "detector_pixels": 32,
                "angular_sampling_mrad": 2.0,
                "scan_points": 12,
                "scan_step_angstrom": 1.2,
                "electrons_per_pattern": electrons,
                "mismatch": {"defocus": DEFOCUS_ANGSTROM},
            },
        },
        "parameters": HYPERPARAMETERS | {"defocus": DEFOCUS_ANGSTROM},
        "metric": {"name": "consistency", "split": split},
        "search": {"seed": seed},
        "budget": {"trials": trials},
        "execution": {"executor": "inline"},
        "intervals": {"replicates": 0},
        "tracking": {"enabled": False},
        "report": False,
    }


def tuned(document: dict[str, Any]) -> Choice:
    """Simulate the measurement of a study, tune it, and reconstruct with the chosen values."""
    with run_simulated(document) as (file, outcome):
        chosen = {name: outcome.result.parameters[name].best for name in HYPERPARAMETERS}
        as_tuned = reconstructed(file, chosen, outcome.result.metric.name)
        return Choice(chosen, reconstructed(file, chosen, "consistency"), as_tuned.correlation)


def reconstructed(file: StudyFile, chosen: Mapping[str, Value], metric: str) -> Picture:
    """Reconstruct the simulated measurement of a study, from all counts except those that ``metric`` withholds."""
    simulate = PtychographySettings.model_validate(file.settings).simulate
    if simulate is None:
        raise ValueError("the study simulates nothing: its truth is unknown")
    values = {"defocus": DEFOCUS_ANGSTROM, **chosen}
    evaluation = file.open().evaluate(values, metric=metric, seed=0)
    return beside_truth(evaluation, specimen_of(simulate), stated_positions(simulate))


def beside_truth(evaluation: Evaluation, specimen: Specimen, positions: NDArray[np.float64]) -> Picture:
    """Compare the scanned area of a reconstruction with the specimen at the middles of the object's pixels.

    Args:
        evaluation: evaluation for a detector without mismatch, so that the object's pixels lie along the scan's axes.
        specimen: the truth.
        positions: scan positions (position, 2), (y, x), angstrom.
    """
    at, window = [], []
    for axis, (letter, line) in enumerate((("y", "row"), ("x", "column"))):
        pixel = float(evaluation.attributes[f"object_pixel_{letter}"])
        first, last = (int(evaluation.attributes[f"scan_{end}_{line}"]) for end in ("first", "last"))
        # Patches lie at whole pixels, counted from the origin of the positions.
        at.append((np.rint(positions[:, axis].min() / pixel) + np.arange(last - first + 1)) * pixel)
        window.append(slice(first, last + 1))
    field, truth = evaluation.arrays["object"].prod(axis=0)[tuple(window)], specimen.transmission(*at)
    phase, reference = aligned_phases(field, truth)
    sizes = (float(at[0][1] - at[0][0]), float(at[1][1] - at[1][0]))
    return Picture(phase, reference, sizes, correlation(field, truth))


def summary(pairs: Sequence[Mapping[Split, Choice]]) -> str:
    """Summarise how often withheld counts led nearer to the truth, with medians over the measurements."""
    measures: tuple[tuple[str, int, Callable[[Choice], float]], ...] = (
        ("correlation, from all counts", 1, _of_all),
        ("correlation, as tuned", 1, lambda choice: choice.as_tuned),
        ("rms phase error, from all counts", -1, lambda choice: choice.of_all.rms_error),
    )
    lines = []
    for title, sign, of in measures:
        wins = sum(sign * of(pair["held_out"]) > sign * of(pair["in_sample"]) for pair in pairs)
        lines.append(f"{title}: held_out is nearer to the truth in {wins} of {len(pairs)}; {_medians(pairs, of)}")
    lines.append(f"phase contrast over the truth's: {_medians(pairs, lambda choice: choice.of_all.contrast)}")
    lines += [f"{name}: {_medians(pairs, _chosen(name))}" for name in HYPERPARAMETERS]
    return "\n".join(lines)


def _medians(pairs: Sequence[Mapping[Split, Choice]], of: Callable[[Choice], float]) -> str:
    return "median " + ", ".join(
        f"{split} {statistics.median(of(pair[split]) for pair in pairs):.3g}" for split in SPLITS
    )


def _of_all(choice: Choice) -> float:
    return choice.of_all.correlation


def _chosen(name: str) -> Callable[[Choice], float]:
    return lambda choice: float(choice.values[name])


def show(seed: int, pair: Mapping[Split, Choice]) -> None:
    """Print one measurement's line."""
    for split in SPLITS:
        choice = pair[split]
        values = ", ".join(f"{name} {float(value):.3g}" for name, value in choice.values.items())
        print(f"{seed:>4}  {split:10} {_of_all(choice):.3f}  (as tuned {choice.as_tuned:.3f})  {values}", flush=True)


def draw(pairs: Sequence[Mapping[Split, Choice]], path: Path) -> None:
    """Draw the correlations of all measurements, and, on one scale, the phases of the one with the median gain."""
    figure = Figure(figsize=(13, 3.5), dpi=90, layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=(1.35, 1, 1, 1))
    for split in SPLITS:
        axes[0].plot([_of_all(pair[split]) for pair in pairs], "o", color=_COLOURS[split], label=_title(split))
    axes[0].set(xlabel="measurement (seed)", ylabel="correlation with the truth", xticks=range(len(pairs)))
    axes[0].grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    gains = [_of_all(pair["held_out"]) - _of_all(pair["in_sample"]) for pair in pairs]
    seed = int(np.argsort(gains)[len(gains) // 2])
    chosen = {split: pairs[seed][split].of_all for split in SPLITS}
    truth = chosen["held_out"].truth
    low, high = float(truth.min()), float(truth.max())
    pixel = chosen["held_out"].pixel
    _phase(axes[1], truth, (low, high), pixel, f"truth, measurement {seed}")
    for place, split in zip(axes[2:], SPLITS, strict=True):
        _phase(place, chosen[split].phase, (low, high), pixel, f"{_title(split)}: {chosen[split].correlation:.3f}")
    figure.colorbar(axes[3].images[0], ax=axes[3], label="phase (rad)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _title(split: Split) -> str:
    return f"tuned {split.replace('_', '-')}"


def _phase(
    axes: Axes, phase: NDArray[np.float64], limits: tuple[float, float], pixel: tuple[float, float], title: str
) -> None:
    rows, columns = phase.shape
    extent = (0.0, columns * pixel[1], rows * pixel[0], 0.0)
    axes.imshow(phase, cmap="cividis", vmin=limits[0], vmax=limits[1], extent=extent, interpolation="nearest")
    axes.plot([0.7, 0.7 + _BAR_ANGSTROM], [extent[2] - 0.8] * 2, "w-", lw=4, solid_capstyle="butt")
    axes.text(0.7, extent[2] - 1.2, f"{_BAR_ANGSTROM:g} Å", color="w", fontsize=9)
    axes.set(title=title, xticks=[], yticks=[])


def main() -> None:
    """Run the tunings, and print and draw their comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measurements", type=int, default=10)
    parser.add_argument("--electrons", type=float, default=500.0, help="per pattern (default: 500)")
    parser.add_argument("--trials", type=int, default=30, help="of each tuning (default: 30)")
    parser.add_argument("--of", choices=("pixels", "patterns"), default="pixels", help="what is withheld")
    parser.add_argument("--fraction", type=float, default=0.05, help="that is withheld (default: 0.05)")
    parser.add_argument("--picture", type=Path, help="where to draw the result")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    withheld, began = Withheld(arguments.of, arguments.fraction), time.monotonic()
    print("seed  tuned by   correlation with the truth")
    pairs: list[dict[Split, Choice]] = []
    for seed in range(arguments.measurements):
        studies = {split: study(seed, arguments.electrons, split, arguments.trials, withheld) for split in SPLITS}
        pairs.append({split: tuned(document) for split, document in studies.items()})
        show(seed, pairs[-1])
    print(summary(pairs))
    print(f"{time.monotonic() - began:.0f} seconds")
    if arguments.picture:
        draw(pairs, arguments.picture)


if __name__ == "__main__":
    main()
