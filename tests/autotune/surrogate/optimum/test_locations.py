"""Where the optimum may be: with and without the noise of the measurement, at edges, and along what does not matter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear, minimize
from scipy.special import ndtr
from scipy.stats import t

from autotune.problem.space import Dimension, Floats, Space
from autotune.surrogate.model.coordinates import Coordinates
from autotune.surrogate.model.gradient_model import GradientGP, fit_gradient_gp
from autotune.surrogate.model.observations import Trials
from autotune.surrogate.numerics import quiet_and_seeded
from autotune.surrogate.optimum import locations
from autotune.surrogate.optimum.locations import SAMPLES, Locations, _largest, find_locations
from autotune.surrogate.optimum.score_noise import PRIOR, ScoreNoise
from autotune.surrogate.propose.first_points import sobol

H = np.array([[4.0, 1.2], [1.2, 2.0]])
INVERSE = np.linalg.inv(H)
TOP = np.array([0.45, 0.6])
J = 4e-4 * np.array([[4.0, 0.2], [0.2, 6.0]])
BIAS = np.array([0.06, -0.05])


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with quiet_and_seeded(0):
        yield


def quadratic(top: Floats = TOP, curvature: Floats = H, slope_noise: float = 0.0, count: int = 12) -> GradientGP:
    """A model of -(x - top)' H (x - top) / 2 over the unit cube, from values and slopes."""
    p = len(top)
    X = np.vstack([sobol(count, p, seed=2), top])
    y = -0.5 * np.einsum("ij,jk,ik->i", X - top, curvature, X - top)
    slopes = -(X - top) @ curvature + np.random.default_rng(0).normal(size=X.shape) * slope_noise
    space = Space(tuple(Dimension(f"x{i}", differentiable=True) for i in range(p)))
    return fit_gradient_gp(Trials(X, y, slopes, np.zeros(len(X), np.int64)), Coordinates(space).groups)[0]


def repeated(count: int = 6, mean: Floats = BIAS, covariance: Floats = J, seed: int = 5) -> Floats:
    random = np.random.default_rng(seed)
    where: Floats = mean + random.normal(size=(count, len(mean))) @ np.linalg.cholesky(covariance).T
    return where


@pytest.mark.parametrize("seed", range(5))
def test_a_quadratic_is_largest_in_the_cube(seed: int) -> None:
    """Against a bounded minimiser."""
    random = np.random.default_rng(seed)
    root = random.normal(size=(3, 3))
    H, start, slopes = root @ root.T + 0.3 * np.eye(3), np.array([0.0, 0.4, 1.0]), random.normal(size=(20, 3))
    for slope, point in zip(slopes, _largest(H, slopes, start), strict=True):

        def value(x: Floats, slope: Floats = slope) -> float:
            return float(0.5 * (x - start) @ H @ (x - start) - slope @ (x - start))

        best = minimize(value, np.full(3, 0.5), bounds=[(0.0, 1.0)] * 3, tol=1e-12)
        assert point.min() >= 0.0 and point.max() <= 1.0
        assert value(point) <= best.fun + 1e-6


