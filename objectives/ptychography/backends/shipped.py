"""The backends of this project: a row for each. Its adapter is a file of its name in ``programs/``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autotune.objective import Value
from objectives.ptychography.backends.backend import Backend
from objectives.ptychography.parameters.solver import choice, step, whole

_PROGRAMS = Path(__file__).parent / "programs"


_PROJECTIONS = ("DM_AP", "RAAR", "RRR")
_PROJECTS = (("method", _PROJECTIONS),)


def _amplitude_by_descent(values: Mapping[str, Value]) -> str:
    return "amplitude_consistency" if values["method"] == "gradient-descent" else ""


SHIPPED = (
    Backend(
        name="py4dstem",
        description="py4DSTEM: gradient descent and projections; slices, modes",
        adapter=_PROGRAMS / "py4dstem.py",
        parameters=(
            choice(
                "method",
                "gradient-descent",
                ("gradient-descent", *_PROJECTIONS),
                "reconstruction_method of py4DSTEM",
            ),
            step("step_size", 0.5, 0.05, 1.5, "step_size of its gradient descent", _PROJECTS),
            step("normalization_min", 1.0, 0.01, 1.0, "least illumination over the highest", (), maximum=1.0),
            whole("batch_size", 64, 4, 256, 1, 100_000, "max_batch_size: patterns per update", _PROJECTS),
        ),
        requirements=("py4DSTEM==0.14.18",),
        python=((3, 10), (3, 12)),
        thick=True,
        modes=True,
        minimises=_amplitude_by_descent,
    ),
)
