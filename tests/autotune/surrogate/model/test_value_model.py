from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from botorch.exceptions.errors import ModelFittingError

from autotune.surrogate.model import value_model as model
from autotune.surrogate.model.value_model import FittedModel, fit
from autotune.surrogate.propose.first_points import sobol


def predict(fitted: FittedModel, X: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    with torch.no_grad():
        posterior: Any = fitted.model.posterior(torch.as_tensor(X))
    return posterior.mean.numpy()[:, 0], posterior.variance.numpy()[:, 0]


def smooth(X: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    values: np.ndarray[Any, Any] = 0.8 - 0.1 * (X[:, 0] - 0.3) ** 2 - 0.02 * np.sin(3 * X[:, 1])
    return values


def test_predicts_a_smooth_function_in_its_own_units() -> None:
    X, new = sobol(32, 2, seed=0), sobol(50, 2, seed=1)
    fitted = fit(X, smooth(X))
    mean, variance = predict(fitted, new)
    spread = smooth(X).std()
    error = mean - smooth(new)
    assert np.sqrt(np.mean(error**2)) < 0.03 * spread
    assert np.median(np.sqrt(variance)) < 0.05 * spread
    assert np.all(np.abs(error) < 4 * np.sqrt(variance))
    assert fitted.noise < 1e-3
    assert fitted.model.train_inputs[0].dtype == torch.float64  # type: ignore[union-attr,index]


def test_noise_is_found() -> None:
    X = sobol(64, 2, seed=0)
    noisy = smooth(X) + 0.3 * smooth(X).std() * np.random.default_rng(0).normal(size=64)
    assert 0.03 < fit(X, noisy).noise < 0.25  # 0.3**2 / (1 + 0.3**2) = 0.083


def test_a_fit_that_fails_leaves_a_usable_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(mll: Any, **_: Any) -> None:
        with torch.no_grad():
            mll.model.covar_module.raw_lengthscale.fill_(torch.nan)
        raise ModelFittingError("all attempts failed")

    monkeypatch.setattr(model, "fit_gpytorch_mll", failing)
    X = sobol(8, 2, seed=0)
    mean, variance = predict(fit(X, smooth(X)), X)
    np.testing.assert_allclose(mean, smooth(X), atol=0.1 * smooth(X).std())
    assert np.all(variance > 0)
