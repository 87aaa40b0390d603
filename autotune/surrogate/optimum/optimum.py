"""The posterior of the optimum: where it is, how sure that is, and which parameters matter.

:mod:`autotune.surrogate.optimum.locations` samples where the maximum may be: its uncertainty after the search, and that
from the noise of the measurement where that is known. A coordinate whose maximum is at the edge of its range stays
there, unless it may be noise that put it there; one that the value hardly depends on comes out as wide as its range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch

from autotune.objective import Value
from autotune.problem.space import Dimension, Floats, Space
from autotune.surrogate.model.coordinates import Coordinates
from autotune.surrogate.model.gradient_model import GradientGP
from autotune.surrogate.model.history import History, slope_to_unit
from autotune.surrogate.model.value_model import FittedModel, fit_derivatives, fit_history
from autotune.surrogate.optimum.flatness import Check, show_flat
from autotune.surrogate.optimum.intervals import covering_noise, find_intervals, find_parts, widths
from autotune.surrogate.optimum.locations import SAMPLES, Locations, curvatures, deviations_of, find_locations
from autotune.surrogate.optimum.model_errors import FindModelErrors, ModelErrors
from autotune.surrogate.optimum.per_coordinate import (
    errors_of,
    find_steps,
    not_sharper,
    scores_of,
    steadied,
    steps_in_cube,
    without_slope,
)
from autotune.surrogate.optimum.sensitivities import find_sensitivities
from autotune.surrogate.optimum.verdicts import Because, Verdict, find_verdicts
from autotune.surrogate.propose.incumbent import incumbent

KEPT = 512
"""Samples of the location that are kept."""
EDGE = 2e-3
"""A maximum nearer than this to the edge of its range is at the edge."""

Again = Callable[[Mapping[str, Value], Mapping[str, float]], Sequence[Mapping[str, float]]]
"""From parameter values to derivatives of the metric there, larger is better, on measurements repeated with other
noise: parameter name -> derivative per unit of the parameter, once for each repetition. The second argument has a step
for each parameter without derivatives, by which it is moved to find its derivative by differences."""
CHECKS = 3
"""Evaluations of the supposed optimum, each after a new fit, before the search is judged not to have come to an end."""
_TIMES = 4.0
"""How much more than expected the value may fall where the bias of noise moves the maximum."""
SHORT = 3.0
"""Standard deviations by which such an evaluation may fall short of the posterior mean."""
Ambiguous = Callable[[Mapping[str, Value]], Mapping[str, str]]
"""From parameter values to the parameters for which another unknown makes up: name -> that unknown, in words."""


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
        intervals: name -> central interval; see :mod:`autotune.surrogate.optimum.intervals`.
        parts: name -> half-widths of its interval by noise and search, and by errors of the model; empty where these
            are not known.
        noisy: names of the parameters whose interval covers the noise of the measurement, not the search alone.
        correlations: (k, k) of the samples in unit-cube coordinates; 0 for a parameter at its bound.
        verdicts: name -> verdict of the data on the parameter, where there is one.
        choices: categorical parameter -> choice -> probability that it, with all else held, is better than the others.
        sensitivities: name -> (main effect, total effect): Sobol indices of the posterior mean over the whole space.
    """

    values: dict[str, Value]
    metric: float
    deviation: float
    samples: Floats
    names: tuple[str, ...]
    intervals: dict[str, tuple[float, float]]
    parts: dict[str, tuple[float, float]]
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
    errors: FindModelErrors | None = None,
    in_quadrature: Mapping[str, float] = MappingProxyType({}),
) -> Optimum:
    """Compute the posterior of the optimum, given a study's trials.

    Args:
        history: at least two trials with values, sources included.
        space: the search space.
        levels: how many levels trials may be of, sources included.
        own_levels: how many of them this study evaluates.
        seed: seed of the samples.
        again: called once at most, at the maximum, for the scores of repeated measurements; None where the noise of the
            measurement is not known.
        ambiguous: called once, at the maximum, for the parameters that no data determine; None where there are none.
        check: evaluates the supposed maximum; the value and its derivatives are added to the trials and the model is
            fitted anew. It is done again where the value falls short of the posterior mean; if that does not settle it,
            no parameter is called identified. A parameter that the value seems not to depend on is evaluated far away,
            too. None to trust the model, and to call no parameter flat.
        errors: called once, at the maximum, for errors of the objective's model; None where it cannot tell them. Where
            it fails to, no parameter is called identified.
        in_quadrature: parameter name -> size, in its unit, of an unknown that adds to its value in quadrature.
    """
    # Limits and tolerances of the model are absolute (gpytorch treats variances below 1e-10 as zero).
    unit = history.spread
    optimum = _find_optimum(
        history.divided(unit),
        space,
        levels,
        own_levels,
        seed,
        _divided(again, unit),
        ambiguous,
        _checked(check, unit),
        _errors_divided(errors, unit),
        in_quadrature,
    )
    return replace(optimum, metric=unit * optimum.metric, deviation=unit * optimum.deviation)


