"""One reconstruction by py4DSTEM 0.14.18, in its own interpreter: residual against seconds, as JSON on the last line.

Seconds are processor seconds of the iterations alone, without imports and set-up (see ptyrad_reconstruct.py).

The package runs through its public interface: ``SingleslicePtychography(...).preprocess(...)``, then ``reconstruct``
for one iteration at a time, each continuing the last. The state is evaluated between them, outside the measured time.

    python py4dstem_reconstruct.py scan64.npz --iterations 20
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is imported
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import numpy as np
import py4DSTEM
from py4DSTEM.process.phase import SingleslicePtychography
from py4DSTEM.process.phase.utils import fft_shift


def cube_of(data: dict[str, Any]) -> Any:
    """The patterns with the true geometry."""
    points, pixels = int(data["scan_points"]), data["patterns"].shape[-1]
    cube = py4DSTEM.DataCube(data=data["patterns"].reshape(points, points, pixels, pixels))
    cube.calibration.set_R_pixel_size(float(data["scan_step_angstrom"]))
    cube.calibration.set_R_pixel_units("A")
    cube.calibration.set_Q_pixel_size(float(data["sampling_per_angstrom"]))
    cube.calibration.set_Q_pixel_units("A^-1")
    return cube


def prepare(data: dict[str, Any], object_type: str) -> Any:
    """Prepare a reconstruction: true geometry, patterns centred by whole pixels only."""
    pixels = data["patterns"].shape[-1]
    return SingleslicePtychography(
        datacube=cube_of(data),
        energy=float(data["energy_kev"]) * 1e3,
        semiangle_cutoff=float(data["semi_convergence_mrad"]),
        defocus=-float(data["c10_angstrom"]),
        object_type=object_type,
        device="cpu",
        verbose=False,
    ).preprocess(
        plot_center_of_mass=False,
        plot_rotation=False,
        plot_probe_overlaps=False,
        force_com_rotation=0.0,
        force_com_transpose=False,
        # Otherwise the patterns are shifted by their measured centre of mass, with spline interpolation.
        force_com_shifts=(pixels / 2, pixels / 2),
        shifting_interpolation_order=1,
    )


def intensity_residual(state: Any, patterns: np.ndarray[Any, Any], batch: int = 32) -> float:
    """||y - Hx|| / ||y|| of the present object and probe, by the package's own operators, in float64 sums."""
    squared = norm = 0.0
    for start in range(0, len(patterns), batch):
        positions = state._positions_px[start : start + batch]
        rows, columns = state._extract_vectorized_patch_indices(positions)
        probes = fft_shift(state._probe, positions - np.round(positions), np)
        *_, waves = state._overlap_projection(state._object, rows, columns, probes)
        expected = np.fft.fftshift(np.abs(np.fft.fft2(waves)) ** 2, axes=(1, 2))
        squared += float(np.square(patterns[start : start + batch] - expected, dtype=np.float64).sum())
        norm += float(np.square(patterns[start : start + batch], dtype=np.float64).sum())
    return float((squared / norm) ** 0.5)


def save_region(state: Any, path: Path) -> None:
    """Write the scanned part of the object and where it begins, in pixels from the middle of the scan."""
    centres = np.asarray(state._positions_px)
    low, high, middle = np.ceil(centres.min(0)), np.floor(centres.max(0)), (centres.min(0) + centres.max(0)) / 2
    rows, columns = (slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    field = np.exp(1j * state._object) if state._object_type == "potential" else state._object
    np.savez(path, field=field[rows, columns].astype(np.complex64), first=low - middle)


def main() -> None:
    """Reconstruct and print the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--step", type=float, default=0.5)
    parser.add_argument("--normalization-min", type=float, default=0.3)
    parser.add_argument("--object-type", default="complex", choices=("complex", "potential"))
    parser.add_argument("--fix-probe", action="store_true")
    parser.add_argument("--early", type=int, default=2, help="iteration whose object is written")
    parser.add_argument("--region", type=Path, help="write the scanned part of that object to this .npz")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # the packages' own deprecations
    with np.load(options.data) as stored:
        data = dict(stored)
    state = prepare(data, options.object_type)
    seconds, wall, curve = 0.0, 0.0, []
    for iteration in range(1, options.iterations + 1):
        started, processor = time.perf_counter(), time.process_time()
        state.reconstruct(
            num_iter=1,
            step_size=options.step,
            max_batch_size=options.batch,
            normalization_min=options.normalization_min,
            fix_probe=options.fix_probe,
            fix_probe_com=False,
            fix_potential_baseline=False,
            object_positivity=False,
            seed_random=iteration,
            progress_bar=False,
            store_iterations=False,
            reset=iteration == 1,
        )
        seconds += time.process_time() - processor
        wall += time.perf_counter() - started
        residual = intensity_residual(state, data["patterns"])
        curve.append({"iteration": iteration, "seconds": seconds, "residual": residual})
        if options.region is not None and iteration == options.early:
            save_region(state, options.region)
    said = {name: value for name, value in vars(options).items() if name not in ("data", "region")}
    version = importlib.metadata.version("py4DSTEM")
    report = {"package": "py4DSTEM", "version": version, "numpy": np.__version__, "wall_seconds": wall}
    print(json.dumps({**report, "settings": said, "curve": curve}))


if __name__ == "__main__":
    main()
