"""The start of a search: a scrambled Sobol sequence over the unit cube.

Source: A. B. Owen, "Scrambling Sobol' and Niederreiter-Xing points", J. Complexity 14, 466 (1998), as
    implemented by ``torch.quasirandom.SobolEngine``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from autotune.objective import Value
from autotune.problem.space import Floats, Space
from autotune.surrogate.model.coordinates import Coordinates

# The middle of a range is where a simulated problem's truth, or a nominal value, often lies: a start that
# landed there would be luck, not search. Floats keep at least this far from it, in units of the range.
CENTRE_GAP = 2.0**-10


def default_startup_trials(space: Space) -> int:
    """Trials before the first model: one more than half the dimensions, at least 4.

    Fewer than a plane needs (k + 1), because the prior on the lengthscales carries a model through its first
    trials. Measured with k = 6 on Hartmann-6, an ill-conditioned quadratic and a peak on a plateau, medians
    of 5 seeds: after 40 trials a start of 4 ended nearer the optimum than one of 7 on all three.
    """
    return max(4, len(space.dimensions) // 2 + 1)


def sobol(count: int, dimensions: int, *, seed: int, skip: int = 0) -> Floats:
    """Points from number ``skip`` on of a scrambled Sobol sequence, shape (count, dimensions), in [0, 1)."""
    engine = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    engine.fast_forward(skip)  # type: ignore[no-untyped-call]
    return np.asarray(engine.draw(count, dtype=torch.float64).numpy(), dtype=np.float64)


def startup_point(space: Space, *, seed: int, position: int) -> Floats:
    """Point number ``position`` (from 0) of the study's starting sequence, shape (D,).

    Int and categorical dimensions divide the sequence evenly among their values; a float dimension never gets
    the exact centre of its range.
    """
    point: Floats = Coordinates(space).from_uniform(_uniform(space, seed, position))[0]
    return point


def startup_value(space: Space, name: str, *, seed: int, position: int) -> Value:
    """The value that point number ``position`` gives one dimension, as if it were active there."""
    j = space.names.index(name)
    alone = Space((replace(space.dimensions[j], when=()),))
    return alone.from_unit(Coordinates(alone).from_uniform(_uniform(space, seed, position)[:, j : j + 1])[0])[name]


def _uniform(space: Space, seed: int, position: int) -> Floats:
    """One number in [0, 1) per dimension, shape (1, k)."""
    uniform = sobol(1, len(space.dimensions), seed=seed, skip=position)
    for j, dimension in enumerate(space.dimensions):
        if dimension.type == "float":
            uniform[0, j] = leave_centre(float(uniform[0, j]))
    return uniform


def leave_centre(u: float) -> float:
    """``u``, moved to the nearer edge of the gap around 0.5 where it lies inside."""
    if abs(u - 0.5) >= CENTRE_GAP:
        return u
    return 0.5 + CENTRE_GAP if u >= 0.5 else 0.5 - CENTRE_GAP