def _divided(again: Again | None, unit: float) -> Again | None:
    """The same function for the metric divided by ``unit``."""
    if again is None:
        return None
    return lambda values, steps: [
        {name: slope / unit for name, slope in score.items()} for score in again(values, steps)
    ]


def _errors_divided(errors: FindModelErrors | None, unit: float) -> FindModelErrors | None:
    """The same function for the metric divided by ``unit``."""
    if errors is None:
        return None

    def divided(values: Mapping[str, Value], steps: Mapping[str, float]) -> ModelErrors | None:
        at = errors(values, steps)
        return None if at is None else at.times(1 / unit)

    return divided


def _checked(check: Check | None, unit: float) -> Check | None:
    """The same function for the metric divided by ``unit``."""

    def checked(values: Mapping[str, Value]) -> tuple[float, Mapping[str, float]] | None:
        at = None if check is None else check(values)
        return None if at is None else (at[0] / unit, {name: slope / unit for name, slope in at[1].items()})

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
    errors: FindModelErrors | None,
    in_quadrature: Mapping[str, float],
) -> Optimum:
    """As :func:`find_optimum`, for values whose standard deviation is about 1."""
    coordinates = Coordinates(space)
    model, top, missed, checked = _settled(history, space, levels, own_levels, check)
    with torch.no_grad():
        at_top = model.posterior(torch.as_tensor(top)[None])
    values = space.from_unit(top)
    numeric = [(d, start) for d, start in coordinates.columns if d.type != "categorical" and d.name in values]
    dimensions, free = [d for d, _ in numeric], [start for _, start in numeric]
    names = tuple(d.name for d in dimensions)
    smooth = coordinates.groups.smooth.tolist()
    made_up_by = {} if ambiguous is None else ambiguous(values)
    lost = [name in made_up_by for name in names]
    determined = [pair for pair, gone in zip(numeric, lost, strict=True) if not gone]
    unknown = without_slope(checked, determined, at_last=len(checked.y) > len(history.y))
    steps = find_steps(model, top, unknown, smooth, None, SHORT * model.noise_deviation)
    scores = None
    if again is not None and (steps or checked.has_gradient):
        scores = scores_of(again(values, steps), values, space, names)
    near_edge = [_near_edge(d, top[start]) for d, start in numeric]
    moved = find_steps(model, top, numeric, smooth, scores)
    at_model = None if errors is None else errors(values, moved)
    deviations = None if at_model is None else errors_of(at_model, values, space, names)
    if deviations is not None and at_model is not None:
        bent = curvatures(model, top, free, smooth)
        if at_model.by_differences:
            deviations = not_sharper(deviations, bent)
        deviations = steadied(deviations, bent, steps_in_cube(moved, values, space, names))
    where = find_locations(model, top, free, near_edge, smooth, scores, seed, lost, deviations)
    if steps and check is not None and not missed and _falls_where_corrected(model, top, free, where, check, space):
        # The curvature is not what the surrogate takes it for: what noise does to the answer cannot be told from it.
        missed, scores = "fell_short", None
        where = find_locations(model, top, free, near_edge, smooth, None, seed, lost, deviations)
    samples, intervals = find_intervals(dimensions, where, in_quadrature, seed)
    parts = find_parts(dimensions, where, intervals)
    correlations, noisy = _correlations(where.samples), covering_noise(names, where, scores)
    verdicts = find_verdicts(
        model,
        top,
        dimensions,
        free,
        where,
        # What the data cannot tell apart: a held value that is not known moves several parameters together, too.
        correlations if where.without_model is None else _correlations(where.without_model),
        noisy,
        made_up_by,
        missed,
        True if errors is None else None if at_model is None else at_model.explained,
    )
    seem = [pair for pair in numeric if verdicts.get(pair[0].name) == Verdict("flat")]
    show_flat(verdicts, check, model, top, seem, _tilts(scores, names), space)
    return Optimum(
        _unbiased(values, dimensions, where),
        float(at_top.mean),
        float(at_top.variance.sqrt()),
        samples[:KEPT],
        names,
        intervals,
        {name: part for name, part in parts.items() if at_model is None or at_model.knows(name)},
        noisy,
        correlations,
        verdicts,
        _choices(model, top, coordinates, values, seed),
        find_sensitivities(model, coordinates, seed),
    )


