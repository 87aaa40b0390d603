"""Two calibrations of a simulated 4D-STEM measurement, by the project's own ptychography.

The measurement is that of ``studies/demo.yaml``. Every benchmark seed draws another specimen, other shot noise and
another true instrument from the study's ranges, but never from the middle tenth of the searched range, for some engines
begin in the middle.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch

from autotune.objective import Status, Value
from autotune.problem.space import Dimension, Space
from objectives.ptychography.model.device import Machine
from objectives.ptychography.objective import PtychographyObjective
from objectives.ptychography.simulation.settings import SimulationSettings
from objectives.ptychography.simulation.simulate import simulate_patterns
from search_bench.problem import Instance, Outcome, Problem, Values

INSTRUMENT = {
    "energy_kev": 80,
    "semi_convergence_mrad": 24,
    "angular_sampling_mrad": 1.4,
    "detector_pixels": 48,
    "scan_points": 16,
    "scan_step_angstrom": 1.2,
    "electrons_per_pattern": 1e5,
}
DRAWN: Mapping[str, tuple[float, float]] = {
    "camera_length": (-4, 4),
    "center_offset_y": (-2, 2),
    "center_offset_x": (-2, 2),
    "elliptical_distortion": (-0.02, 0.02),
    "defocus": (60, 180),
    "scan_rotation": (-12, 12),
}
"""Parameter -> range of its true value."""
SEARCHED: Mapping[str, tuple[float, float]] = {
    "camera_length": (-5, 5),
    "center_offset_y": (-3, 3),
    "center_offset_x": (-3, 3),
    "elliptical_distortion": (-0.03, 0.03),
    "defocus": (0, 250),
    "scan_rotation": (-20, 20),
}
"""Parameter -> searched range."""
ITERATIONS = 12

_MIDDLE = 0.05
_METRIC = "consistency"
_DIVERGED = 0.0
"""Value of a diverged reconstruction, for every engine: that of a model without any counts."""


def draw_truth(names: tuple[str, ...], seed: int) -> dict[str, float]:
    """True values of ``names`` for a benchmark seed, none within 5 % of its range from the range's middle."""
    random = np.random.default_rng([seed, len(names)])
    truth = {}
    for name in names:
        low, high = SEARCHED[name]
        value = (low + high) / 2
        while abs(value - (low + high) / 2) < _MIDDLE * (high - low):
            value = float(random.uniform(*DRAWN[name]))
        truth[name] = value
    return truth


@lru_cache(maxsize=2)
def _objective(names: tuple[str, ...], seed: int) -> PtychographyObjective:
    settings = SimulationSettings.model_validate({**INSTRUMENT, "seed": seed, "mismatch": draw_truth(names, seed)})
    measurement, truth = simulate_patterns(settings)
    return PtychographyObjective(measurement, Machine(torch.device("cpu"), torch.float32, threads=1), truth)


def _calibration(names: tuple[str, ...], fixed: Values, seed: int) -> Instance:
    objective = _objective(names, seed)
    ceiling = objective.metrics()[0].noise_ceiling
    assert ceiling is not None  # noqa: S101 - simulated electrons are counted

    def evaluate(values: Values) -> Outcome:
        done = objective.evaluate({**fixed, **values}, metric=_METRIC, seed=seed)
        if done.status is not Status.COMPLETE:
            return Outcome(_DIVERGED)
        return Outcome(done.metrics[_METRIC], {n: g for n, g in done.gradient.items() if n in values})

    return Instance(evaluate, ceiling, draw_truth(names, seed))


def _mismatch(names: tuple[str, ...]) -> tuple[Dimension, ...]:
    return tuple(Dimension(n, low=SEARCHED[n][0], high=SEARCHED[n][1], differentiable=True) for n in names)


_SIX = tuple(SEARCHED)
_FOUR = ("camera_length", "elliptical_distortion", "defocus", "scan_rotation")
_SOLVER = (
    Dimension("solver", kind="solver", type="categorical", choices=("lsqml", "epie", "rpie")),
    Dimension("object_step", kind="solver", low=0.05, high=1.5, log=True),
    Dimension("batch_size", kind="solver", type="int", low=4, high=64),
    Dimension("probe_start", kind="solver", type="int", low=0, high=ITERATIONS - 1),
)
_FIXED_SIX: dict[str, Value] = {"iterations": ITERATIONS}
_FIXED_FOUR: dict[str, Value] = {"iterations": ITERATIONS, "probe": "refined"}

CALIBRATIONS = (
    Problem(
        "calibration6",
        "Ptychography, 6 mismatch",
        Space(_mismatch(_SIX)),
        1e-3,
        lambda seed: _calibration(_SIX, _FIXED_SIX, seed),
    ),
    Problem(
        "calibration8",
        "Ptychography, 4 mismatch, 4 solver",
        Space((*_mismatch(_FOUR), *_SOLVER)),
        1e-3,
        lambda seed: _calibration(_FOUR, _FIXED_FOUR, seed),
    ),
)
