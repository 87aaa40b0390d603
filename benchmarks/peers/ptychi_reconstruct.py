"""One reconstruction by pty-chi 2.2.0, in its own interpreter: residual against seconds, as JSON on the last line.

Seconds are processor seconds of the iterations alone, without imports and set-up (see ptyrad_reconstruct.py). The
package runs through its public interface, one epoch at a time, each continuing the last; between them the state is
evaluated.

    python ptychi_reconstruct.py scan64.npz --iterations 10
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

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch are imported

import numpy as np
import torch
from cpu_torchvision import import_torchvision

_ENGINES = {"lsqml": "LSQMLOptions", "rpie": "RPIEOptions", "epie": "EPIEOptions"}


def lens_probe(data: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The probe of the lens (det_y, det_x), centred at N//2, with the counts of a pattern in pty-chi's unscaled FFT."""
    pixels, sampling = data["patterns"].shape[-1], float(data["sampling_per_angstrom"])
    edge, half = float(data["semi_convergence_mrad"]) * 1e-3, 0.5 * sampling * wavelength(data)
    k = (np.arange(pixels) - pixels // 2) * sampling
    ky, kx = np.meshgrid(k, k, indexing="ij")
    squared = ky**2 + kx**2
    aperture = np.clip((edge - wavelength(data) * np.sqrt(squared)) / (2 * half) + 0.5, 0, 1) ** 0.5
    chi = np.pi * wavelength(data) * float(data["c10_angstrom"]) * squared
    probe = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(aperture * np.exp(-1j * chi))))
    counts = data["patterns"].sum(dtype=np.float64) / len(data["patterns"])
    return (probe * np.sqrt(counts / (np.abs(probe) ** 2).sum()) / pixels).astype(np.complex64)


def wavelength(data: dict[str, Any]) -> float:
    """De Broglie wavelength of the electrons, angstrom."""
    volts = float(data["energy_kev"]) * 1e3
    return 12.2642596 / (volts * (1 + 0.97847538e-6 * volts)) ** 0.5


def positions(data: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Scan positions (position, 2) in object pixels around 0."""
    points, pixels = int(data["scan_points"]), data["patterns"].shape[-1]
    step = float(data["scan_step_angstrom"]) * pixels * float(data["sampling_per_angstrom"])
    line = (np.arange(points) - (points - 1) / 2) * step
    return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)


def settings(options: argparse.Namespace, data: dict[str, Any]) -> Any:
    """pty-chi's options: true geometry, one slice, one mode, object and probe free, its default steps."""
    import ptychi.api as api

    chosen = getattr(api, _ENGINES[options.engine])()
    run = chosen.reconstructor_options
    run.num_epochs, run.batch_size, run.default_device, run.random_seed = 1, options.batch, api.Devices.CPU, 0
    chosen.data_options.wavelength_m = wavelength(data) * 1e-10
    pixels = data["patterns"].shape[-1]
    chosen.object_options.pixel_size_m = 1e-10 / (pixels * float(data["sampling_per_angstrom"]))
    chosen.object_options.optimizable = chosen.probe_options.optimizable = True
    chosen.probe_position_options.optimizable = False
    if options.object_step:
        chosen.object_options.step_size = options.object_step
    if options.probe_step:
        chosen.probe_options.step_size = options.probe_step
    return chosen


def intensity_residual(task: Any, patterns: np.ndarray[Any, Any], batch: int = 32) -> float:
    """||y - Hx|| / ||y|| of the present state, by the package's own forward model, in float64 sums."""
    squared = norm = 0.0
    with torch.no_grad():
        for indices in torch.arange(len(patterns)).split(batch):
            expected = task.reconstructor.forward_model(indices).numpy()
            expected = np.fft.fftshift(expected, axes=(-2, -1))
            squared += float(np.square(patterns[indices] - expected, dtype=np.float64).sum())
            norm += float(np.square(patterns[indices], dtype=np.float64).sum())
    return float((squared / norm) ** 0.5)


def save_region(task: Any, scan: np.ndarray[Any, Any], path: Path) -> None:
    """Write the scanned part of the object and where it begins, in pixels from the middle of the scan."""
    field = task.get_data_to_cpu("object", as_numpy=True)[0]
    middle = np.array([n / 2 for n in field.shape])
    low, high = np.ceil(scan.min(0) + middle), np.floor(scan.max(0) + middle)
    rows, columns = (slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    np.savez(path, field=field[rows, columns], first=low - middle)


def main() -> None:
    """Reconstruct and print the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--engine", choices=sorted(_ENGINES), default="lsqml")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--object-step", type=float, default=0.0, help="0 takes the package's default")
    parser.add_argument("--probe-step", type=float, default=0.0, help="0 takes the package's default")
    parser.add_argument("--early", type=int, default=2, help="iteration whose object is written")
    parser.add_argument("--region", type=Path, help="write the scanned part of that object to this .npz")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.set_default_device("cpu")
    import_torchvision()
    from ptychi.api.task import PtychographyTask

    with np.load(options.data) as stored:
        data = dict(stored)
    scan, pixels = positions(data), data["patterns"].shape[-1]
    shape = [int(2 * np.ceil(np.abs(scan[:, axis]).max()) + pixels + 10) // 2 * 2 for axis in (0, 1)]
    seconds, wall, curve = 0.0, 0.0, []
    with PtychographyTask(
        settings(options, data),
        diffraction_data=data["patterns"],
        object_data=np.ones((1, *shape), np.complex64),
        probe_data=lens_probe(data)[None, None],
        probe_position_x_px=scan[:, 1],
        probe_position_y_px=scan[:, 0],
    ) as task:
        for iteration in range(1, options.iterations + 1):
            started, processor = time.perf_counter(), time.process_time()
            task.run(1)
            seconds += time.process_time() - processor
            wall += time.perf_counter() - started
            residual = intensity_residual(task, data["patterns"])
            curve.append({"iteration": iteration, "seconds": seconds, "residual": residual})
            if options.region is not None and iteration == options.early:
                save_region(task, scan, options.region)
    said = {name: value for name, value in vars(options).items() if name not in ("data", "region")}
    report = {"package": "pty-chi", "version": importlib.metadata.version("ptychi"), "wall_seconds": wall}
    print(json.dumps({**report, "settings": said, "curve": curve}))


if __name__ == "__main__":
    main()
