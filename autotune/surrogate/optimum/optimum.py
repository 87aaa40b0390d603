"""What the surrogate knows of the answer: where the optimum is, how sure that is, and which parameters matter.

Where the maximum may be, :mod:`autotune.surrogate.optimum.locations` samples: as far as the search has not found out,
and as far as the measurement is noisy where that is known. A coordinate whose maximum is at the edge of its range
stays there; one that the value hardly depends on comes out as wide as its range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.stats import sobol_indices, uniform

from autotune.objective import Value
from autotune.problem.space import Dimension, Floats, Space
from autotune.surrogate.model.coordinates import Coordinates
from autotune.surrogate.model.gradient_model import GradientGP, fit_gradient_gp
from autotune.surrogate.model.history import History, slope_to_unit
from autotune.surrogate.model.observations import Trials
from autotune.surrogate.model.value_model import FittedModel, fit_history
from autotune.surrogate.optimum.locations import SAMPLES, Locations, find_locations
from autotune.surrogate.optimum.verdicts import Verdict, find_verdicts
from autotune.surrogate.propose.acquisition import incumbent

EDGE = 2e-3
"""A maximum nearer than this to the edge of its range is at the edge."""
SENSITIVITY_SAMPLES = 256
LEVEL = 0.9

Again = Callable[[Mapping[str, Value]], Sequence[Mapping[str, float]]]
"""From parameter values to derivatives of the metric there, larger is better, on measurements repeated with other
noise: parameter name -> derivative per unit of the parameter, once for each repetition."""
Check = Callable[[Mapping[str, Value]], tuple[float, Mapping[str, float]] | None]
"""From parameter values to the metric of a full evaluation there, larger is better, and its derivatives per unit of
each parameter; None where that fails."""
CHECKS = 3
"""Evaluations of what is taken for the optimum, before it is given up that the search has come to an end."""
SHORT = 3.0
"""Standard deviations by which such an evaluation may fall short of what is expected of it."""
Ambiguous = Callable[[Mapping[str, Value]], Mapping[str, str]]
"""From parameter values to the parameters that another unknown makes up for: name -> what does, in words."""


@dataclass(frozen=True)
class Optimum:
    """The posterior of the optimum's location and value.

    Attributes:
        values: parameter name -> value at the maximum of the posterior mean, less the bias of noise where that is
            known; active parameters only.
        metric: posterior mean of the metric at the maximum, larger is better.
        deviation: its standard deviation, in the metric's unit.
        samples: (s, k) of the optimum's location, float and int parameters in their own units, in the order of
            ``names``.
        names: the k float and int parameters that are active.
        intervals: name -> central interval of probability :data:`LEVEL`.
        noisy: names of the parameters whose interval covers the noise of the measurement, not the search alone.
        correlations: (k, k) of the samples in unit-cube coordinates; 0 for a parameter at its bound.
        verdicts: name -> what the data say of it, where anything is known.
        choices: categorical parameter -> choice -> probability that it, with all else held, is better than the others.
        sensitivities: name -> (main effect, total effect): Sobol indices of the posterior mean over the whole space.
    """

    values: dict[str, Value]
    metric: float
    deviation: float
    samples: Floats
    names: tuple[str, ...]
    intervals: dict[str, tuple[float, float]]
    noisy: frozenset[str]
    correlations: Floats
    verdicts: dict[str, Verdict]
    choices: dict[str, dict[str, float]]
    sensitivities: dict[str, tuple[float, float]]


def find_optimum(
    history: History,
    space: Space,
    levels: int,
    own_levels: int,
    *,
    seed: int,
    again: Again | None = None,
    ambiguous: Ambiguous | None = None,
    check: Check | None = None,
) -> Optimum:
    """The posterior of the optimum, given a study's trials.

    Args:
        history: at least two trials with values, sources included.
        space: the search space.
        levels: how many levels trials may be of, sources included.
        own_levels: how many of them this study evaluates.
        seed: of the samples.
        again: asked once, at the maximum, for what the noise of the measurement does; None where that is not known.
        ambiguous: asked, at the maximum, for the parameters that no data tell; None where there are none.
        check: evaluates what is taken for the maximum; where that falls short of what the model expects, the model
            learns of it, and nothing is called identified if that does not settle it. None to take its word.
    """
    # Limits and tolerances below it are absolute (gpytorch takes no variance below 1e-10 for one).
    unit = history.spread
    found = _find_optimum(
        history.divided(unit), space, levels, own_levels, seed, _divided(again, unit), ambiguous, _checked(check, unit)
    )
    return replace(found, metric=unit * found.metric, deviation=unit * found.deviation)


def _divided(again: Again | None, unit: float) -> Again | None:
    """The same, of the metric over ``unit``."""
    if again is None:
        return None
    return lambda values: [{name: slope / unit for name, slope in one.items()} for one in again(values)]


def _checked(check: Check | None, unit: float) -> Check | None:
    """The same, of the metric over ``unit``."""

    def checked(values: Mapping[str, Value]) -> tuple[float, Mapping[str, float]] | None:
        found = None if check is None else check(values)
        return None if found is None else (found[0] / unit, {name: slope / unit for name, slope in found[1].items()})

    return None if check is None else checked


def _find_optimum(
    history: History,
    space: Space,
    levels: int,
    own_levels: int,
    seed: int,
    again: Again | None,
    ambiguous: Ambiguous | None,
    check: Check | None,
) -> Optimum:
    """As :func:`find_optimum`, of values whose standard deviation is about 1."""
    coordinates = Coordinates(space)
    model, top, settled = _settled(history, space, levels, own_levels, check)
    with torch.no_grad():
        at_top = model.posterior(torch.as_tensor(top)[None])
    values = space.from_unit(top)
    columns = {d.name: start for d, start in coordinates.columns if d.type != "categorical" and d.name in values}
    names, free = tuple(columns), list(columns.values())
    known = {d.name: d for d in space.dimensions}
    dimensions = [known[name] for name in names]
    scores = None if again is None else _scores(again(values), values, space, names)
    near_edge = [_near_edge(d, top[start]) for d, start in zip(dimensions, free, strict=True)]
    made_up_by = {} if ambiguous is None else ambiguous(values)
    lost = [name in made_up_by for name in names]
    where = find_locations(model, top, free, near_edge, coordinates.groups.smooth.tolist(), scores, seed, lost)
    own_units = np.array([[_scaled(d, u) for d, u in zip(dimensions, row, strict=True)] for row in where.samples])
    correlations, noisy = _correlations(where.samples), _noisy(names, where, scores)
    return Optimum(
        _unbiased(values, dimensions, where),
        float(at_top.mean),
        float(at_top.variance.sqrt()),
        own_units.reshape(len(where.samples), len(names)),
        names,
        {d.name: _interval(d, own_units[:, i], where.flat[i]) for i, d in enumerate(dimensions)},
        noisy,
        correlations,
        find_verdicts(model, top, dimensions, free, where, correlations, noisy, made_up_by, settled),
        _choices(model, top, coordinates, values, seed),
        _sensitivities(model, coordinates, seed),
    )


def _interval(dimension: Dimension, samples: Floats, flat: bool) -> tuple[float, float]:
    """The central interval of samples in the parameter's unit; the whole range of what may be anywhere."""
    if flat:
        return float(dimension.low), float(dimension.high)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(samples, [tail, 100 - tail])
    return float(low), float(high)


