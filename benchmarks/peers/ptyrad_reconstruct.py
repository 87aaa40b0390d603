"""One reconstruction by PtyRAD 1.0.0, in its own interpreter: residual against seconds, as JSON on the last line.

Seconds are processor seconds of the iterations alone, without imports and set-up. On one thread of an idle machine they
equal wall-clock seconds, and other work on the machine adds little to them.

The package runs through its public interface (``PtyRADParams``, ``PtyRADSolver.reconstruct``). Its function for one
iteration is wrapped, to read the clock and, outside the clock, to evaluate the frozen state after it. PtyRAD runs its
iterations eagerly on a CPU (its torch.compile option needs a C++ compiler and is left off, its default).

    python ptyrad_reconstruct.py scan64.npz --iterations 20
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import json
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch are imported
os.environ["MPLBACKEND"] = "Agg"

import numpy as np
import torch
from cpu_torchvision import import_torchvision


def settings(options: argparse.Namespace, data: dict[str, Any], patterns: Path, folder: str) -> dict[str, Any]:
    """PtyRAD's parameters: true geometry, one slice, one mode; nothing else is updated, blurred or filtered."""
    points, pixels = int(data["scan_points"]), data["patterns"].shape[-1]
    off = {"start_iter": None, "lr": 0}

    def update(step: float) -> dict[str, Any]:
        return {"start_iter": 1, "lr": step} if step else off

    from ptyrad.params.ptyrad_params import PtyRADParams

    parameters: dict[str, Any] = PtyRADParams(
        init_params={
            "probe_kv": float(data["energy_kev"]),
            "probe_conv_angle": float(data["semi_convergence_mrad"]),
            "probe_aberrations": {"C10": float(data["c10_angstrom"])},
            "meas_Npix": pixels,
            "pos_N_scan_slow": points,
            "pos_N_scan_fast": points,
            "pos_N_scans": points**2,
            "pos_scan_step_size": float(data["scan_step_angstrom"]),
            "pos_scan_rand_std": 0.0,
            "probe_pmode_max": 1,
            "obj_Nlayer": 1,
            "obj_slice_thickness": 1.0,
            "meas_calibration": {"mode": "dx", "value": 1 / (pixels * float(data["sampling_per_angstrom"]))},
            "meas_source": "file",
            "meas_params": {"path": str(patterns)},
            "random_seed": 0,
        },
        model_params={
            "optimizer_params": {"name": options.optimizer, "configs": json.loads(options.optimizer_options)},
            "update_params": {
                "obja": update(options.object_step),
                "objp": update(options.object_step),
                "obj_tilts": off,
                "slice_thickness": off,
                "probe": update(options.probe_step),
                "probe_pos_shifts": off,
            },
        },
        loss_params={"loss_single": {"state": True, "weight": 1.0, "dp_pow": options.loss_power}},
        constraint_params={
            "obj_rblur": {"start_iter": None},
            "obj_zblur": {"start_iter": None},
            "fix_probe_int": {"start_iter": None},
        },
        recon_params={
            "NITER": options.iterations,
            "BATCH_SIZE": {"size": options.batch, "grad_accumulation": options.accumulate},
            "GROUP_MODE": options.group,
            "SAVE_ITERS": None,
            "output_dir": folder,
            "copy_params": False,
        },
    ).model_dump()
    return parameters


def intensity_residual(model: Any, batch: int = 32) -> float:
    """||y - Hx|| / ||y|| of the model's present state, by its own forward function, in float64 sums."""
    squared = norm = 0.0
    with torch.no_grad():
        for indices in torch.arange(model.get_measurements().shape[0]).split(batch):
            measured = torch.as_tensor(model.get_measurements(indices))
            squared += float((measured - model(indices)).square().sum(dtype=torch.float64))
            norm += float(measured.square().sum(dtype=torch.float64))
    model.clear_cache()
    return float((squared / norm) ** 0.5)


