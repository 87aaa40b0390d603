"""Compiled loops (Numba) over pairs of points: the covariance of observations, and sums over its derivatives.

What :mod:`autotune.surrogate.model.covariance` states is written out here per pair of points: all rows at one point (a
trial's value and its derivatives) share the distance, the kernel's profile and the factor of choices and levels. Rows
are ordered by point and the arguments named as in :class:`autotune.surrogate.model.marginal_likelihood.Blocks`.

For one pair of points, with c the factor, d and l as in :mod:`autotune.surrogate.model.covariance`, and a symmetric G
added up to S (value with value), P_i (value with derivative) and Q_ij (derivative with derivative),

    sum G K = c (S f + 2 f' sum_i P_i d_i - 4 f'' sum_ij Q_ij d_i d_j - 2 f' sum_i Q_ii / l_i^2)

whose derivatives for log l_i follow from du / d log l_i = -2 d_i^2 l_i^2 and d d_i / d log l_i = -2 d_i.

The first use compiles for some seconds; see :mod:`autotune.surrogate.model.compiled` for where the result is kept.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from autotune.surrogate.model.compiled import compiled

JITTER = 1e-8
"""Share of the prior variance that is added to the diagonal."""


@compiled
def _profile(u: Any, is_rbf: Any) -> tuple[Any, Any, Any, Any]:
    """f, f', f'', f''' at u."""
    if is_rbf:
        f = math.exp(-0.5 * u)
        return f, -0.5 * f, 0.25 * f, -0.125 * f
    # f''' of Matern-5/2 has no value at 0; the factor that multiplies it goes to 0 as u squared.
    a = math.sqrt(5 * u + 1e-24)
    decay = math.exp(-a)
    f2 = 25 / 12 * decay
    return (1 + a + a * a / 3) * decay, -5 / 6 * (1 + a) * decay, f2, -2.5 * f2 / a


@compiled
def _between(x: Any, z: Any, lengths: Any, along: Any) -> Any:
    """u of two points; ``along`` becomes (x_i - z_i) / l_i^2."""
    u = 0.0
    for i in range(len(x)):
        scaled = (x[i] - z[i]) / lengths[i]
        along[i] = scaled / lengths[i]
        u += scaled * scaled
    return u


@compiled
def _factor(one: Any, other: Any, weights: Any, scale_and_level: Any) -> Any:
    """The kernel's factor of choices, scale and level."""
    exponent = 0.0
    for c in range(len(weights)):
        if one[c] != other[c]:
            exponent -= 1 / weights[c]
    return scale_and_level * math.exp(exponent) if exponent < 0 else scale_and_level


@compiled
def fill(
    start: Any, smooth: Any, choice: Any, level: Any, coordinate: Any, lengths: Any, weights: Any,
    scale: Any, noise: Any, slope_noise: Any, levels: Any, is_rbf: Any, K: Any,
) -> None:  # fmt: skip
    """Set the lower triangle of K, (N, N), to the covariance of noisy observations; the rest is not touched."""
    along = np.empty(smooth.shape[1])
    for p in range(len(start) - 1):
        for q in range(p + 1):
            u = _between(smooth[p], smooth[q], lengths, along)
            f, f1, f2, _ = _profile(u, is_rbf)
            c = _factor(choice[p], choice[q], weights, scale * levels[level[p], level[q]])
            for a in range(start[p], start[p + 1]):
                i = coordinate[a]
                for b in range(start[q], min(start[q + 1], a + 1)):
                    j = coordinate[b]
                    if i < 0 and j < 0:
                        K[a, b] = c * f
                    elif j < 0:
                        K[a, b] = c * 2 * f1 * along[i]
                    elif i < 0:
                        K[a, b] = -c * 2 * f1 * along[j]
                    else:
                        K[a, b] = -c * 4 * f2 * along[i] * along[j]
                        if i == j:
                            K[a, b] -= c * 2 * f1 / (lengths[i] * lengths[i])
        for a in range(start[p], start[p + 1]):
            prior = K[a, a]
            K[a, a] += noise if coordinate[a] < 0 else slope_noise[level[p]] * prior
            K[a, a] += JITTER * prior