def _falls_where_corrected(
    model: GradientGP, top: Floats, free: Sequence[int], where: Locations, check: Check, space: Space
) -> bool:
    """Whether the value is much lower than expected where the bias of noise moves the maximum.

    From values alone, many parameters and few trials, a surrogate knows little of how the value curves, and a small
    slope divided by that may lead anywhere. Where the correction is beyond the interval, its end is evaluated.
    """
    moved = np.abs(where.centre - top[list(free)])
    if where.noise is None or (moved <= widths(where.samples) / 2).all():
        return False
    centre = top.copy()
    centre[list(free)] = where.centre
    at = check(space.from_unit(centre))
    if at is None:
        return True
    with torch.no_grad():
        means = model.posterior(torch.as_tensor(np.stack([top, centre]))).mean.flatten().tolist()
    return bool(means[0] - at[0] > _TIMES * max(means[0] - means[1], 0.0) + SHORT * model.noise_deviation)


def _tilts(scores: Floats | None, names: Sequence[str]) -> dict[str, float]:
    """Name -> standard deviation of the value's slope by noise, along the unit coordinate, where that is known."""
    by_noise = deviations_of(scores, len(names)).tolist()
    return {
        name: tilt
        for i, (name, tilt) in enumerate(zip(names, by_noise, strict=True))
        if scores is not None and np.isfinite(scores[:, i]).all()
    }


def _settled(
    history: History, space: Space, levels: int, own_levels: int, check: Check | None
) -> tuple[GradientGP, Floats, Because, History]:
    """As :func:`fit_with_maximum`, after the maximum was evaluated; why it is none, if it is none; all trials."""
    model, top = fit_with_maximum(history, space, levels, own_levels)
    if check is None:
        return model, top, "", history
    for _ in range(CHECKS):
        values = space.from_unit(top)
        at = check(values)
        if at is None:
            return model, top, "failed", history
        value, gradient = at
        with torch.no_grad():
            expected = model.posterior(torch.as_tensor(top)[None])
        unsure = float(expected.variance) + model.noise_deviation**2
        as_expected = float(expected.mean) - value <= SHORT * unsure**0.5
        # The slope at the supposed maximum is what tells best where the maximum is.
        history = history.with_evaluation(top, value, slope_to_unit(space, values, gradient))
        model, top = fit_with_maximum(history, space, levels, own_levels)
        if as_expected:
            return model, top, "", history
    return model, top, "fell_short", history


def fit_with_maximum(history: History, space: Space, levels: int, own_levels: int) -> tuple[GradientGP, Floats]:
    """Fit a model of all trials, and find the maximum of its mean for a full evaluation, shape (D,).

    Args:
        history, space, levels, own_levels: as for :func:`find_optimum`.
    """
    model, noise = _fit(history, space, levels)
    return model, incumbent(FittedModel(model, noise), history.of_levels(own_levels), space)


def _fit(history: History, space: Space, levels: int) -> tuple[GradientGP, float]:
    """The model and its noise variance. Its posterior is joint over points, which values alone need as well."""
    if history.has_gradient or levels > 1:
        fitted = fit_history(history, space, levels)
        if isinstance(fitted.model, GradientGP):
            return fitted.model, fitted.noise
    # Without derivatives, as the search does where they mislead.
    model, hyperparameters = fit_derivatives(replace(history, gradient=None), space, levels)
    return model, hyperparameters.noise


def _unbiased(values: Mapping[str, Value], dimensions: Sequence[Dimension], where: Locations) -> dict[str, Value]:
    """The values at the centre of the locations, where noise moved it."""
    if where.noise is None:
        return dict(values)
    at_centre = {d.name: d.from_unit([float(u)]) for d, u in zip(dimensions, where.centre, strict=True)}
    return {**values, **at_centre}


def _near_edge(dimension: Dimension, u: float) -> bool:
    """Whether a coordinate is at an edge of its range: for an int, in the first cell or the last."""
    ends = [dimension.to_unit(end)[0] for end in (dimension.low, dimension.high)]
    return min(abs(u - end) for end in ends) < EDGE


def _correlations(samples: Floats) -> Floats:
    """Correlations (k, k) of the columns of samples (s, k); 0 for one that does not vary, 1 on the diagonal."""
    k = samples.shape[1]
    deviation = samples.std(axis=0)
    scaled = (samples - samples.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    correlations: Floats = scaled.T @ scaled / len(samples)
    correlations[np.arange(k), np.arange(k)] = 1.0
    return correlations


def _choices(
    model: GradientGP, top: Floats, coordinates: Coordinates, values: dict[str, Value], seed: int
) -> dict[str, dict[str, float]]:
    """For every active categorical parameter, the probability that each choice is the best, all else held."""
    probabilities: dict[str, dict[str, float]] = {}
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
        probabilities[dimension.name] = {choice: float(w) for choice, w in zip(dimension.choices, wins, strict=True)}
    return probabilities
