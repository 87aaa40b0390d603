"""The posterior of the optimum, against what can be worked out otherwise: closed forms and brute force."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from autotune.problem.space import Dimension, Floats, Space
from autotune.surrogate.model import gradient_model
from autotune.surrogate.model.coordinates import Coordinates
from autotune.surrogate.model.gradient_model import GradientGP, fit_gradient_gp
from autotune.surrogate.model.history import History
from autotune.surrogate.model.observations import Observations, Trials
from autotune.surrogate.model.value_model import FittedModel
from autotune.surrogate.numerics import quiet_and_seeded
from autotune.surrogate.optimum import optimum as module
from autotune.surrogate.optimum.optimum import Optimum, find_optimum
from autotune.surrogate.propose.first_points import sobol
from autotune.surrogate.propose.incumbent import incumbent

PLANE = Space((Dimension("x"), Dimension("y", low=-10.0, high=30.0)))


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with quiet_and_seeded(0):
        yield


def kinds(optimum: Optimum) -> dict[str, str]:
    """The verdicts, without what belongs to them."""
    return {name: verdict.kind for name, verdict in optimum.verdicts.items()}


def history(space: Space, count: int, value: Callable[[dict[str, Any]], float], **named: Any) -> History:
    """``count`` points spread over the space, and their values."""
    X = Coordinates(space).from_uniform(sobol(count, len(space.dimensions), seed=3))
    y = np.array([value(space.from_unit(x)) for x in X])
    return History(X, y, np.zeros((0, space.width)), count, **named)


CURVATURE = np.array([[2.0, 0.9], [0.9, 1.0]])
TOP = np.array([0.42, 0.56])
VALUE_NOISE, SLOPE_NOISE = 0.02, 0.05


def noisy_quadratic(count: int, seed: int) -> History:
    """-(x - top)' A (x - top) over the unit square, values and slopes with noise; the slopes along y per unit of u."""
    random = np.random.default_rng(seed)
    X = sobol(count, 2, seed=seed)
    y = -np.einsum("ij,jk,ik->i", X - TOP, CURVATURE, X - TOP) + random.normal(0, VALUE_NOISE, count)
    slopes = -2 * (X - TOP) @ CURVATURE + random.normal(0, SLOPE_NOISE, (count, 2))
    return History(X, y, np.zeros((0, 2)), count, slopes)


def model_of(seen: History, space: Space) -> tuple[GradientGP, Floats]:
    """The same model as ``find_optimum`` makes, and the maximum of its mean."""
    groups = Coordinates(space).groups
    gradient = np.full_like(seen.X, math.nan) if seen.gradient is None else seen.gradient
    model, fitted = fit_gradient_gp(Trials(seen.X, seen.y, gradient[:, groups.smooth.numpy()], seen.levels), groups)
    return model, incumbent(FittedModel(model, fitted.noise), seen, space)


def unit_samples(optimum: Optimum) -> Floats:
    scale = np.array([[1.0, 40.0]])
    result: Floats = (optimum.samples - np.array([[0.0, -10.0]])) / scale
    return result


@pytest.mark.parametrize("seed", range(3))
def test_of_a_noisy_quadratic_it_agrees_with_the_delta_method_and_with_brute_force(seed: int) -> None:
    seen = noisy_quadratic(12, seed)
    optimum = find_optimum(seen, PLANE, 1, 1, seed=seed)
    samples = unit_samples(optimum)
    model, top = model_of(seen, PLANE)

    # H^-1 C H^-1, with H by differences of the posterior mean itself.
    def mean(points: Floats) -> Floats:
        with torch.no_grad():
            result: Floats = model.posterior(torch.as_tensor(points)[:, None]).mean[:, 0, 0].numpy()
        return result

    h, e = 1e-3, np.eye(2)
    corners = [[top + h * (a * e[i] + b * e[j]) for a in (1, -1) for b in (1, -1)] for i in range(2) for j in range(2)]
    four = mean(np.array(corners).reshape(16, 2)).reshape(2, 2, 4)
    H = (four[..., 0] - four[..., 1] - four[..., 2] + four[..., 3]) / (4 * h * h)
    _, C = model.slopes(torch.as_tensor(top))
    expected = np.linalg.inv(H) @ C.numpy() @ np.linalg.inv(H)
    np.testing.assert_allclose(np.cov(samples.T), expected, rtol=0.25, atol=0.1 * np.abs(expected).max())

    # The maxima of functions drawn from the joint posterior on a grid about the answer.
    width = 4 * np.sqrt(np.diag(expected))
    axes = [np.linspace(top[i] - width[i], top[i] + width[i], 33) for i in range(2)]
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    with torch.no_grad():
        joint = model.posterior(torch.as_tensor(grid))
    K = joint.distribution.covariance_matrix.numpy()
    eigenvalues, vectors = np.linalg.eigh((K + K.T) / 2)
    draws = np.random.default_rng(seed).normal(size=(2000, len(grid)))
    functions = joint.mean[:, 0].numpy() + draws @ (vectors * np.sqrt(np.maximum(eigenvalues, 0))).T
    brute = grid[functions.argmax(axis=1)]
    np.testing.assert_allclose(samples.mean(axis=0), brute.mean(axis=0), atol=0.5 * np.sqrt(np.diag(expected)).max())
    np.testing.assert_allclose(samples.std(axis=0), brute.std(axis=0), rtol=0.3)
    correlation = np.corrcoef(brute.T)[0, 1]
    assert abs(optimum.correlations[0, 1] - correlation) < 0.25 and correlation < 0