@compiled
def contract(
    start: Any, smooth: Any, choice: Any, level: Any, coordinate: Any, lengths: Any, weights: Any,
    scale: Any, noise: Any, slope_noise: Any, levels: Any, is_rbf: Any, inverse: Any, solved: Any,
    of_lengths: Any, of_weights: Any, of_scale_and_noise: Any, of_slopes: Any, of_a: Any, of_r: Any,
) -> None:  # fmt: skip
    """Add to the last six arrays the sums of G = (K^-1 - w w') / 2 times dK / d log of each hyperparameter.

    The caller divides the sums for log weights by the weights, and multiplies the sums for log r by r / (1 + r).

    Args:
        inverse: K^-1, (N, N), its lower triangle.
        solved: w, (N,).
        of_lengths: (d,); of_weights: (categorical dimensions,); of_scale_and_noise: (2,); the others: (levels,).
    """
    d = smooth.shape[1]
    along, P, Q, halves = np.empty(d), np.empty(d), np.empty((d, d)), np.empty(d)
    for p in range(len(start) - 1):
        for q in range(p):
            # The half of G and the two triangles cancel.
            S = _add_up(start, coordinate, inverse, solved, p, q, P, Q)
            u = _between(smooth[p], smooth[q], lengths, along)
            f, f1, f2, f3 = _profile(u, is_rbf)
            c = _factor(choice[p], choice[q], weights, scale * levels[level[p], level[q]])
            mixed, both, same = 0.0, 0.0, 0.0
            for i in range(d):
                mixed += P[i] * along[i]
                same += Q[i, i] / (lengths[i] * lengths[i])
                halves[i] = 0.0
                for j in range(d):
                    halves[i] += (Q[i, j] + Q[j, i]) * along[j]
                both += 0.5 * halves[i] * along[i]
            total = c * (S * f + 2 * f1 * (mixed - same) - 4 * f2 * both)
            by_u = c * (S * f1 + 2 * f2 * (mixed - same) - 4 * f3 * both)
            for i in range(d):
                square = lengths[i] * lengths[i]
                of_lengths[i] += -2 * by_u * along[i] * along[i] * square + c * (
                    -4 * f1 * P[i] * along[i] + 8 * f2 * halves[i] * along[i] + 4 * f1 * Q[i, i] / square
                )
            _share(total, choice[p], choice[q], level[p], level[q], of_weights, of_scale_and_noise, of_a, of_r)
        _contract_own(
            start, choice, level, coordinate, lengths, scale, noise, slope_noise, levels, is_rbf, inverse, solved, p,
            of_lengths, of_weights, of_scale_and_noise, of_slopes, of_a, of_r,
        )  # fmt: skip


@compiled
def _contract_own(
    start: Any, choice: Any, level: Any, coordinate: Any, lengths: Any, scale: Any, noise: Any,
    slope_noise: Any, levels: Any, is_rbf: Any, inverse: Any, solved: Any, p: Any,
    of_lengths: Any, of_weights: Any, of_scale_and_noise: Any, of_slopes: Any, of_a: Any, of_r: Any,
) -> None:  # fmt: skip
    """The pairs of one point with itself: values with values, derivatives along one coordinate, and the noises."""
    own = scale * levels[level[p], level[p]]
    _, f1, _, _ = _profile(0.0, is_rbf)
    for a in range(start[p], start[p + 1]):
        i = coordinate[a]
        prior = own if i < 0 else -2 * f1 * own / (lengths[i] * lengths[i])
        total = 0.0
        for b in range(start[p], a + 1):
            if coordinate[b] == i:
                g = inverse[a, b] - solved[a] * solved[b]
                total += g * prior if b < a else 0.5 * g * prior
        g = 0.5 * (inverse[a, a] - solved[a] * solved[a])
        if i < 0:
            of_scale_and_noise[1] += g * noise
            total += g * JITTER * prior
        else:
            of_slopes[level[p]] += g * slope_noise[level[p]] * prior
            total += g * (slope_noise[level[p]] + JITTER) * prior
            of_lengths[i] -= 2 * total
        _share(total, choice[p], choice[p], level[p], level[p], of_weights, of_scale_and_noise, of_a, of_r)


