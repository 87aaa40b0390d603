"""What the model of several levels says of an improvement, and of what a trial would teach; against dense algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from autotune.problem.space import Floats
from autotune.surrogate.model.covariance import Groups, Profile, Rows, covariance, matern52, rbf
from autotune.surrogate.model.gradient_model import Fit, GradientGP, Shape, gram
from autotune.surrogate.model.history import History
from autotune.surrogate.model.observations import Observations, Trials
from autotune.surrogate.model.value_model import FittedModel
from autotune.surrogate.propose.acquisition import LogImprovement, acquisition_function, is_known, most_telling
from autotune.surrogate.propose.first_points import sobol

PLANE = Groups(torch.tensor([0, 1]), ())
both = pytest.mark.parametrize("profile", [matern52, rbf])
LEVELS = 3


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


def joint(profile: Profile, rows: Rows, **named: float) -> tuple[Floats, Floats]:
    """Posterior covariance of noise-free ``rows``, (M, M), and prior one, by a dense inverse."""
    at, _, _ = fitted(profile, **named).shape.unpack(fitted(profile, **named).theta)
    seen = observations().rows
    K = gram(seen, PLANE, fitted(profile, **named)).numpy()
    cross = covariance(rows, seen, PLANE, at, profile).numpy()
    prior = covariance(rows, rows, PLANE, at, profile).numpy()
    return prior - cross @ np.linalg.inv(K) @ cross.T, prior


POINT, OVER = torch.tensor([0.35, 0.62], dtype=torch.float64), torch.tensor([0.8, 0.2], dtype=torch.float64)


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


def history_of(level: list[int]) -> History:
    X = sobol(len(level), 2, seed=0)
    return History(X, X.sum(axis=1), np.zeros((0, 2)), len(level), level=np.array(level))


def test_the_most_telling_level_per_unit_of_cost() -> None:
    history, made = history_of([0, 1, 2] * 3), model()
    over = torch.as_tensor(history.X)[made.posterior(torch.as_tensor(history.X)[:, None]).mean[:, 0, 0].argmax()]
    learned = made.learned_from(POINT, over).numpy()
    for costs in ([1.0, 1.0, 1.0], [1.0, 0.3, 0.3], [1.0, 0.5, 0.01], [1.0, 1e-6, 0.5]):
        assert most_telling(made, POINT.numpy(), history, costs) == int(np.argmax(learned / np.array(costs)))
    assert most_telling(made, POINT.numpy(), history, [1.0, 1e-6, 0.5]) == 1


def test_a_level_that_tells_nothing_is_not_asked_however_cheap() -> None:
    unrelated = model(log_a=-2.0, log_r=3.0)
    assert most_telling(unrelated, POINT.numpy(), history_of([0, 1, 2] * 3), [1.0, 0.05, 100.0]) == 0


def test_what_is_known_at_a_level_is_not_asked_there_again() -> None:
    history, made = history_of([0, 1, 2] * 3), model()
    cheap = [1.0, 1e-3, 0.5]
    assert most_telling(made, history.X[0], history, cheap) == 1
    assert is_known(history.X[1], history, 1) and not is_known(history.X[1], history, 0)
    assert most_telling(made, history.X[1], history, cheap) != 1


@both
def test_log_improvement_is_the_logarithm_of_a_monte_carlo_mean(profile: Profile) -> None:
    """Over a point whose value is not known either, as with cheap levels; draws from the joint posterior."""
    made = model(profile)
    history = history_of([0, 1, 2] * 3)
    acquisition = acquisition_function(FittedModel(made, 1e-3), history, seed=0)
    assert isinstance(acquisition, LogImprovement)
    X = torch.as_tensor(history.X)
    best = X[made.posterior(X[:, None]).mean[:, 0, 0].argmax()]
    gains = []
    for point in best + torch.as_tensor(0.3 * sobol(8, 2, seed=7) - 0.15):
        pair = made.posterior(torch.stack([point, best]))
        mean, K = pair.mean[:, 0].detach().numpy(), pair.distribution.covariance_matrix.detach().numpy()
        draws = np.random.default_rng(0).multivariate_normal(mean, K, 400_000)
        gain = np.maximum(draws[:, 0] - draws[:, 1], 0.0)
        found = float(acquisition(point[None, None]).exp())
        assert found == pytest.approx(gain.mean(), rel=0.02, abs=5 * gain.std() / math.sqrt(len(gain)) + 1e-9)
        gains.append(gain.mean())
    assert np.median(gains) > 1e-3


def test_nothing_is_gained_over_itself() -> None:
    made = model()
    assert float(LogImprovement(made, OVER)(OVER[None, None])) < math.log(1e-4)


@both
def test_believing_a_pending_trial_keeps_the_mean_and_takes_its_variance(profile: Profile) -> None:
    """As if it had brought the values and slopes that the model expects; the mean elsewhere stays as it was."""
    made = model(profile)
    believing = made.believing(POINT[None])
    new = torch.as_tensor(sobol(20, 2, seed=9))

    def moments(of: GradientGP, X: Tensor) -> tuple[Floats, Floats]:
        with torch.no_grad():
            found = of.posterior(X[:, None])
        return found.mean[:, 0, 0].numpy(), found.variance[:, 0, 0].numpy()

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


def test_a_place_that_is_believed_known_is_left() -> None:
    made = model()
    history = history_of([0, 1, 2] * 3)
    pending = POINT.numpy()[None] + np.array([[0.0, 0.0], [0.02, 0.01]])
    alone = acquisition_function(FittedModel(made, 1e-3), history, seed=0)
    waiting = History(history.X, history.y, pending, 11, level=history.level)
    beside = acquisition_function(FittedModel(made, 1e-3), waiting, seed=0)
    at = POINT[None, None]
    assert float(beside(at)) < float(alone(at)) - 1
