"""The Gaussian process of values and derivatives, and the search that it makes short."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from numpy.typing import NDArray

from autotune.problem.space import Dimension, Space
from autotune.search.gp_sampler import GaussianProcessSampler
from autotune.store.records import EVALUATION
from autotune.surrogate.model.covariance import Groups, Rows, covariance, matern52
from autotune.surrogate.model.gradient_model import GradientGP, fit_gradient_gp, gram
from autotune.surrogate.model.history import History
from autotune.surrogate.model.hyperparameters import Fit, Shape
from autotune.surrogate.model.observations import Observations, Trials
from autotune.surrogate.model.value_model import fit_history
from autotune.surrogate.propose.first_points import sobol

Floats = NDArray[np.float64]
SQUARE = Space((Dimension("x", differentiable=True), Dimension("y", differentiable=True)))
PLANE = Groups(torch.tensor([0, 1]), ())
ONE = Shape.of(PLANE, 1)


def hills(X: Floats) -> Floats:
    values: Floats = 0.8 - 0.3 * (X[:, 0] - 0.3) ** 2 + 0.05 * np.sin(5 * X[:, 1]) * X[:, 0]
    return values


def slopes(X: Floats) -> Floats:
    along_x = -0.6 * (X[:, 0] - 0.3) + 0.05 * np.sin(5 * X[:, 1])
    return np.stack([along_x, 0.25 * np.cos(5 * X[:, 1]) * X[:, 0]], axis=1)


def trials(X: Floats, y: Floats, gradient: Floats | None = None, level: Any = 0) -> Trials:
    gradient = np.full((len(X), 2), np.nan) if gradient is None else gradient
    return Trials(X, y, gradient, np.broadcast_to(level, len(X)).astype(np.int64))


def predict(model: Any, X: Floats) -> tuple[Floats, Floats]:
    with torch.no_grad():
        posterior = model.posterior(torch.as_tensor(X)[:, None])
    return posterior.mean.numpy()[:, 0, 0], posterior.variance.numpy()[:, 0, 0]


def error(model: Any, new: Floats) -> float:
    return float(np.sqrt(np.mean((predict(model, new)[0] - hills(new)) ** 2)) / hills(new).std())


def test_posterior_is_the_conditional_gaussian() -> None:
    """Mean and variance written out with a dense inverse, for given hyperparameters."""
    X, new = sobol(5, 2, seed=0), sobol(7, 2, seed=1)
    observed = Observations.of(trials(X, hills(X), slopes(X)), 1, 100)
    fitted = Fit(torch.tensor([0.1, -0.3, 0.2, -7.0, -5.0], dtype=torch.float64), ONE, matern52, 0.0)
    model = GradientGP(observed, PLANE, fitted)
    K = gram(observed.rows, PLANE, fitted).numpy()
    at, _, _ = ONE.unpack(fitted.theta)
    k = covariance(Rows.values(torch.as_tensor(new)), observed.rows, PLANE, at, matern52).numpy()
    constant, y = (observed.rows.coordinate < 0).double().numpy(), observed.y.numpy()
    inverse = np.linalg.inv(K)
    level = constant @ inverse @ y / (constant @ inverse @ constant)
    mean, variance = predict(model, new)
    expected = level + k @ inverse @ (y - level * constant)
    np.testing.assert_allclose(mean, observed.centre[0] + observed.spread * expected, rtol=1e-8)
    left = math.exp(0.2) - np.einsum("ij,jk,ik->i", k, inverse, k)
    np.testing.assert_allclose(variance, observed.spread**2 * left, rtol=1e-4, atol=1e-9)


def test_joint_posterior_agrees_with_the_single_ones() -> None:
    X, new = sobol(6, 2, seed=0), sobol(4, 2, seed=1)
    model, _ = fit_gradient_gp(trials(X, hills(X), slopes(X)), PLANE)
    with torch.no_grad():
        joint = model.posterior(torch.as_tensor(new))
    mean, variance = predict(model, new)
    np.testing.assert_allclose(joint.mean.numpy()[:, 0], mean, rtol=1e-9)
    np.testing.assert_allclose(joint.variance.numpy()[:, 0], variance, rtol=1e-6, atol=1e-12)
    with torch.no_grad():
        batched = model.posterior(torch.as_tensor(new).reshape(2, 2, 2))
    np.testing.assert_allclose(batched.mean.numpy().ravel(), mean, rtol=1e-9)


def test_derivatives_tell_more_than_values() -> None:
    X, new = sobol(6, 2, seed=3), sobol(200, 2, seed=4)
    with_slopes, _ = fit_gradient_gp(trials(X, hills(X), slopes(X)), PLANE)
    without, _ = fit_gradient_gp(trials(X, hills(X)), PLANE)
    assert error(with_slopes, new) < 0.15 < error(without, new)


def test_a_derivative_may_be_missing() -> None:
    X, new = sobol(10, 2, seed=3), sobol(200, 2, seed=4)
    half = slopes(X)
    half[:, 1] = half[::2, 0] = np.nan
    model, _ = fit_gradient_gp(trials(X, hills(X), half), PLANE)
    assert np.isfinite(predict(model, new)).all() and error(model, new) < 0.3


def history(X: Floats, gradient: Floats) -> History:
    return History(X, hills(X), np.zeros((0, 2)), len(X), gradient)


@pytest.mark.parametrize("seed", range(3))
def test_derivatives_that_do_not_fit_are_discounted(seed: int) -> None:
    """By the noise that is learned for them, and where that is not enough by predicting values without them."""
    random = np.random.default_rng(seed)
    X, new = sobol(16, 2, seed=3), sobol(200, 2, seed=4)
    wrong = random.normal(0, 3 * slopes(X).std(), (16, 2))
    misled = fit_history(history(X, wrong), SQUARE).model
    told = fit_history(history(X, slopes(X)), SQUARE).model
    assert isinstance(told, GradientGP) and error(told, new) < 0.03
    without, _ = fit_gradient_gp(trials(X, hills(X)), PLANE)
    assert error(misled, new) < 2.5 * error(without, new) + 0.05
    _, discounted = fit_gradient_gp(trials(X, hills(X), wrong), PLANE)
    _, right = fit_gradient_gp(trials(X, hills(X), slopes(X)), PLANE)
    assert float(discounted.theta[-1]) > float(right.theta[-1]) + 2


def test_a_trial_is_left_out_with_its_derivatives() -> None:
    """Each value's density given the other trials, by conditioning anew without it; the mean's level is kept."""
    X = sobol(6, 2, seed=0)
    model, fitted = fit_gradient_gp(trials(X, hills(X), slopes(X)), PLANE)
    observed = Observations.of(trials(X, hills(X), slopes(X)), 1, 100)
    rows, y = observed.rows, observed.y
    K = gram(rows, PLANE, fitted).numpy()
    of_value, z = (rows.coordinate < 0).numpy(), y.numpy()
    inverse = np.linalg.inv(K)
    centre = of_value @ inverse @ z / (of_value @ inverse @ of_value)
    z = z - centre * of_value
    total = 0.0
    for i in np.flatnonzero(of_value):
        others = np.flatnonzero((rows.X[i] != rows.X).any(dim=1).numpy())
        weights = np.linalg.solve(K[np.ix_(others, others)], K[others, i])
        mean, variance = weights @ z[others], K[i, i] - weights @ K[others, i]
        variance, residual = variance * observed.spread**2, (z[i] - mean) * observed.spread
        total -= 0.5 * (residual**2 / variance + math.log(2 * math.pi * variance))
    assert len(others) == 15
    assert model.leave_one_out() == pytest.approx(total, rel=1e-5)


def test_the_profile_that_explains_the_trials_is_taken() -> None:
    X = sobol(8, 2, seed=0)
    quadratic, slope = -((X - 0.4) ** 2).sum(axis=1), -2 * (X - 0.4)
    assert fit_gradient_gp(trials(X, quadratic, slope), PLANE)[1].profile is not matern52
    kink = -np.abs(X - 0.4).sum(axis=1)
    assert fit_gradient_gp(trials(X, kink, -np.sign(X - 0.4)), PLANE)[1].profile is matern52


def test_derivatives_of_the_best_trials_are_kept_first() -> None:
    X = sobol(50, 2, seed=0)
    observed = Observations.of(trials(X, hills(X), slopes(X)), 1, 60)
    assert len(observed.rows.X) == 60
    kept = observed.rows.X[observed.rows.coordinate >= 0].numpy()
    best = X[np.argsort(-hills(X))[:5]]
    np.testing.assert_array_equal(np.unique(kept, axis=0), np.unique(best, axis=0))
    few = Observations.of(trials(X, hills(X), slopes(X)), 1, 20)
    assert (few.rows.coordinate < 0).all() and len(few.rows.X) == 20


def test_a_fit_sees_whole_trials_half_of_them_the_best() -> None:
    X = sobol(50, 2, seed=0)
    order = np.argsort(-hills(X))
    given = slopes(X)
    given[order[-1]] = np.nan
    observed = Observations.some(trials(X, hills(X), given), 1, 60)
    is_value = observed.rows.coordinate.numpy() < 0
    kept = observed.rows.X.numpy()[is_value]
    np.testing.assert_array_equal(kept[:10], X[order[:10]])
    np.testing.assert_array_equal(kept[10], X[order[10]])
    np.testing.assert_array_equal(kept[-1], X[order[-1]])
    assert 55 <= len(observed.y) <= 60 and is_value.sum() * 3 - 2 == len(observed.y)
    everything = Observations.of(trials(X, hills(X), given), 1, 1000)
    assert (observed.spread, observed.centre) == (everything.spread, everything.centre)
    few = Observations.some(trials(X, hills(X), given), 1, 1000)
    assert len(few.y) == len(everything.y) == 148


def test_hyperparameters_of_many_trials_near_the_optimum_predict_elsewhere() -> None:
    """The many that crowd around the best do not tell how the function varies elsewhere, nor how noisy slopes are."""
    random = np.random.default_rng(0)
    crowd = np.clip(np.array([0.35, 0.3]) + random.normal(0, 0.03, (250, 2)), 0, 1)
    X, new = np.concatenate([sobol(20, 2, seed=3), crowd]), sobol(200, 2, seed=4)
    noisy = trials(X, hills(X) + random.normal(0, 1e-3, 270), slopes(X) + random.normal(0, 1e-2, (270, 2)))
    model, _ = fit_gradient_gp(noisy, PLANE)
    assert error(model, new) < 0.025


def rotated_quadratic(d: int, seed: int) -> tuple[Callable[[Floats], float], Callable[[Floats], Floats], Floats]:
    """A concave quadratic of the unit cube, its gradient and its maximum; curvatures differ by a factor of 30."""
    random = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(random.normal(size=(d, d)))
    curvature = turn @ np.diag(10 ** random.uniform(0, 1.5, d)) @ turn.T
    top = random.uniform(0.2, 0.8, d)
    return (
        lambda x: -float((x - top) @ curvature @ (x - top)),
        lambda x: -2 * curvature @ (x - top),
        top,
    )


def trials_to_optimum(d: int, seed: int, most: int, *, with_gradient: bool) -> int:
    """Trials until one is within 1 % of every range of the optimum; ``most`` + 1 where none was."""
    value, gradient, top = rotated_quadratic(d, seed)
    space = Space(tuple(Dimension(f"x{i}", differentiable=True) for i in range(d)))
    study = optuna.create_study(direction="maximize")
    for number in range(most):
        study.sampler = GaussianProcessSampler(space, seed=seed)
        trial = study.ask(space.distributions())
        x = np.array([trial.params[name] for name in space.names])
        if np.abs(x - top).max() < 0.01:
            return number + 1
        if with_gradient:
            slope = dict(zip(space.names, gradient(x).tolist(), strict=True))
            trial.set_user_attr(EVALUATION, {"gradient": slope})
        study.tell(trial, value(x))
    return most + 1


@pytest.fixture(autouse=True)
def quiet() -> Any:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


@pytest.mark.parametrize("d", [2, 4, 6])
def test_rotated_quadratics_take_d_plus_3_trials(d: int) -> None:
    assert np.median([trials_to_optimum(d, seed, d + 3, with_gradient=True) for seed in range(3)]) <= d + 3


def test_without_derivatives_they_do_not() -> None:
    assert min(trials_to_optimum(4, seed, 7, with_gradient=False) for seed in range(3)) > 7