def test_where_faces_come_and_go_it_is_solved_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A badly scaled curvature: some samples come to no end otherwise."""
    calls = []

    def counted(*args: Any, **options: Any) -> Any:
        calls.append(options)
        return lsq_linear(*args, **options)

    monkeypatch.setattr(locations, "lsq_linear", counted)
    random = np.random.default_rng(4)
    axes, _ = np.linalg.qr(random.normal(size=(6, 6)))
    H = axes @ np.diag(np.logspace(-3, 1, 6)) @ axes.T
    start, slopes = np.array([0.0, 0.5, 0.5, 0.5, 0.5, 1.0]), random.normal(size=(400, 6))
    points = _largest(H, slopes, start)
    rises = slopes - (points - start) @ H
    assert len(calls) > 2 and points.min() >= 0.0 and points.max() <= 1.0
    assert np.abs(np.where((points > 1e-9) & (points < 1 - 1e-9), rises, 0.0)).max() < 1e-6
    assert rises[points <= 1e-9].max() < 1e-6 and rises[points >= 1 - 1e-9].min() > -1e-6


def test_what_a_maximum_at_the_edge_owes_to_the_mean_score_is_taken_off() -> None:
    """Noise adds -1.2 to the slope along the first coordinate, which puts the maximum to the edge at 0: without it the
    maximum is at 0.3 - 0.1, and the other coordinate goes with it.
    """
    H = np.array([[4.0, 1.0], [1.0, 2.0]])
    top = np.array([-0.1, 0.5])
    scores = repeated(mean=np.zeros(2), covariance=1e-4 * np.eye(2))
    scores += np.array([-1.2, 0.0]) - scores.mean(axis=0)
    held = np.array([0.0, 0.5 + (top[0] - 0.0) * H[0, 1] / H[1, 1]])  # where it is largest at the edge
    where = located(quadratic(top=top, curvature=H), scores, held, (True, False))
    free = top + np.linalg.solve(H, [1.2, 0.0])
    assert where.centre == pytest.approx(free, abs=0.02)
    assert where.samples.mean(axis=0) == pytest.approx(free, abs=0.02) and where.samples.std(axis=0).max() < 0.02
    assert where.edges == (False, False) and where.moving == (0, 1)


def located(
    model: GradientGP,
    scores: Floats | None = None,
    top: Floats = TOP,
    edges: tuple[bool, ...] | None = None,
    free: tuple[int, ...] | None = None,
) -> Locations:
    free = tuple(range(len(top))) if free is None else free
    return find_locations(model, top, free, edges or (False,) * len(free), range(len(top)), scores, seed=0)


def test_without_scores_there_is_the_search_alone() -> None:
    model = quadratic(slope_noise=0.05)
    where = located(model)
    assert where.noise is None and where.samples.shape == (SAMPLES, 2)
    assert (where.moving, where.edges, where.flat) == ((0, 1), (False, False), (False, False))
    np.testing.assert_array_equal(where.centre, TOP)
    _, C = model.slopes(torch.as_tensor(TOP))
    expected = INVERSE @ C.numpy() @ INVERSE
    np.testing.assert_allclose(np.cov(where.samples.T), expected, rtol=0.3, atol=0.1 * expected.max())
    np.testing.assert_allclose(where.samples.mean(axis=0), TOP, atol=0.2 * np.sqrt(expected.max()))


def test_with_scores_the_centre_leaves_the_bias_and_the_samples_scatter_as_noise_says() -> None:
    scores = repeated()
    where, noise = located(quadratic(), scores), ScoreNoise.of(scores, H)
    assert where.noise is not None
    np.testing.assert_allclose(where.noise.covariance, noise.covariance, rtol=0.05)
    np.testing.assert_allclose(where.centre, TOP - INVERSE @ scores.mean(axis=0), atol=1e-3)
    expected = INVERSE @ noise.covariance @ INVERSE * (1 + 1 / 6)
    deviation = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(np.median(where.samples, axis=0), where.centre, atol=0.15 * deviation.max())
    widths = np.ptp(np.percentile(where.samples, [5, 95], axis=0), axis=0)
    np.testing.assert_allclose(widths, 2 * t.ppf(0.95, PRIOR + 5) * deviation, rtol=0.15)


def test_what_the_search_left_open_and_noise_add_up() -> None:
    model = quadratic(slope_noise=0.1, count=6)
    _, C = model.slopes(torch.as_tensor(TOP))
    like_it = np.linalg.cholesky(C.numpy()) @ np.array([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]]) * np.sqrt(1.5)
    search, both = located(model), located(model, like_it.T)
    assert both.noise is not None
    of_noise = INVERSE @ both.noise.covariance @ INVERSE * (1 + 1 / 4) * both.noise.freedom / (both.noise.freedom - 2)
    expected = search.samples.var(axis=0) + np.diag(of_noise)
    assert (0.4 * expected < np.diag(of_noise)).all() and (np.diag(of_noise) < 0.75 * expected).all()  # both matter
    np.testing.assert_allclose(both.samples.var(axis=0), expected, rtol=0.25)


def test_equal_seeds_give_equal_samples() -> None:
    model = quadratic()
    one, two = (located(model, repeated()) for _ in range(2))
    np.testing.assert_array_equal(one.samples, two.samples)


def test_a_coordinate_without_known_scores_scatters_but_has_no_bias() -> None:
    """Its noise is taken to be like its curvature; with a diagonal one it takes nothing from the other's bias."""
    curvature = np.diag([4.0, 2.0])
    scores = repeated()
    scores[:, 1] = np.nan
    where = located(quadratic(curvature=curvature), scores)
    assert where.centre[1] == pytest.approx(TOP[1], abs=1e-4)
    assert where.centre[0] == pytest.approx(TOP[0] - scores[:, 0].mean() / 4, abs=1e-3)
    size = scores[:, 0].var(ddof=1) / 4
    expected = np.sqrt(size / 2 * (1 + 1 / 6)) * t.ppf(0.95, PRIOR + 5)
    assert np.ptp(np.percentile(where.samples[:, 1], [5, 95])) == pytest.approx(2 * expected, rel=0.15)