def _settled(
    history: History, space: Space, levels: int, own_levels: int, check: Check | None
) -> tuple[GradientGP, Floats, bool]:
    """As :func:`fit_with_maximum`, after the maximum was evaluated; whether that gave what was expected."""
    model, top = fit_with_maximum(history, space, levels, own_levels)
    if check is None:
        return model, top, True
    for _ in range(CHECKS):
        values = space.from_unit(top)
        found = check(values)
        if found is None:
            return model, top, False
        value, gradient = found
        with torch.no_grad():
            expected = model.posterior(torch.as_tensor(top)[None])
        unsure = float(expected.variance) + model.noise_deviation**2
        if float(expected.mean) - value <= SHORT * unsure**0.5:
            return model, top, True
        history = history.told(top, value, slope_to_unit(space, values, gradient))
        model, top = fit_with_maximum(history, space, levels, own_levels)
    return model, top, False


def fit_with_maximum(history: History, space: Space, levels: int, own_levels: int) -> tuple[GradientGP, Floats]:
    """A model of all trials, and the maximum of its mean for a full evaluation, shape (D,).

    Args:
        history, space, levels, own_levels: as for :func:`find_optimum`.
    """
    groups = Coordinates(space).groups
    gradient = np.full_like(history.X, np.nan) if history.gradient is None else history.gradient
    if levels == 1 and history.has_gradient and not isinstance(fit_history(history, space).model, GradientGP):
        gradient = np.full_like(gradient, np.nan)  # as the search does where derivatives mislead
    trials = Trials(history.X, history.y, gradient[:, groups.smooth.numpy()], history.levels)
    model, found = fit_gradient_gp(trials, groups, levels)
    return model, incumbent(FittedModel(model, found.noise), history.of_levels(own_levels), space)