@compiled
def _add_up(start: Any, coordinate: Any, inverse: Any, solved: Any, p: Any, q: Any, P: Any, Q: Any) -> Any:
    """Twice G over the rows of two points: returns S, and sets P (d,) and Q (d, d); see the module's first lines."""
    S = 0.0
    P[:] = 0.0
    Q[:] = 0.0
    for a in range(start[p], start[p + 1]):
        i = coordinate[a]
        for b in range(start[q], start[q + 1]):
            j = coordinate[b]
            g = inverse[a, b] - solved[a] * solved[b]
            if i < 0 and j < 0:
                S += g
            elif j < 0:
                P[i] += g
            elif i < 0:
                P[j] -= g
            else:
                Q[i, j] += g
    return S


@compiled
def _share(
    total: Any, one: Any, other: Any, k: Any, m: Any, of_weights: Any, of_scale_and_noise: Any, of_a: Any, of_r: Any
) -> None:
    """Add a pair's contribution for the hyperparameters that only multiply it: scale, choices, levels."""
    of_scale_and_noise[0] += total
    for c in range(len(of_weights)):
        if one[c] != other[c]:
            of_weights[c] += total
    of_a[k] += total
    of_a[m] += total
    if k == m:
        of_r[k] += total


@compiled
def cross(
    questions: Any, chosen: Any, start: Any, order: Any, smooth: Any, choice: Any, level: Any, coordinate: Any,
    lengths: Any, weights: Any, scale: Any, levels: Any, is_rbf: Any, K: Any,
) -> None:  # fmt: skip
    """Set K, (M, N), to the covariance of the values at questions, (M, d), at level 0, with the observations."""
    along = np.empty(smooth.shape[1])
    for m in range(len(questions)):
        for p in range(len(start) - 1):
            u = _between(questions[m], smooth[p], lengths, along)
            f, f1, _, _ = _profile(u, is_rbf)
            c = _factor(chosen[m], choice[p], weights, scale * levels[0, level[p]])
            for a in range(start[p], start[p + 1]):
                i = coordinate[a]
                K[m, order[a]] = c * f if i < 0 else -2 * c * f1 * along[i]


@compiled
def cross_slope(
    questions: Any, chosen: Any, start: Any, order: Any, smooth: Any, choice: Any, level: Any, coordinate: Any,
    lengths: Any, weights: Any, scale: Any, levels: Any, is_rbf: Any, V: Any, slope: Any,
) -> None:  # fmt: skip
    """Set slope, (M, d), to the derivatives of sum_n V_mn K_mn for the questions, K as in :func:`cross`."""
    d = smooth.shape[1]
    along, P = np.empty(d), np.empty(d)
    for m in range(len(questions)):
        slope[m] = 0.0
        for p in range(len(start) - 1):
            u = _between(questions[m], smooth[p], lengths, along)
            _, f1, f2, _ = _profile(u, is_rbf)
            c = 2 * _factor(chosen[m], choice[p], weights, scale * levels[0, level[p]])
            S, mixed = 0.0, 0.0
            P[:] = 0.0
            for a in range(start[p], start[p + 1]):
                i = coordinate[a]
                if i < 0:
                    S += V[m, order[a]]
                else:
                    P[i] += V[m, order[a]]
                    mixed += V[m, order[a]] * along[i]
            for k in range(d):
                slope[m, k] += c * ((f1 * S - 2 * f2 * mixed) * along[k] - f1 * P[k] / (lengths[k] * lengths[k]))
