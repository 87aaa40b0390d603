"""Intervals of the optimum's parameters: how they are computed from samples of its location, and what they cover.

An interval is central: as many samples lie below it as above. It is in the parameter's own unit, and it covers the
uncertainty that the search has left and, where they are known, the noise of the measurement and errors of the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtri

from autotune.problem.space import Dimension, Floats
from autotune.surrogate.optimum.locations import Locations

LEVEL = 0.9
"""Probability that an interval holds."""
TAILS = (50 * (1 - LEVEL), 50 * (1 + LEVEL))
"""Percentiles at the ends of an interval."""
NORMAL_HALF_WIDTH = float(ndtri(0.5 + LEVEL / 2))
"""Standard deviations from the middle to the ends of the interval of a normal variate."""


def find_intervals(
    dimensions: Sequence[Dimension], where: Locations, in_quadrature: Mapping[str, float], seed: int
) -> tuple[Floats, dict[str, tuple[float, float]]]:
    """Samples of the location in the parameters' own units, and the central interval of each parameter.

    Args:
        dimensions: the k parameters that are float or int.
        where: samples (s, k) of the optimum's location.
        in_quadrature: name -> size, in the parameter's unit, of an unknown that adds to its value in quadrature. It is
            an error of the model, and left out where these are not known.
        seed: seed of the samples of that.

    Returns:
        The samples, (s, k), and name -> interval: the whole range of a parameter that the value does not depend on.
    """
    columns = [in_own_unit(d, where.samples[:, i]) for i, d in enumerate(dimensions)]
    own_units = np.array(columns).reshape(len(dimensions), len(where.samples)).T.copy()
    random = np.random.default_rng([seed, 1])
    for i, dimension in enumerate(dimensions):
        if dimension.name in in_quadrature and not where.flat[i] and where.without_model is not None:
            unknown = in_quadrature[dimension.name] ** 2 * random.normal(size=len(own_units))
            values = np.sqrt(np.maximum(np.square(own_units[:, i]) + unknown, 0.0))
            own_units[:, i] = np.clip(values, float(dimension.low), float(dimension.high))
    intervals = {d.name: _interval(d, own_units[:, i], where.flat[i]) for i, d in enumerate(dimensions)}
    return own_units, intervals


def find_parts(
    dimensions: Sequence[Dimension], where: Locations, intervals: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """Half-widths of the intervals by noise and search alone and by errors of the model, which add in quadrature.

    Args:
        dimensions: the k parameters that are float or int.
        where: samples of the optimum's location.
        intervals: name -> central interval.

    Returns:
        Name -> both, in the parameter's unit; empty where errors of the model are not known. A parameter that the value
        does not depend on is left out.
    """
    if where.without_model is None:
        return {}
    parts = {}
    for i, dimension in enumerate(dimensions):
        if i not in where.moving:
            continue
        low, high = np.percentile(in_own_unit(dimension, where.without_model[:, i]), TAILS)
        rest, whole = float(high - low) / 2, (intervals[dimension.name][1] - intervals[dimension.name][0]) / 2
        parts[dimension.name] = (min(rest, whole), math.sqrt(max(whole**2 - rest**2, 0.0)))
    return parts


def _interval(dimension: Dimension, samples: Floats, flat: bool) -> tuple[float, float]:
    """The central interval of samples in the parameter's unit; the whole range where the optimum may be anywhere."""
    if flat:
        return float(dimension.low), float(dimension.high)
    low, high = np.percentile(samples, TAILS)
    return float(low), float(high)


def widths(samples: Floats) -> Floats:
    """Widths (k,) of the central intervals of samples (s, k), in the samples' unit."""
    low, high = np.percentile(samples, TAILS, axis=0)
    width: Floats = high - low
    return width


def in_own_unit(dimension: Dimension, u: Floats) -> Floats:
    """Unit-cube coordinates in the parameter's unit; not rounded for ints, whose interval lies between them."""
    clipped: Floats = np.clip(dimension.between(np.clip(u, 0.0, 1.0)), float(dimension.low), float(dimension.high))
    return clipped


def covering_noise(names: Sequence[str], where: Locations, scores: Floats | None) -> frozenset[str]:
    """Names of the parameters whose interval covers the noise of the measurement, not only what the search left open.

    Args:
        names: the k parameters.
        where: the optimum's location.
        scores: (b, k) derivatives on repeated measurements, NaN where not known; None without any.
    """
    if scores is None or where.noise is None:
        return frozenset()
    measured: list[bool] = np.atleast_1d(np.isfinite(scores).all(axis=0)).tolist()
    anywhere = [name for name, flat in zip(names, where.flat, strict=True) if flat]  # the whole range covers all
    return frozenset([*anywhere, *(names[i] for i in where.moving if measured[i])])
