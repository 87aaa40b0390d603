"""Draw docs/images/petra_p25.png from a finished run of studies/petra_p25.yaml.

python docs/images/petra_p25.py [STUDY]      (default petra_p25; found in AUTOTUNE_HOME)
"""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autotune.home import Home
from autotune.objective import Metric
from autotune.store.records import TrialRecord, best_of
from autotune.store.trials import TrialStore


def draw(study: str) -> None:
    """First trial, best trial, and where the search looked."""
    home = Home.from_environment()
    store = TrialStore.open(home.store_url, study)
    if store is None:
        sys.exit(f"{study} is not in {home.folder}")
    trials = store.trials()
    best = best_of(trials, Metric("consistency", "maximize"))
    if best is None:
        sys.exit(f"no trial of {study} has finished")
    figure = Figure(figsize=(12.5, 4.2), dpi=100, layout="constrained")
    axes = figure.subplots(1, 3)
    for place, trial, title in ((axes[0], trials[0], "first trial"), (axes[1], best, f"best of {len(trials)} trials")):
        _phase(place, home.trial(study, trial.number) / "reconstruction.h5", _title(title, trial))
    _search(figure, axes[2], trials, best)
    figure.savefig(Path(__file__).with_suffix(".png"))


def _title(title: str, trial: TrialRecord) -> str:
    z1, rotation = trial.values["focus_to_sample"], trial.values["scan_rotation"]
    return f"{title}: {z1:.2f} mm, {rotation:.1f}°\nconsistency {trial.metrics['consistency']:.4f}"


def _phase(axes: Axes, path: Path, title: str) -> None:
    with h5py.File(path) as file:
        rows = slice(int(file.attrs["scan_first_row"]), int(file.attrs["scan_last_row"]) + 1)
        columns = slice(int(file.attrs["scan_first_column"]), int(file.attrs["scan_last_column"]) + 1)
        phase = np.angle(file["object"][rows, columns])
        pixel = float(file.attrs["object_pixel_x"]) / 1e4
    extent = (0, phase.shape[1] * pixel, phase.shape[0] * pixel, 0)
    axes.imshow(phase - np.median(phase), cmap="cividis", vmin=-0.35, vmax=0.35, extent=extent)
    axes.set(title=title, xlabel="x (µm)", ylabel="y (µm)")


def _search(figure: Figure, axes: Axes, trials: list[TrialRecord], best: TrialRecord) -> None:
    x, y, c = (
        [t.values["focus_to_sample"] for t in trials],
        [t.values["scan_rotation"] for t in trials],
        [t.metrics["consistency"] for t in trials],
    )
    dots = axes.scatter(x, y, c=c, cmap="viridis", s=40, edgecolor="k", linewidth=0.4)
    axes.plot(best.values["focus_to_sample"], best.values["scan_rotation"], "r+", ms=18, mew=2)
    axes.set(title="where the search looked", xlabel="focus to sample (mm)", ylabel="scan rotation (degree)")
    axes.grid(alpha=0.3)
    figure.colorbar(dots, ax=axes, label="consistency")


if __name__ == "__main__":
    draw(sys.argv[1] if len(sys.argv) > 1 else "petra_p25")
