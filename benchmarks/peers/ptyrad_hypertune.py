"""PtyRAD 1.0.0's own search (hypertune, Optuna) for the defocus: the trials in order, as JSON on the last line.

python ptyrad_hypertune.py scan64.npz --sampler TPESampler --trials 20 --seed 0
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from cpu_torchvision import import_torchvision
from ptyrad_reconstruct import settings


def main() -> None:
    """Search and print the trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sampler", default="TPESampler")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--iterations", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--low", type=float, required=True, help="defocus in angstrom")
    parser.add_argument("--high", type=float, required=True)
    parser.add_argument("--object-step", type=float, default=1e-2)
    parser.add_argument("--probe-step", type=float, default=0.0)
    parser.add_argument("--loss-power", type=float, default=1.0)
    options = parser.parse_args()
    vars(options).update(batch=32, accumulate=1, group="random", optimizer="Adam", optimizer_options="{}")
    warnings.filterwarnings("ignore")
    import_torchvision()
    import optuna
    from ptyrad.params.ptyrad_params import PtyRADParams
    from ptyrad.solver import PtyRADSolver

    logging.getLogger("ptyrad").setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with np.load(options.data) as stored:
        data = dict(stored)
    with tempfile.TemporaryDirectory() as folder:
        patterns, storage = Path(folder) / "patterns.npy", f"sqlite:///{folder}/trials.db"
        np.save(patterns, data["patterns"])
        given = settings(options, data, patterns, folder)
        given["hypertune_params"] = {
            "if_hypertune": True,
            "collate_results": False,
            "n_trials": options.trials,
            "sampler_params": {"name": options.sampler, "configs": {"seed": options.seed}},
            "pruner_params": None,
            "storage_path": storage,
            "study_name": "defocus",
            "error_metric": "loss",
            "tune_params": {
                "C10": {"state": True, "suggest": "float", "kwargs": {"low": -options.high, "high": -options.low}}
            },
        }
        started = time.perf_counter()
        PtyRADSolver(PtyRADParams(**given).model_dump(), device="cpu", seed=options.seed).run()
        seconds = time.perf_counter() - started
        trials = optuna.load_study(study_name="defocus", storage=storage).trials
    done = [(-trial.params["C10"], trial.value) for trial in trials if trial.value is not None]
    print(json.dumps({"seconds": seconds, "defocus": [d for d, _ in done], "loss": [v for _, v in done]}))


if __name__ == "__main__":
    main()