def test_intervals_cover_the_truth() -> None:
    """Nine of ten, by definition; the test leaves chance some room."""
    covered = []
    for seed in range(12):
        optimum = find_optimum(noisy_quadratic(10, seed), PLANE, 1, 1, seed=seed)
        truth = (TOP[0], -10 + 40 * TOP[1])
        covered += [low <= true <= high for (low, high), true in zip(optimum.intervals.values(), truth, strict=True)]
    assert 0.6 * len(covered) <= sum(covered)


def test_more_trials_say_more() -> None:
    few, many = (find_optimum(noisy_quadratic(count, 1), PLANE, 1, 1, seed=0) for count in (6, 60))
    for name in ("x", "y"):
        assert np.ptp(many.intervals[name]) < 0.6 * np.ptp(few.intervals[name])
    assert many.deviation < few.deviation


def test_what_it_says_of_the_value() -> None:
    optimum = find_optimum(noisy_quadratic(30, 0), PLANE, 1, 1, seed=0)
    assert abs(optimum.metric) < 0.02 and 0 < optimum.deviation < 0.02
    assert optimum.values["x"] == pytest.approx(TOP[0], abs=0.02)
    assert optimum.values["y"] == pytest.approx(-10 + 40 * TOP[1], abs=1.0)
    assert optimum.names == ("x", "y") and optimum.samples.shape == (module.KEPT, 2)


