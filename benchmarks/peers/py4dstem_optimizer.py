"""py4DSTEM 0.14.18's own search (PtychographyOptimizer, scikit-optimize) for the defocus: the trials, as JSON.

python py4dstem_optimizer.py scan64.npz --trials 20 --seed 0 --low -300 --high 300
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import time
import warnings
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is imported
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import numpy as np
from py4DSTEM.process.phase import SingleslicePtychography
from py4DSTEM.process.phase.parameter_optimize import OptimizationParameter, PtychographyOptimizer
from py4dstem_reconstruct import cube_of


def main() -> None:
    """Search and print the trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--iterations", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--low", type=float, required=True, help="defocus in angstrom")
    parser.add_argument("--high", type=float, required=True)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    with np.load(options.data) as stored:
        data = dict(stored)
    pixels = data["patterns"].shape[-1]
    optimizer = PtychographyOptimizer(
        SingleslicePtychography,
        {
            "datacube": cube_of(data),
            "energy": float(data["energy_kev"]) * 1e3,
            "semiangle_cutoff": float(data["semi_convergence_mrad"]),
            "object_type": "complex",
            "device": "cpu",
            "defocus": OptimizationParameter((options.low + options.high) / 2, options.low, options.high),
        },
        {
            "fit_function": "constant",
            "force_com_rotation": 0.0,
            "force_com_transpose": False,
            "force_com_shifts": (pixels / 2, pixels / 2),
        },
        {"num_iter": options.iterations, "step_size": 0.5, "max_batch_size": 64, "seed_random": 0, "fix_probe": True},
    )
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        optimizer.optimize(n_calls=options.trials, n_initial_points=8, error_metric="log", random_state=options.seed)
    seconds = time.perf_counter() - started
    found = optimizer._skopt_result
    defocus, loss = [float(x[0]) for x in found.x_iters], [float(value) for value in found.func_vals]
    print(json.dumps({"seconds": seconds, "defocus": defocus, "loss": loss}))


if __name__ == "__main__":
    main()
