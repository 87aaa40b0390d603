"""The improvement over a point that is not known exactly either: against draws from the joint posterior."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from autotune.surrogate.model.covariance import Profile, matern52, rbf
from autotune.surrogate.model.history import History
from autotune.surrogate.model.value_model import FittedModel
from autotune.surrogate.propose.acquisitions.improvement_with_gradients import LogImprovement
from autotune.surrogate.propose.acquisitions.protocol import Situation
from autotune.surrogate.propose.first_points import sobol
from tests.autotune.surrogate.suitable import acquisition_function
from tests.autotune.surrogate.three_levels import OVER, POINT, SPACE, history_of, model

both = pytest.mark.parametrize("profile", [matern52, rbf])


@both
def test_log_improvement_is_the_logarithm_of_a_monte_carlo_mean(profile: Profile) -> None:
    """Over a point whose value is not known either, as with cheap levels; draws from the joint posterior."""
    made = model(profile)
    history = history_of([0, 1, 2] * 3)
    acquisition = acquisition_function(Situation(FittedModel(made, 1e-3), history, SPACE, 0))
    assert isinstance(acquisition, LogImprovement)
    X = torch.as_tensor(history.X)
    best = X[made.posterior(X[:, None]).mean[:, 0, 0].argmax()]
    gains = []
    for point in best + torch.as_tensor(0.3 * sobol(8, 2, seed=7) - 0.15):
        pair = made.posterior(torch.stack([point, best]))
        mean, K = pair.mean[:, 0].detach().numpy(), pair.distribution.covariance_matrix.detach().numpy()
        draws = np.random.default_rng(0).multivariate_normal(mean, K, 400_000)
        gain = np.maximum(draws[:, 0] - draws[:, 1], 0.0)
        improvement = float(acquisition(point[None, None]).exp())
        assert improvement == pytest.approx(gain.mean(), rel=0.02, abs=5 * gain.std() / math.sqrt(len(gain)) + 1e-9)
        gains.append(gain.mean())
    assert np.median(gains) > 1e-3


def test_nothing_is_gained_over_itself() -> None:
    made = model()
    assert float(LogImprovement(made, OVER)(OVER[None, None])) < math.log(1e-4)


def test_a_place_that_is_believed_known_is_left() -> None:
    made = model()
    history = history_of([0, 1, 2] * 3)
    pending = POINT.numpy()[None] + np.array([[0.0, 0.0], [0.02, 0.01]])
    alone = acquisition_function(Situation(FittedModel(made, 1e-3), history, SPACE, 0))
    waiting = History(history.X, history.y, pending, 11, level=history.level)
    beside = acquisition_function(Situation(FittedModel(made, 1e-3), waiting, SPACE, 0))
    at = POINT[None, None]
    assert float(beside(at)) < float(alone(at)) - 1