def _scores(
    gradients: Sequence[Mapping[str, float]], values: Mapping[str, Value], space: Space, names: Sequence[str]
) -> Floats | None:
    """Derivatives per unit-cube coordinate, (b, k), NaN where not known; None where too few were found."""
    if len(gradients) < 2:
        return None
    known = [space.gradient_to_unit(values, gradient) for gradient in gradients]
    return np.array([[of_one.get(name, np.nan) for name in names] for of_one in known])


def _noisy(names: Sequence[str], where: Locations, scores: Floats | None) -> frozenset[str]:
    if scores is None or where.noise is None:
        return frozenset()
    known: list[bool] = np.atleast_1d(np.isfinite(scores).all(axis=0)).tolist()
    anywhere = [name for name, flat in zip(names, where.flat, strict=True) if flat]  # the whole range covers all
    return frozenset([*anywhere, *(names[i] for i in where.moving if known[i])])


def _unbiased(values: Mapping[str, Value], dimensions: Sequence[Dimension], where: Locations) -> dict[str, Value]:
    """The values at the centre of the locations, where noise moved it."""
    if where.noise is None:
        return dict(values)
    at_centre = {d.name: d.from_unit([float(u)]) for d, u in zip(dimensions, where.centre, strict=True)}
    return {**values, **at_centre}


def _scaled(dimension: Dimension, u: float) -> float:
    """A unit-cube coordinate in the parameter's unit; not rounded for ints, whose interval lies between them."""
    low, high = dimension.edges()
    value = low * (high / low) ** u if dimension.log else low + u * (high - low)
    return float(min(max(value, dimension.low), dimension.high))


def _near_edge(dimension: Dimension, u: float) -> bool:
    """Whether a coordinate is at an edge of its range: for an int, in the first cell or the last."""
    ends = [dimension.to_unit(end)[0] for end in (dimension.low, dimension.high)]
    return min(abs(u - end) for end in ends) < EDGE


def _correlations(samples: Floats) -> Floats:
    """Of the columns; 0 for one that does not vary, 1 on the diagonal."""
    k = samples.shape[1]
    deviation = samples.std(axis=0)
    scaled = (samples - samples.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    found: Floats = scaled.T @ scaled / len(samples)
    found[np.arange(k), np.arange(k)] = 1.0
    return found


def _choices(
    model: GradientGP, top: Floats, coordinates: Coordinates, values: dict[str, Value], seed: int
) -> dict[str, dict[str, float]]:
    """For every active categorical parameter, how probable it is that a choice is the best, all else held."""
    found: dict[str, dict[str, float]] = {}
    random = np.random.default_rng(seed)
    for dimension, start in coordinates.columns:
        if dimension.type != "categorical" or dimension.name not in values:
            continue
        points = np.tile(top, (dimension.width, 1))
        points[:, start : start + dimension.width] = np.eye(dimension.width)
        with torch.no_grad():
            joint = model.posterior(torch.as_tensor(coordinates.snap(points)))
        mean, covariance = joint.mean[:, 0].numpy(), joint.distribution.covariance_matrix.numpy()
        draws = random.multivariate_normal(mean, covariance, SAMPLES, check_valid="ignore")
        wins = np.bincount(draws.argmax(axis=1), minlength=dimension.width) / SAMPLES
        found[dimension.name] = {choice: float(w) for choice, w in zip(dimension.choices, wins, strict=True)}
    return found


def _sensitivities(model: GradientGP, coordinates: Coordinates, seed: int) -> dict[str, tuple[float, float]]:
    """Sobol indices (main, total) of the posterior mean, parameters uniform over their ranges.

    Source: A. Saltelli et al., Comput. Phys. Commun. 181, 259 (2010), as implemented by ``scipy.stats.sobol_indices``.
    """
    dimensions = coordinates.space.dimensions

    def mean(uniforms: Floats) -> Floats:
        points = torch.as_tensor(coordinates.from_uniform(uniforms.T))
        with torch.no_grad():
            found: Floats = model.posterior(points[:, None]).mean[:, 0, 0].numpy()
        return found[None]

    if len(dimensions) == 1:  # scipy's takes two or more; all there is depends on the one
        varies = float(np.ptp(mean(np.linspace(0.0, 1.0, 65)[None])) > 0.0)
        return {dimensions[0].name: (varies, varies)}
    dists = [uniform(0, 1)] * len(dimensions)
    indices = sobol_indices(func=mean, n=SENSITIVITY_SAMPLES, dists=dists, rng=np.random.default_rng(seed))
    # Estimates of what lies between 0 and 1 may not.
    main, total = (np.clip(found, 0.0, 1.0) for found in (indices.first_order, indices.total_order))
    return {d.name: (float(m), float(t)) for d, m, t in zip(dimensions, main, total, strict=True)}