def save_region(model: Any, path: Path) -> None:
    """Write the scanned part of the object and where it begins, in pixels from the middle of the scan."""
    field = (model.opt_obja.detach() * torch.exp(1j * model.opt_objp.detach()))[0, 0].numpy()
    pixels = model.get_complex_probe_view().shape[-1]
    centres = model.crop_pos.numpy() + model.opt_probe_pos_shifts.detach().numpy() + pixels // 2
    low, high, middle = np.ceil(centres.min(0)), np.floor(centres.max(0)), (centres.min(0) + centres.max(0)) / 2
    rows, columns = (slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    np.savez(path, field=field[rows, columns], first=low - middle)


class Clock:
    """Replaces PtyRAD's function of one iteration: times the original, then evaluates the state."""

    def __init__(self, step: Callable[..., Any], early: int, region: Path | None) -> None:
        self._step, self._early, self._region = step, early, region
        self.reset()

    def reset(self) -> None:
        """Set the time back to zero."""
        self.seconds = self.wall_seconds = 0.0
        self.curve: list[dict[str, float]] = []

    def __call__(self, batches: Any, accumulate: Any, model: Any, *rest: Any, **named: Any) -> Any:
        started, processor = time.perf_counter(), time.process_time()
        result = self._step(batches, accumulate, model, *rest, **named)
        self.seconds += time.process_time() - processor
        self.wall_seconds += time.perf_counter() - started
        residual = intensity_residual(model)
        self.curve.append({"iteration": len(self.curve) + 1, "seconds": self.seconds, "residual": residual})
        if self._region is not None and len(self.curve) == self._early:
            save_region(model, self._region)
        return result


def main() -> None:
    """Reconstruct and print the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--accumulate", type=int, default=1, help="batches whose gradients make one step")
    parser.add_argument("--group", default="random", choices=("random", "sparse", "compact"))
    parser.add_argument("--optimizer", default="Adam")
    parser.add_argument("--optimizer-options", default="{}", help="JSON")
    parser.add_argument("--object-step", type=float, default=1.5e-2)
    parser.add_argument("--probe-step", type=float, default=3e-3, help="0 holds the probe")
    parser.add_argument("--loss-power", type=float, default=1.0, help="0.5 compares amplitudes, 1 intensities")
    parser.add_argument("--early", type=int, default=2, help="iteration whose object is written")
    parser.add_argument("--region", type=Path, help="write the scanned part of that object to this .npz")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # the packages' own deprecations
    torch.set_num_threads(1)
    import_torchvision()
    import ptyrad.solver.reconstruction as loop
    from accelerate import Accelerator
    from ptyrad.solver import PtyRADSolver

    logging.getLogger("ptyrad").setLevel(logging.ERROR)
    accelerator = Accelerator(cpu=True) if options.optimizer == "LBFGS" else None  # which asks it for its processes
    clock = Clock(loop.recon_step, options.early, options.region)
    loop.recon_step = clock
    with np.load(options.data) as stored:
        data = dict(stored)
    with tempfile.TemporaryDirectory() as folder:
        patterns = Path(folder) / "patterns.npy"
        np.save(patterns, data["patterns"])
        parameters = settings(options, data, patterns, folder)
        warm_up = copy.deepcopy(parameters)
        warm_up["recon_params"]["NITER"] = 1
        PtyRADSolver(
            warm_up, device="cpu", seed=0, acc=accelerator
        ).reconstruct()  # torch imports its compiler here, once per process
        clock.reset()
        PtyRADSolver(parameters, device="cpu", seed=0, acc=accelerator).reconstruct()
    said = {name: value for name, value in vars(options).items() if name not in ("data", "region")}
    version = importlib.metadata.version("ptyrad")
    report = {"package": "PtyRAD", "version": version, "torch": torch.__version__, "wall_seconds": clock.wall_seconds}
    print(json.dumps({**report, "settings": said, "curve": clock.curve}))


if __name__ == "__main__":
    main()
