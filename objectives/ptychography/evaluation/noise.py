"""Repeat a measurement in simulation: the expected counts of a finished reconstruction, with noise drawn anew.

Parametric bootstrap: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), ch. 6 and 21. Wild
cluster bootstrap: A. C. Cameron, J. B. Gelbach and D. L. Miller, Rev. Econ. Stat. 90, 414 (2008).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from objectives.diffraction.data.measurement import Measurement
from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.solvers.state import State

EXCESS = 1.2
"""Ratio of squared residual to Poisson variance from which the noise is taken from the residuals, not the counts."""


def measured_again(
    measurement: Measurement, misfit: Misfit, state: State, seed: int, *, explained: bool
) -> Measurement:
    """The measurement with other noise.

    Where counting quanta explains the residuals, new counts are Poisson deviates of the expected ones. Elsewhere each
    pattern keeps its residuals and one random sign multiplies all of them: every error that changes from pattern to
    pattern counts as noise then, with its correlations between the pixels of a pattern. Values below zero become zero.

    Args:
        measurement: the whole measurement.
        misfit: the model of the reconstruction, and all of the data.
        state: the final state.
        seed: seed of the noise.
        explained: see :func:`explained_by_counting`.
    """
    random = np.random.default_rng(seed)
    patterns = np.empty_like(measurement.patterns)
    for rows, expected in _expected(misfit, state):
        if explained:
            patterns[rows] = random.poisson(expected)
        else:
            signs = random.choice((-1.0, 1.0), (len(rows), 1, 1))
            patterns[rows] = np.maximum(expected + signs * (measurement.patterns[rows] - expected), 0.0)
    return replace(measurement, patterns=patterns)


def explained_by_counting(measurement: Measurement, misfit: Misfit, state: State) -> bool:
    """Whether the values are counted quanta, and counting explains the residuals."""
    return measurement.counted and excess(measurement, misfit, state) < EXCESS


def excess(measurement: Measurement, misfit: Misfit, state: State) -> float:
    """Squared residual of the valid pixels over their expected counts: about 1 where counting explains it."""
    squared = total = 0.0
    for rows, expected in _expected(misfit, state):
        squared += float(np.square(measurement.patterns[rows] - expected).sum(where=measurement.valid))
        total += float(expected.sum(where=measurement.valid))
    return squared / total


def _expected(misfit: Misfit, state: State) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Indices (n,) and expected counts (n, det_y, det_x) of the patterns, some at a time."""
    for batch in misfit.batches(len(state.spectra), state.moved):
        expected = misfit.model.intensity(state.transmission, state.spectra, batch)
        yield batch.indices.cpu().numpy(), expected.cpu().numpy().astype(np.float64)
