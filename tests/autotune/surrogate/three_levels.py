"""A model of a plane, of values and slopes of three levels with given hyperparameters, for several test files."""

from __future__ import annotations

import math

import numpy as np
import torch

from autotune.problem.space import Dimension, Space
from autotune.surrogate.model.covariance import Groups, Profile, matern52
from autotune.surrogate.model.gradient_model import GradientGP
from autotune.surrogate.model.history import History
from autotune.surrogate.model.hyperparameters import Fit, Shape
from autotune.surrogate.model.observations import Observations, Trials
from autotune.surrogate.propose.first_points import sobol

SPACE = Space((Dimension("x"), Dimension("y")))
PLANE = Groups(torch.tensor([0, 1]), ())
LEVELS = 3
POINT, OVER = torch.tensor([0.35, 0.62], dtype=torch.float64), torch.tensor([0.8, 0.2], dtype=torch.float64)


def fitted(profile: Profile, log_a: float = -0.2, log_r: float = -2.0, noise: float = -6.0) -> Fit:
    """Hyperparameters of a plane: two lengths, scale, noise, slope noise per level; a and r of two further levels."""
    theta = [-0.4, -0.2, 0.3, noise, -5.0, -4.0, -5.0, log_a, 0.1, log_r, -1.0]
    return Fit(torch.tensor(theta, dtype=torch.float64), Shape.of(PLANE, LEVELS), profile, math.nan)


def observations() -> Observations:
    """Nine trials of three levels, two of them with slopes."""
    X = sobol(9, 2, seed=0)
    y = np.sin(3 * X[:, 0]) + X[:, 1] ** 2
    slopes = np.full((9, 2), np.nan)
    slopes[[1, 4]] = [[0.3, 0.2], [-0.5, 1.0]]
    return Observations.of(Trials(X, y, slopes, np.array([0, 1, 2] * 3)), LEVELS, 100)


def model(profile: Profile = matern52, **named: float) -> GradientGP:
    return GradientGP(observations(), PLANE, fitted(profile, **named))


def history_of(level: list[int]) -> History:
    X = sobol(len(level), 2, seed=0)
    return History(X, X.sum(axis=1), np.zeros((0, 2)), len(level), level=np.array(level))
