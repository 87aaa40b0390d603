"""Speed of this project's solvers on a scan: time per iteration, time of its transforms, residual against time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import torch
from fft_floor import Transform, TransformsOnly, floor_seconds, recorded_transforms
from ptychography_data import Scan
from truth import Region

from autotune.objective import Evaluation, Value
from objectives.diffraction.data.open.reading import open_measurement
from objectives.diffraction.data.settings import DataSettings, GeometrySettings
from objectives.ptychography.evaluation import reconstruction as reconstruction_module
from objectives.ptychography.model.device import Machine
from objectives.ptychography.objective import PtychographyObjective

Point = dict[str, float]
"""``iteration``, ``seconds`` up to its end, and the relative intensity ``residual`` of the frozen state after it."""

SETTINGS: dict[str, dict[str, Value]] = {
    "lbfgs": {"preconditioner_floor": 0.01},
    "lsqml": {},
    "epie": {"object_step": 1.0},
    "rpie": {},
    "adam": {},
}
"""Solver -> settings that differ from the defaults, chosen like the peers' for a low residual in little time."""
EARLY = 2
"""Iterations after which the packages are compared per iteration."""

_ITERATIONS = {"lbfgs": 30}
_REPEATS = 3


@dataclass(frozen=True)
class Pace:
    """Speed of a solver's iterations.

    Attributes:
        seconds: processor seconds per pattern and iteration.
        floor: seconds of its Fourier transforms alone, on an array that stays in the cache.
        in_place: seconds of the solver's loop with everything but its transforms left out, on its own arrays; None for
            L-BFGS, whose line search needs true values.
        transforms: number of two-dimensional transforms per pattern and iteration.
    """

    seconds: float
    floor: float
    in_place: float | None
    transforms: float

    @property
    def ratio(self) -> float:
        """``seconds`` divided by ``floor``."""
        return self.seconds / self.floor


@dataclass
class _Watch:
    """Progress callback that records the processor time and the number of transforms after every iteration."""

    calls: Counter[Transform] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    counts: list[Counter[Transform]] = field(default_factory=list)

    def __call__(self, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        self.seconds.append(time.process_time())
        self.counts.append(Counter(self.calls))
        return True


class Problem:
    """One opened scan, with the true geometry and a refined probe, as for the peers."""

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        measurement = open_measurement(DataSettings(file=scan.measurement), GeometrySettings(), folder=Path())
        self._objective = PtychographyObjective(measurement, Machine(torch.device("cpu"), torch.float32))

    def _run(self, solver: str, iterations: int, watch: _Watch) -> float:
        evaluation = self._evaluate(solver, iterations, watch)
        return 1 - float(evaluation.metrics.get("consistency", 0.0))

    def _evaluate(self, solver: str, iterations: int, watch: _Watch) -> Evaluation:
        values: dict[str, Value] = {"solver": solver, "iterations": iterations, **SETTINGS[solver]}
        values |= {"probe": "refined", "defocus": self.scan.defocus}
        return self._objective.evaluate(values, metric="consistency", seed=0, progress=watch)

    def region(self, solver: str, iterations: int) -> Region:
        """The scanned part of the object after some iterations."""
        evaluation = self._evaluate(solver, iterations, _Watch())
        rows, columns = (
            slice(int(evaluation.attributes[f"scan_first_{axis}"]), int(evaluation.attributes[f"scan_last_{axis}"]) + 1)
            for axis in ("row", "column")
        )
        field = evaluation.arrays["object"][0][rows, columns]
        return Region(field, (-(field.shape[0] - 1) / 2, -(field.shape[1] - 1) / 2))

    def pace(self, solver: str, iterations: int = 10) -> Pace:
        """Time ``iterations - 1`` iterations (the first includes the start) and the transforms they contain."""
        with recorded_transforms() as calls:
            watch = _Watch(calls)
            self._run(solver, iterations, watch)
        made = watch.counts[-1] - watch.counts[0]
        per = self.scan.positions * (iterations - 1)
        images = sum(transform.images * count for transform, count in made.items())
        spent = self._fastest(solver, iterations) / per
        in_place = None
        if solver != "lbfgs":
            with mock.patch.object(reconstruction_module, "kernels_for", lambda device: TransformsOnly()):
                in_place = self._fastest(solver, iterations) / per
        return Pace(spent, floor_seconds(made) / per, in_place, images / per)

    def _fastest(self, solver: str, iterations: int) -> float:
        """Seconds of all iterations except the first; the minimum over several runs."""
        spans = []
        for _ in range(_REPEATS):
            watch = _Watch()
            self._run(solver, iterations, watch)
            spans.append(watch.seconds[-1] - watch.seconds[0])
        return min(spans)

    def curve(self, solver: str) -> list[Point]:
        """Residual of the frozen state after 1, 2, ... iterations, each by a reconstruction of its own.

        Seconds count from the call; unlike the peers', they include the preparation of the scan's geometry and batches.
        """
        self._run(solver, 1, _Watch())  # compiles and imports whatever is needed at first use
        points = []
        for iterations in range(1, _ITERATIONS.get(solver, 15) + 1):
            watch = _Watch()
            started = time.process_time()
            residual = self._run(solver, iterations, watch)
            points.append({"iteration": iterations, "seconds": watch.seconds[-1] - started, "residual": residual})
        return points


def seconds_to(curve: list[Point], residual: float) -> float | None:
    """Seconds after which a curve first reaches ``residual``; None where it never does."""
    return next((point["seconds"] for point in curve if point["residual"] <= residual), None)
