"""The incumbent: where the posterior mean is highest, which is what the search takes for the answer so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.analytic import PosteriorMean

from autotune.problem.space import Floats, Space
from autotune.surrogate.model.coordinates import Coordinates
from autotune.surrogate.model.history import History
from autotune.surrogate.model.value_model import FittedModel
from autotune.surrogate.propose.acquisition_factors import LogFactor, Weighted
from autotune.surrogate.propose.acquisition_optimisation import RESTARTS, climb, evaluate

PRICE_OF_RISK = 0.1
"""Standard deviations of the values, per factor e in the chance that limits are kept."""


def incumbent(fitted: FittedModel, history: History, space: Space, chances: Sequence[LogFactor] = ()) -> Floats:
    """The point, (D,), with the highest posterior mean: climbed to from the best of the points that were evaluated.

    Args:
        fitted: the value model.
        history: the trials it was fitted on.
        space: the search space.
        chances: logarithms of the probabilities that limits are kept; a mean that is higher by :data:`PRICE_OF_RISK`
            of the values' standard deviation makes good for a chance smaller by a factor e.
    """
    mean: AcquisitionFunction = PosteriorMean(fitted.model)
    if chances:
        mean = Weighted(mean, chances, PRICE_OF_RISK * float(history.y.std()))
    values = evaluate(mean, history.X)
    best = np.argsort(-values, kind="stable")[:RESTARTS]
    coordinates = Coordinates(space)
    points, values = climb(mean, coordinates, coordinates.snap(history.X[best]), values[best])
    highest: Floats = points[int(np.argmax(values))]
    return highest
