"""Scan positions wrong by pixels, before and after refinement: the table of docs/positions.md.

    .venv/bin/python benchmarks/positions.py crystal --solvers lbfgs
    .venv/bin/python benchmarks/positions.py disordered --solvers lbfgs lsqml epie

The engine ``direct`` makes the data, so the model that refines did not. 10 x 10 positions, 1e5 electrons per pattern.
``crystal``: its monolayer with vacancies, 64 x 64 pixels; ``disordered``: the same columns at random places, 32 x 32
pixels. The probe is 36 and 18 object pixels across; the overlap is 1 - step / diameter.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch

from autotune.objective import Value, complete_values
from objectives.diffraction.data.radiation import wavelength_angstrom
from objectives.metrics.positions import position_error
from objectives.ptychography.evaluation.reconstruction import Reconstruction
from objectives.ptychography.model.device import Machine
from objectives.ptychography.objective import PtychographyObjective
from objectives.ptychography.simulation import direct
from objectives.ptychography.simulation.instrument import Floats, actual_positions
from objectives.ptychography.simulation.settings import SimulationSettings
from objectives.ptychography.simulation.simulate import simulate_patterns

MACHINE = Machine(torch.device("cpu"), torch.float32)
SOLVERS: dict[str, dict[str, Value]] = {
    "lbfgs": {"position_step": 1.0},
    "lsqml": {"position_step": 0.5, "batch_size": 10},
    "epie": {"position_step": 0.5, "batch_size": 10, "object_step": 1.0},
}
RANGE_OVER_RMS = 2.2


@dataclass(frozen=True)
class Setup:
    """A specimen and the optics that look at it: mrad, mrad per pixel, angstrom, pixels along a side."""

    semi_convergence: float
    sampling: float
    defocus: float
    pixels: int

    @property
    def pixel(self) -> float:
        """Object pixel in angstrom."""
        return wavelength_angstrom("electron", 80.0) / (self.pixels * self.sampling * 1e-3)


SETUPS = {"crystal": Setup(30.0, 5.0, 78.0, 64), "disordered": Setup(15.0, 2.0, 400.0, 32)}


def disordered(half_width: float, random: np.random.Generator) -> direct.Specimen:
    """As many columns as a monolayer has, anywhere, of 0.2 to 0.9 rad."""
    count = int((2 * half_width) ** 2 * 0.22)
    return direct.Specimen(random.uniform(-half_width, half_width, (count, 2)), random.uniform(0.2, 0.9, count))


def measure(setup: Setup, solver: str, overlap: float, rms: float, seed: int) -> tuple[float, float, float, float]:
    """Error before and after, rms and median after it, in object pixels; seconds of processor time."""
    settings = SimulationSettings(
        seed=seed,
        detector_pixels=setup.pixels,
        angular_sampling_mrad=setup.sampling,
        semi_convergence_mrad=setup.semi_convergence,
        scan_points=10,
        scan_step_angstrom=2e-3 * setup.semi_convergence * setup.defocus * (1 - overlap),
        mismatch={"defocus": setup.defocus},
        position_error_angstrom=rms * setup.pixel,
    )
    measurement, truth = simulate_patterns(settings)
    true = actual_positions(settings, truth) / setup.pixel
    problem = PtychographyObjective(measurement, MACHINE)
    values: dict[str, Value] = {"solver": solver, "iterations": 60, "defocus": setup.defocus, **SOLVERS[solver]}
    values["position_range"] = max(3.0, RANGE_OVER_RMS * rms)
    complete = complete_values(problem.parameters(), values)
    reconstruction = Reconstruction(problem._levels.whole, MACHINE, problem.parameters(), complete)
    stated = reconstruction.misfit.model.scene.positions.numpy()
    begun = time.process_time()
    state = reconstruction.run(lambda iteration, squared: True, 0)
    seconds = time.process_time() - begun
    found = stated + state.moved.numpy()
    return position_error(stated, true), position_error(found, true), _median(found, true), seconds


def _median(found: Floats, true: Floats) -> float:
    off = found - true
    return float(np.median(np.linalg.norm(off - off.mean(axis=0), axis=1)))


def main() -> None:
    """Print one line for each overlap, error and solver."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specimen", choices=SETUPS)
    parser.add_argument("--solvers", nargs="+", default=["lbfgs"], choices=SOLVERS)
    parser.add_argument("--overlaps", nargs="+", type=float, default=[0.8, 0.7, 0.6])
    parser.add_argument("--errors", nargs="+", type=float, default=[1.0, 3.0, 5.0, 7.0])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.specimen == "disordered":
        direct.Specimen.monolayer = staticmethod(disordered)  # type: ignore[method-assign]
    for overlap in asked.overlaps:
        for rms in asked.errors:
            for solver in asked.solvers:
                before, after, median, seconds = measure(SETUPS[asked.specimen], solver, overlap, rms, asked.seed)
                line = f"{before:6.2f} -> {after:5.2f} rms, {median:5.2f} median, {seconds:5.1f} s"
                print(f"{asked.specimen} {overlap:.0%} {rms:g} px {solver:6s} {line}", flush=True)


if __name__ == "__main__":
    main()
