"""A measurement repeated in simulation: what the model expects of a finished reconstruction, with noise drawn anew.

Parametric bootstrap: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), ch. 6 and 21.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from objectives.data.measurement import Measurement
from objectives.ptychography.misfit import Misfit
from objectives.ptychography.solvers import State


def measured_again(measurement: Measurement, misfit: Misfit, state: State, seed: int) -> Measurement:
    """The measurement with other noise.

    Counted quanta are Poisson numbers of the expected counts. Of anything else the noise is not known, and taken from
    the residuals: each pixel's keeps its size and gets a random sign (wild bootstrap; C. F. J. Wu, Ann. Statist. 14,
    1261 (1986)), and what falls below zero is zero.

    Args:
        measurement: all of it.
        misfit: the model of the reconstruction, and all of the data.
        state: the final state.
        seed: of the noise.
    """
    random = np.random.default_rng(seed)
    patterns = np.empty_like(measurement.patterns)
    for batch in misfit.batches(len(state.spectra), state.moved):
        rows = batch.indices.cpu().numpy()
        expected = misfit.model.intensity(state.transmission, state.spectra, batch).cpu().numpy().astype(np.float64)
        if measurement.counted:
            patterns[rows] = random.poisson(expected)
        else:
            residual = measurement.patterns[rows] - expected
            patterns[rows] = np.maximum(expected + residual * random.choice((-1.0, 1.0), residual.shape), 0.0)
    return replace(measurement, patterns=patterns)
