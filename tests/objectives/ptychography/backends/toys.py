"""The toy package as a backend, and objectives that reconstruct with it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autotune.objective import Parameter, Value
from objectives.diffraction.data.measurement import Measurement
from objectives.ptychography.backends.backend import Backend
from objectives.ptychography.backends.exposed import expose
from objectives.ptychography.backends.native import NativeOption
from objectives.ptychography.backends.process import BackendProcess
from objectives.ptychography.backends.reconstruct import Bound
from objectives.ptychography.objective import PtychographyObjective
from objectives.ptychography.settings import HeldOutSettings
from tests.objectives.ptychography.scenes import SINGLE, TRUTH

ADAPTER = Path(__file__).parent / "adapter.py"
AT: dict[str, Value] = {"iterations": 6, "step": 1.0}


def minimised(values: Mapping[str, Value]) -> str:
    return "amplitude_consistency" if values["step"] == 1.0 else ""


TOY = Backend(
    name="toy",
    description="gradient descent in numpy",
    adapter=ADAPTER,
    parameters=(Parameter("step", "1", "solver", 1.0, low=0.1, high=1.5, minimum=0.0, maximum=2.0),),
    requirements=("numpy",),
    python=((3, 8), (3, 99)),
    thick=False,
    modes=True,
    minimises=minimised,
)


def objective(
    measurement: Measurement,
    backend: Backend = TOY,
    python: str = sys.executable,
    native: Sequence[NativeOption] = (),
    **options: Any,
) -> Any:
    """An objective that reconstructs with a backend."""
    process = BackendProcess(backend.name, python, backend.adapter)
    bound = Bound(backend, process, options, expose(measurement, backend, native), native)
    return PtychographyObjective(measurement, SINGLE, TRUTH, HeldOutSettings(of="patterns", fraction=0.1), bound=bound)
