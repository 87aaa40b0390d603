"""What the model of several levels says of an improvement, and of what a trial would teach; against dense algebra."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from autotune.problem.space import Floats
from autotune.surrogate.model.covariance import Profile, Rows, covariance, matern52, rbf
from autotune.surrogate.model.gradient_model import GradientGP, gram
from autotune.surrogate.propose.first_points import sobol
from tests.autotune.surrogate.three_levels import LEVELS, OVER, PLANE, POINT, fitted, model, observations

both = pytest.mark.parametrize("profile", [matern52, rbf])


def joint(profile: Profile, rows: Rows, **named: float) -> tuple[Floats, Floats]:
    """Posterior covariance of noise-free ``rows``, (M, M), and prior one, by a dense inverse."""
    at, _, _ = fitted(profile, **named).shape.unpack(fitted(profile, **named).theta)
    seen = observations().rows
    K = gram(seen, PLANE, fitted(profile, **named)).numpy()
    cross = covariance(rows, seen, PLANE, at, profile).numpy()
    prior = covariance(rows, rows, PLANE, at, profile).numpy()
    return prior - cross @ np.linalg.inv(K) @ cross.T, prior


@both
def test_what_is_learned_is_the_variance_that_conditioning_takes_away(profile: Profile) -> None:
    """The difference of two values, before and after a noisy value of each level at the first."""
    levels = torch.tensor([0, 0, 0, 1, 2])
    rows = Rows(torch.stack([POINT, OVER, POINT, POINT, POINT]), torch.full((5,), -1), levels)
    K, _ = joint(profile, rows)
    noise = float(fitted(profile).shape.unpack(fitted(profile).theta)[1])
    difference = np.array([1.0, -1.0])
    before = difference @ K[:2, :2] @ difference
    expected = []
    for level in range(LEVELS):
        k = K[:2, 2 + level]
        left = K[:2, :2] - np.outer(k, k) / (K[2 + level, 2 + level] + noise)
        expected.append(before - difference @ left @ difference)
    learned = model(profile).learned_from(POINT, OVER).numpy() / observations().spread ** 2
    np.testing.assert_allclose(learned, expected, rtol=1e-4)
    assert (learned > 0).all()


@both
def test_believing_a_pending_trial_keeps_the_mean_and_takes_its_variance(profile: Profile) -> None:
    """As if it had brought the values and slopes that the model expects; the mean elsewhere stays as it was."""
    made = model(profile)
    believing = made.believing(POINT[None])
    new = torch.as_tensor(sobol(20, 2, seed=9))

    def moments(of: GradientGP, X: Tensor) -> tuple[Floats, Floats]:
        with torch.no_grad():
            at_points = of.posterior(X[:, None])
        return at_points.mean[:, 0, 0].numpy(), at_points.variance[:, 0, 0].numpy()

    (mean, variance), (same, less) = moments(made, new), moments(believing, new)
    np.testing.assert_allclose(same, mean, rtol=1e-6, atol=1e-8)
    assert (less <= variance * (1 + 1e-9)).all() and (less < 0.9 * variance).any()
    # By hand: the value and both slopes there, with their noise, conditioned on.
    value_and_slopes = [Rows.values(POINT[None]), Rows.slopes(POINT, 2), Rows.values(new)]
    rows = Rows(
        *(torch.cat(parts) for parts in zip(*((r.X, r.coordinate, r.level) for r in value_and_slopes), strict=True))
    )
    K, prior = joint(profile, rows)
    _, noise, slope_noise = fitted(profile).shape.unpack(fitted(profile).theta)
    own = np.diag([float(noise), *(float(slope_noise[0]) * prior[i, i] for i in (1, 2))])
    left = K[3:, 3:] - K[3:, :3] @ np.linalg.inv(K[:3, :3] + own) @ K[:3, 3:]
    np.testing.assert_allclose(less / observations().spread ** 2, np.diag(left), rtol=1e-3, atol=1e-6)
    at_point = moments(believing, POINT[None])[1][0] / moments(made, POINT[None])[1][0]
    assert at_point < 0.4