def test_equal_seeds_give_equal_answers() -> None:
    one, two, other = (find_optimum(noisy_quadratic(10, 0), PLANE, 1, 1, seed=seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one.samples, two.samples)
    assert one.sensitivities == two.sensitivities
    assert np.abs(one.samples - other.samples).max() > 0


THREE = Space((Dimension("x"), Dimension("idle", low=5.0, high=9.0), Dimension("edge", low=-1.0, high=1.0)))


@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize("with_slopes", [True, False])
def test_flat_and_at_the_bound(side: float, with_slopes: bool) -> None:
    def value(v: dict[str, Any]) -> float:
        return float(-((v["x"] - 0.3) ** 2) + 0.5 * side * v["edge"])

    seen = history(THREE, 24, value)
    if with_slopes:
        slopes = np.stack([-2 * (seen.X[:, 0] - 0.3), np.zeros(24), np.full(24, side)], axis=1)
        seen = History(seen.X, seen.y, seen.pending, 24, slopes)
    optimum = find_optimum(seen, THREE, 1, 1, seed=0, check=lambda v: (value(dict(v)), {}))
    assert kinds(optimum) == {"idle": "flat", "edge": "at_bound"}
    assert optimum.values["edge"] == pytest.approx(side, abs=0.01)
    assert optimum.intervals["edge"] == pytest.approx((side, side), abs=0.01)
    low, high = optimum.intervals["idle"]
    assert high - low > 0.8 * 4.0
    assert np.ptp(optimum.intervals["x"]) < 0.2
    assert not optimum.correlations[2, :2].any() and optimum.correlations[2, 2] == 1.0


def test_on_a_log_scale_the_interval_is_in_the_parameters_unit() -> None:
    space = Space((Dimension("rate", low=1e-4, high=1.0, log=True), Dimension("y")))
    random = np.random.default_rng(0)
    seen = history(space, 25, lambda v: -(math.log10(v["rate"] / 3e-3) ** 2) - v["y"] ** 2 + random.normal(0, 0.05))
    optimum = find_optimum(seen, space, 1, 1, seed=0)
    low, high = optimum.intervals["rate"]
    assert optimum.values["rate"] == pytest.approx(3e-3, rel=0.2)
    # Symmetric in the logarithm.
    rate = float(optimum.values["rate"])
    assert low < rate < high
    assert math.log(rate / low) == pytest.approx(math.log(high / rate), rel=0.3)
    assert optimum.samples[:, 0].min() >= 1e-4 and optimum.samples[:, 0].max() <= 1.0


def test_an_int_and_a_choice() -> None:
    space = Space(
        (
            Dimension("n", type="int", low=1, high=9),
            Dimension("m", type="categorical", choices=("a", "b", "c")),
            Dimension("x"),
        )
    )

    def value(v: dict[str, Any]) -> float:
        gain = {"a": 0.0, "b": 0.5, "c": 0.3}[v["m"]]
        return float(gain - ((v["n"] - 6) / 8) ** 2 - (v["x"] - 0.5) ** 2)

    optimum = find_optimum(history(space, 40, value), space, 1, 1, seed=0)
    assert (optimum.values["n"], optimum.values["m"]) == (6, "b")
    assert optimum.names == ("n", "x")
    low, high = optimum.intervals["n"]
    assert 1 <= low <= 6.5 and 5.5 <= high <= 9 and low <= high
    assert abs(float(np.median(optimum.samples[:, 0])) - 6) < 0.5
    assert sum(optimum.choices["m"].values()) == pytest.approx(1.0)
    assert optimum.choices["m"]["b"] > 0.95 > optimum.choices["m"]["c"]
    assert set(optimum.sensitivities) == {"n", "m", "x"}


@pytest.mark.parametrize(("best", "coordinate"), [(1, 0.5 / 9), (9, 8.5 / 9)])
def test_an_int_at_its_bound(best: int, coordinate: float) -> None:
    space = Space((Dimension("n", type="int", low=1, high=9), Dimension("x")))
    seen = history(space, 30, lambda v: -abs(v["n"] - best) / 8 - (v["x"] - 0.5) ** 2)
    optimum = find_optimum(seen, space, 1, 1, seed=0)
    assert (optimum.values["n"], kinds(optimum)) == (best, {"n": "at_bound"})
    assert optimum.intervals["n"] == pytest.approx((best, best))
    assert space.dimensions[0].to_unit(best) == [pytest.approx(coordinate)]


def test_two_choices_that_are_alike_are_alike() -> None:
    space = Space((Dimension("x"), Dimension("m", type="categorical", choices=("a", "b", "worse"))))
    seen = history(space, 24, lambda v: -((v["x"] - 0.4) ** 2) - (v["m"] == "worse"))
    chance = find_optimum(seen, space, 1, 1, seed=0).choices["m"]
    assert chance["worse"] < 0.01 and min(chance["a"], chance["b"]) > 0.1


CONDITIONAL = Space(
    (
        Dimension("solver", type="categorical", choices=("plain", "steps")),
        Dimension("step", low=0.1, high=10.0, log=True, when=(("solver", ("steps",)),)),
        Dimension("x"),
    )
)


@pytest.mark.parametrize("better", ["plain", "steps"])
def test_what_is_not_in_use_has_no_interval(better: str) -> None:
    def value(v: dict[str, Any]) -> float:
        worse = 0.3 * (v["solver"] != better)
        return float(-worse - (v["x"] - 0.6) ** 2 - math.log10(v.get("step", 1.0) / 2.0) ** 2 / 4)

    optimum = find_optimum(history(CONDITIONAL, 40, value), CONDITIONAL, 1, 1, seed=0)
    assert optimum.values["solver"] == better
    assert optimum.choices["solver"][better] > 0.9
    if better == "plain":
        assert optimum.names == ("x",) and set(optimum.intervals) == {"x"} and "step" not in optimum.values
    else:
        assert optimum.names == ("step", "x") and optimum.values["step"] == pytest.approx(2.0, rel=0.15)
    assert set(optimum.sensitivities) == {"solver", "step", "x"}


def test_choices_are_compared_where_trials_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another solver its own parameters are in use, and the first solver's are not."""
    asked: list[Floats] = []
    posterior = GradientGP.posterior

    def spy(self: GradientGP, X: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        if X.ndim == 2 and len(X) == 2:
            asked.append(X.numpy())
        return posterior(self, X, *arguments, **named)

    monkeypatch.setattr(GradientGP, "posterior", spy)
    find_optimum(history(CONDITIONAL, 20, lambda v: v.get("step", 0.0) / 10 - v["x"]), CONDITIONAL, 1, 1, seed=0)
    (points,) = asked
    np.testing.assert_allclose(Coordinates(CONDITIONAL).snap(points), points, atol=1e-12)


def test_choices_alone() -> None:
    space = Space(tuple(Dimension(name, type="categorical", choices=("a", "b", "c")) for name in ("one", "two")))
    seen = history(space, 9, lambda v: (v["one"] == "b") + 0.5 * (v["two"] == "c"))
    optimum = find_optimum(seen, space, 1, 1, seed=0)
    assert optimum.values == {"one": "b", "two": "c"}
    assert optimum.names == () and optimum.intervals == {} and optimum.verdicts == {}
    assert optimum.samples.shape == (module.KEPT, 0) and optimum.correlations.shape == (0, 0)


def test_a_single_parameter() -> None:
    space = Space((Dimension("x", low=2.0, high=4.0),))
    optimum = find_optimum(history(space, 8, lambda v: -((v["x"] - 3.2) ** 2)), space, 1, 1, seed=0)
    assert optimum.values["x"] == pytest.approx(3.2, abs=0.02)
    assert optimum.sensitivities == {"x": (1.0, 1.0)}
    np.testing.assert_array_equal(optimum.correlations, [[1.0]])


def test_a_metric_that_is_the_same_everywhere() -> None:
    optimum = find_optimum(history(PLANE, 8, lambda v: 0.5), PLANE, 1, 1, seed=0, check=lambda v: (0.5, {}))
    assert optimum.metric == pytest.approx(0.5)
    assert kinds(optimum) == {"x": "flat", "y": "flat"}
    for value in [*optimum.intervals.values(), *optimum.sensitivities.values()]:
        assert np.isfinite(value).all()


def test_sobol_indices_of_an_additive_function() -> None:
    """Variances add: a_i^2 / 12 for a_i x_i, so main and total effects are equal and known."""
    weights = np.array([3.0, 2.0, 1.0, 0.0])
    space = Space(tuple(Dimension(f"x{i}") for i in range(4)))
    X = sobol(40, 4, seed=1)
    seen = History(X, X @ weights, np.zeros((0, 4)), 40, np.tile(weights, (40, 1)))
    optimum = find_optimum(seen, space, 1, 1, seed=0)
    expected = weights**2 / (weights**2).sum()
    main, total = np.array(list(optimum.sensitivities.values())).T
    np.testing.assert_allclose(main, expected, atol=0.07)
    np.testing.assert_allclose(total, expected, atol=0.07)


def test_sobol_indices_of_the_ishigami_function() -> None:
    """T. Ishigami, T. Homma, ISUMA '90: sin x + 7 sin^2 y + 0.1 z^4 sin x over [-pi, pi]^3; z acts only with x."""
    space = Space(tuple(Dimension(name, low=-math.pi, high=math.pi) for name in "xyz"))
    U = sobol(80, 3, seed=1)
    x, y, z = (2 * math.pi * U.T) - math.pi
    value = np.sin(x) + 7 * np.sin(y) ** 2 + 0.1 * z**4 * np.sin(x)
    slopes = np.stack([(1 + 0.1 * z**4) * np.cos(x), 7 * np.sin(2 * y), 0.4 * z**3 * np.sin(x)], axis=1)
    seen = History(U, value, np.zeros((0, 3)), 80, 2 * math.pi * slopes)
    optimum = find_optimum(seen, space, 1, 1, seed=0)
    main, total = np.array(list(optimum.sensitivities.values())).T
    np.testing.assert_allclose(main, [0.314, 0.442, 0.0], atol=0.12)
    np.testing.assert_allclose(total, [0.558, 0.442, 0.244], atol=0.12)


@pytest.mark.parametrize("own_levels", [1, 2])
def test_cheap_and_earlier_values_make_it_surer(own_levels: int) -> None:
    """Level 1 is shifted and scaled; as a cheap evaluation or as an earlier study it tells the same."""
    random = np.random.default_rng(2)
    X, Z = sobol(5, 2, seed=1), sobol(40, 2, seed=2)

    def value(points: Floats) -> Floats:
        result: Floats = -np.einsum("ij,jk,ik->i", points - TOP, CURVATURE, points - TOP)
        return result

    y = np.concatenate([value(X), 5 + 0.8 * value(Z)]) + random.normal(0, 0.01, 45)
    level = np.array([0] * 5 + [1] * 40)
    both = History(np.concatenate([X, Z]), y, np.zeros((0, 2)), 45, level=level)
    with_level = find_optimum(both, PLANE, 2, own_levels, seed=0)
    alone = find_optimum(both.of_levels(1), PLANE, 1, 1, seed=0)
    for name in ("x", "y"):
        assert np.ptp(with_level.intervals[name]) < 0.7 * np.ptp(alone.intervals[name])
    assert with_level.values["x"] == pytest.approx(TOP[0], abs=0.05)
    assert abs(with_level.metric) < 0.1  # of the full function


@pytest.mark.parametrize(("gradient", "levels"), [("slopes", 1), ("slopes", 2), ("none", 1), ("none", 2)])
def test_the_model_is_fitted_once(gradient: str, levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each profile of the kernel: the same trials are not fitted a second time."""
    fits: list[int] = []
    fit = gradient_model._fit

    def counted(observations: Observations, *rest: Any) -> Any:
        fits.append(len(observations.y))
        return fit(observations, *rest)

    monkeypatch.setattr(gradient_model, "_fit", counted)
    seen = noisy_quadratic(14, 0)
    find_optimum(seen if gradient == "slopes" else replace(seen, gradient=None), PLANE, levels, 1, seed=0)
    assert len(fits) == len(gradient_model.PROFILES)
