"""Where the optimum may be: samples of its location, around the maximum of the surrogate's mean.

Near its maximum x0 the posterior of the value is a Gaussian process with mean curvature -H and an uncertain slope of
covariance C, which is the uncertainty that the search has left. On top of that the measurement is noisy, which moves
the slope by a score (:mod:`autotune.surrogate.optimum.score_noise`), and the model is not exact, which moves it by the
deviations of :mod:`autotune.surrogate.optimum.model_errors`. In each case the maximum is at x0 + H^-1 slope (the
delta method), or where the quadratic is largest within the ranges: at the edge of a range the mean may rise outwards,
and noise alone may be what makes it rise.

Along a coordinate that the value does not surely depend on, curvature and slope are artefacts of the fit, and their
quotient is meaningless. Its optimum may be anywhere, and it is left out of H. A coordinate that no data determine may
be anywhere, too, and draws the others along a ridge: by H^-1 c d for a step d of it, where c is the mixed second
derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import solve_triangular
from scipy.optimize import lsq_linear
from scipy.special import ndtr, stdtrit
from torch import Tensor

from autotune.problem.space import Floats
from autotune.surrogate.model.gradient_model import GradientGP
from autotune.surrogate.optimum.model_errors import Deviations
from autotune.surrogate.optimum.score_noise import ScoreNoise

STEP = 1e-3
"""Step, in unit-cube coordinates, of the finite differences of the slope that give the curvature."""
SURE = 1.0
"""Standard deviations of a slope above which its sign is believed."""
SAMPLES = 2**13
"""Number of samples of the location: the ends of 90 % intervals are known to 1 % of their width (of 512, to 5 %)."""
DEPENDS = 3.0
"""Standard deviations of a difference of values above which it is believed."""
_LINE = 65
"""Points along a line on which values are compared."""
_ROUNDS = 10
"""Changes of the faces at which coordinates are held; nearly all samples need three at most."""
_STEPS_OF_ONE = 1000
_TAIL = 0.05
"""Share of the location at an edge from which a 90 % interval reaches it."""
_FLATTEST = 1e-9
"""Least curvature, as a fraction of the largest: where the mean does not curve down, nothing confines the maximum."""


@dataclass(frozen=True)
class Locations:
    """Samples of the optimum's location.

    Attributes:
        samples: (s, k) unit-cube coordinates.
        centre: (k,) most probable location: the maximum of the mean, less the bias of noise where that is known, over
            all evaluations of it that are as valid.
        edges: (k,) whether the maximum of the mean is at an end of the range, and the location may be there, too, once
            the bias of noise is taken off.
        flat: (k,) whether the value does not surely depend on it.
        moving: indices of the coordinates sampled by the delta method; the others are flat, or surely at the edge.
        noise: noise of the measurement along the ``moving`` coordinates; None where it is not known.
        without_model: the samples without errors of the model; empty where these are not known.
    """

    samples: Floats
    centre: Floats
    edges: tuple[bool, ...]
    flat: tuple[bool, ...]
    moving: tuple[int, ...]
    noise: ScoreNoise | None = None
    without_model: Floats | None = None


def find_locations(
    model: GradientGP,
    top: Floats,
    free: Sequence[int],
    near_edge: Sequence[bool],
    smooth: Sequence[int],
    scores: Floats | None,
    seed: int,
    unknowable: Sequence[bool] = (),
    errors: Deviations | None = None,
) -> Locations:
    """Sample the location of the maximum along the ``free`` columns.

    A coordinate stays at its edge where the value surely rises outwards: by :data:`SURE` standard deviations of its
    slope, less what noise adds to that on average.

    Args:
        model: the model of the value.
        top: (D,) the maximum of its mean.
        free: k columns of the unit cube.
        near_edge: (k,) whether the maximum is at an end of the range.
        smooth: the columns along which the model has slopes.
        scores: (b, k) derivatives of the value at ``top`` on repeated measurements, NaN where not known; or None.
        seed: seed of the samples.
        unknowable: (k,) whether no data determine the coordinate, whatever its curvature; empty for none.
        errors: errors of the model along the ``free`` columns; None where they are not known.
    """
    if not free:
        return Locations(np.zeros((SAMPLES, 0)), np.zeros(0), (), (), ())
    inside = [smooth.index(column) for column in free]
    point = torch.as_tensor(top)
    with torch.no_grad():
        slope, covariance = model.slopes(point)
        curvature = _curvature(model, point, free, inside)
    rises = slope.numpy()[inside] - _bias_of(scores, len(free)) + _mean_of(errors, len(free))
    outward = np.where(top[list(free)] > 0.5, rises, -rises)
    tilts, certainty = deviations_of(scores, len(free)), _certainty(scores)
    # Errors of the model move a maximum, even over its edge; that the value depends on a coordinate they do not undo.
    pulled = 0.0 if errors is None else np.square(_pulls(errors, range(len(free)), -curvature)).sum(axis=0)
    by_noise = tilts**2 * (1.0 if scores is None else 1 + 1 / len(scores))
    unsure = SURE * np.sqrt(np.maximum(covariance.numpy()[inside, inside], 0.0) + by_noise + pulled)
    believed = tilts * np.where(near_edge, certainty, SURE)
    lost = tuple(unknowable) or (False,) * len(free)
    flat = tuple(
        gone or not _depends(model, point, c, tilt) for c, tilt, gone in zip(free, believed, lost, strict=True)
    )
    edges = tuple(near and not none for near, none in zip(near_edge, flat, strict=True))
    samples, centre = np.tile(top[list(free)], (SAMPLES, 1)), top[list(free)].copy()
    random = np.random.default_rng(seed)
    samples[:, flat] = random.uniform(size=(SAMPLES, sum(flat)))
    stays = [edge and out > least for edge, out, least in zip(edges, outward, unsure, strict=True)]
    moving = [i for i in range(len(free)) if not flat[i] and not stays[i]]
    if not moving:
        return Locations(samples, centre, edges, flat, ())
    # The surrogate's curvature is also that of values farther away; differences of derivatives at the maximum are not.
    measured = None if errors is None else errors.curvature_along(moving)
    H = _positive(-(curvature[np.ix_(moving, moving)] if measured is None else measured))
    rows = [inside[i] for i in moving]
    slopes = random.normal(size=(SAMPLES, len(moving))) @ _root(covariance.numpy()[np.ix_(rows, rows)]).T
    at_edge = np.where(np.array(edges)[moving], slope.numpy()[rows], 0.0)  # inside its range a maximum has no slope
    slopes, expected = slopes + at_edge, at_edge
    noise = None
    if scores is not None and np.isfinite(scores[:, moving]).any():
        noise = ScoreNoise.of(scores[:, moving], H, None if errors is None else errors.noise_along(moving))
        slopes = slopes + noise.draw(SAMPLES, random)
        expected = at_edge - noise.mean
        if errors is not None and errors.again is not None:
            changes = _again(errors.again)[:, moving]
            rough = ScoreNoise.of(changes, H)
            slopes = slopes + rough.mean + rough.scatter(SAMPLES, random, share=1 / len(changes))
            expected = expected + rough.mean
    adrift = [i for i in range(len(free)) if lost[i]]
    slopes = slopes + (samples[:, adrift] - top[list(free)][adrift]) @ curvature[np.ix_(adrift, moving)]
    start = top[list(free)][moving]
    centre[moving] = _largest(H, expected[None], start)[0]
    without = None
    if errors is not None:
        without = samples.copy()
        without[:, moving] = _largest(H, slopes, start)
        deviations = _pulls(errors, moving, H)
        slopes = slopes + random.normal(size=(SAMPLES, len(deviations))) @ deviations
    samples[:, moving] = _largest(H, slopes, start)
    ends = np.where(top[list(free)] > 0.5, samples == 1.0, samples == 0.0).mean(axis=0)
    reached = tuple(edge and (kept or share > _TAIL) for edge, kept, share in zip(edges, stays, ends, strict=True))
    return Locations(samples, centre, reached, flat, tuple(moving), noise, without)


def _largest(H: Floats, slopes: Floats, start: Floats) -> Floats:
    """Where quadratics of curvature -H (p, p) and slopes (s, p) at ``start`` (p,) are largest in the unit cube, (s, p).

    Primal-dual active sets (Hintermueller, Ito and Kunisch, SIAM J. Optim. 13, 865 (2003)), for all at once: a
    coordinate is held at a face while the quadratic rises beyond it. The few that come to no end are solved one by one.
    """
    points = start + np.linalg.solve(H, slopes.T).T
    rises = np.zeros(points.shape)
    unit, open_rows = H.diagonal(), np.arange(len(points))
    for _ in range(_ROUNDS):
        beyond = points[open_rows] + rises[open_rows] / unit
        held = (beyond < 0.0) | (beyond > 1.0)
        at_face = held & (np.clip(beyond, 0.0, 1.0) == points[open_rows])
        settled = ((rises[open_rows] != 0) == at_face).all(axis=1) & (held == at_face).all(axis=1)
        open_rows, held, beyond = open_rows[~settled], held[~settled], beyond[~settled]
        for which in np.unique(held, axis=0):
            same = (held == which).all(axis=1)
            rows, free = open_rows[same], ~which
            moves = np.where(which, np.clip(beyond[same], 0.0, 1.0) - start, 0.0)
            pulled = slopes[rows][:, free] - moves @ H[:, free]
            moves[:, free] = np.linalg.solve(H[np.ix_(free, free)], pulled.T).T
            points[rows] = start + moves
            rises[rows] = np.where(which, slopes[rows] - moves @ H, 0.0)
    root = np.linalg.cholesky(H)
    for row in open_rows:
        aim = solve_triangular(root, slopes[row], lower=True)
        bounds = (-start, np.maximum(1.0 - start, 1e-12))
        points[row] = start + lsq_linear(root.T, aim, bounds, method="bvls", max_iter=_STEPS_OF_ONE).x
    return np.clip(points, 0.0, 1.0)


def _again(changes: Floats) -> Floats:
    """Changes (n + 1, k) of the slope in evaluations that are as valid, the one that the surrogate knows included."""
    return np.concatenate([np.zeros((1, changes.shape[1])), changes])


def _mean_of(errors: Deviations | None, k: int) -> Floats:
    """Slopes (k,) by which the mean of evaluations that are as valid differs from the one that the surrogate knows."""
    known = errors is not None and errors.again is not None
    return _again(errors.again).mean(axis=0) if known else np.zeros(k)  # type: ignore[union-attr, arg-type]


def _pulls(errors: Deviations, columns: Sequence[int], H: Floats) -> Floats:
    """All deviations (d, p) of the slope by errors of the model along p coordinates, for a curvature of -H (p, p)."""
    return np.concatenate([errors.along(columns), errors.confounded_along(columns, H)])


def _bias_of(scores: Floats | None, k: int) -> Floats:
    """Slopes (k,) that noise adds on average; 0 where that is not known."""
    return np.zeros(k) if scores is None else np.nan_to_num(scores.mean(axis=0))


def deviations_of(scores: Floats | None, k: int) -> Floats:
    """Standard deviations (k,) of scores; 0 where they are not known."""
    return np.zeros(k) if scores is None else np.nan_to_num(scores.std(axis=0, ddof=1))


def _certainty(scores: Floats | None) -> float:
    """How many sample standard deviations one further score exceeds as rarely as a normal variate exceeds
    :data:`DEPENDS`: Student's t prediction interval.
    """
    if scores is None:
        return DEPENDS
    b = len(scores)
    return float(stdtrit(b - 1, ndtr(DEPENDS)) * np.sqrt(1 + 1 / b))


def _depends(model: GradientGP, point: Tensor, column: int, tilt: float) -> bool:
    """Whether the value is surely lower than at the point (D,) anywhere along a column, all else held.

    A difference within the scatter of evaluations does not count, however sure of it rough derivatives make the model.

    Args:
        model: the model of the value.
        point: the maximum of its mean.
        column: the column of the unit cube.
        tilt: slope along it that the noise of the measurement may well cause.
    """
    line = point.repeat(_LINE, 1)
    line[:, column] = torch.linspace(0.0, 1.0, _LINE, dtype=point.dtype)
    with torch.no_grad():
        higher, variance = model.improvement(point)(line)
    away = (line[:, column] - point[column]).abs()
    unsure = DEPENDS * (variance + model.noise_deviation**2).sqrt() + tilt * away
    return bool((higher < -unsure).any())


def _curvature(model: GradientGP, point: Tensor, free: Sequence[int], rows: Sequence[int]) -> Floats:
    """Second derivatives (k, k) of the posterior mean along the ``free`` columns, by differences of its slope."""
    curvature = np.zeros((len(free), len(free)))
    for j, column in enumerate(free):
        step = torch.zeros_like(point)
        step[column] = STEP
        ahead, behind = (model.slopes(point + sign * step)[0] for sign in (1, -1))
        curvature[:, j] = ((ahead - behind) / (2 * STEP))[list(rows)].numpy()
    return curvature


def curvatures(model: GradientGP, top: Floats, columns: Sequence[int], smooth: Sequence[int]) -> Floats:
    """Second derivatives (k,) of the posterior mean at ``top`` (D,) along k of the ``smooth`` columns."""
    with torch.no_grad():
        found = _curvature(model, torch.as_tensor(top), columns, [smooth.index(column) for column in columns])
    return found.diagonal()


def _positive(matrix: Floats) -> Floats:
    """The nearest matrix (k, k) that is symmetric and positive definite."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    values = np.maximum(values, _FLATTEST * max(values.max(), 1e-12))
    nearest: Floats = vectors @ np.diag(values) @ vectors.T
    return nearest


def _root(covariance: Floats) -> Floats:
    """R (k, k) with R R^T = covariance."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    root: Floats = vectors * np.sqrt(np.maximum(values, 0.0))
    return root
