"""Processor seconds of one proposal (fit, acquisition, everything but the evaluation), after 50 and after 500 trials.

    OMP_NUM_THREADS=1 python benchmarks/proposal_time.py

Six parameters; trials crowd towards the optimum, as they do in a search. Measured with derivatives, without them, and
with a cheap level.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from autotune.problem.levels import Levels
from autotune.problem.space import Dimension, Floats, Space
from autotune.search.gp_sampler import GaussianProcessSampler
from autotune.surrogate.model.history import History

DIMENSIONS = 6
REPEATS = 3


def history(count: int, *, gradient: bool, cheap: bool) -> History:
    """Trials on a curved hill with its top at 0.4: a third of them anywhere, the others ever nearer to the top."""
    random = np.random.default_rng(0)
    spread = np.where(np.arange(count) % 3 == 0, 1.0, 0.6 * 0.99 ** np.arange(count))[:, None]
    X = np.clip(0.4 + spread * random.uniform(-0.4, 0.6, (count, DIMENSIONS)), 0.0, 1.0)
    offset = X - 0.4
    bent = offset + 0.4 * np.roll(offset, 1, axis=1) ** 2
    y = -(bent**2).sum(axis=1)
    slope = -2 * (bent + 0.8 * offset * np.roll(bent, -1, axis=1))
    level = (np.arange(count) % 4 != 0).astype(np.int64) * cheap
    nothing: Floats = np.zeros((0, DIMENSIONS))
    return History(X, y - 0.1 * level, nothing, count, slope if gradient else None, nothing, level)


def main() -> None:
    """Measure and print the seconds of one proposal."""
    torch.set_num_threads(1)
    space = Space(tuple(Dimension(f"x{i}", differentiable=True) for i in range(DIMENSIONS)))
    for name, gradient, costs in (
        ("values and derivatives", True, (1.0,)),
        ("the same, with a cheap level", True, (1.0, 0.15)),
        ("values alone", False, (1.0,)),
    ):
        sampler = GaussianProcessSampler(space, seed=0, levels=Levels(costs))
        for count in (50, 500):
            trials = history(count, gradient=gradient, cheap=len(costs) > 1)
            sampler.ask(trials)  # compiles, and fills caches
            seconds = []
            for _ in range(REPEATS):
                started = time.process_time()
                sampler.ask(trials)
                seconds.append(time.process_time() - started)
            print(f"{name}, {count} trials x {DIMENSIONS} parameters: {min(seconds):.2f} s", flush=True)


if __name__ == "__main__":
    main()