def test_scores_that_are_not_known_at_all_say_nothing() -> None:
    model = quadratic(slope_noise=0.05)
    where, without = located(model, np.full((6, 2), np.nan)), located(model)
    assert where.noise is None
    np.testing.assert_array_equal(where.samples, without.samples)


OUTSIDE = np.array([1.3, 0.6])
AT_EDGE = np.array([1.0, 0.6])


def test_what_is_surely_at_the_edge_stays_there_and_the_other_coordinate_is_as_if_it_were_held() -> None:
    """No bias moves it, and its own scores do not count."""
    scores = repeated()
    model = quadratic(top=OUTSIDE, curvature=np.diag([4.0, 2.0]))
    where = located(model, scores, AT_EDGE, (True, False))
    assert (where.edges, where.flat, where.moving) == ((True, False), (False, False), (1,))
    assert (where.samples[:, 0] == 1.0).all() and where.centre[0] == 1.0
    assert where.centre[1] == pytest.approx(0.6 - scores[:, 1].mean() / 2, abs=2e-3)
    assert where.noise is not None
    assert where.noise.covariance == pytest.approx(scores[:, 1].var(ddof=1), rel=0.05)


def test_what_noise_may_have_brought_to_the_edge_is_not_held_there() -> None:
    """Its slope outwards is 0.08, of a noise of 0.2: its samples go back into the range."""
    top = np.array([1.02, 0.6])
    scores = repeated(mean=np.zeros(2), covariance=np.diag([0.04, 1e-4]))
    scores -= scores.mean(axis=0)
    where = located(quadratic(top=top, curvature=np.diag([4.0, 2.0])), scores, AT_EDGE, (True, False))
    assert where.edges[0] and where.moving == (0, 1)
    inside = where.samples[:, 0] < 1.0
    assert where.samples.max() == 1.0 and inside.mean() == pytest.approx(float(ndtr(-0.4)), abs=0.1)
    # Its 90 % interval reaches the edge.
    surely = located(quadratic(top=top, curvature=np.diag([4.0, 2.0])), scores / 100, AT_EDGE, (True, False))
    assert surely.moving == (1,) and (surely.samples[:, 0] == 1.0).all()


@pytest.mark.parametrize("scores", [None, repeated()])
def test_what_does_not_matter_may_be_anywhere(scores: Floats | None) -> None:
    """Also where it comes to lie at the edge: that is no bound."""
    model = quadratic(curvature=np.diag([4.0, 0.0]))
    for at, near in ((0.5, False), (1.0, True)):
        where = located(model, scores, np.array([TOP[0], at]), (False, near))
        assert (where.flat, where.edges, where.moving) == ((False, True), (False, False), (0,))
        quantiles = np.quantile(where.samples[:, 1], [0.05, 0.25, 0.5, 0.75, 0.95])
        np.testing.assert_allclose(quantiles, [0.05, 0.25, 0.5, 0.75, 0.95], atol=0.06)
        assert np.std(where.samples[:, 0]) < 0.05


def test_what_depends_by_less_than_noise_tilts_it_is_flat() -> None:
    """At most 0.01 lower along it, while noise of its slope alone makes 0.1."""
    model = quadratic(curvature=np.diag([4.0, 0.05]))
    assert located(model).flat == (False, False)
    tilted = repeated(mean=np.zeros(2), covariance=np.diag([1e-4, 0.04]))
    assert located(model, tilted).flat == (False, True)
    assert located(model, tilted / 100).flat == (False, False)


def test_samples_stay_in_the_range() -> None:
    where = located(quadratic(), repeated(covariance=J * 400))
    assert where.samples.min() == 0.0 and where.samples.max() == 1.0
    assert (where.centre >= 0).all() and (where.centre <= 1).all()


def test_nothing_free() -> None:
    where = located(quadratic(), free=())
    assert where == Locations(where.samples, where.centre, (), (), ())
    assert where.samples.shape == (SAMPLES, 0) and where.centre.shape == (0,)


def test_some_coordinates_free() -> None:
    """The others are held: the curvature is that along the free one."""
    scores = repeated()[:, 1:]
    where = located(quadratic(), scores, free=(1,))
    assert where.samples.shape == (SAMPLES, 1)
    assert where.centre[0] == pytest.approx(TOP[1] - scores.mean() / H[1, 1], abs=1e-3)
