"""What the surrogate knows of the answer: where the optimum is, how sure that is, and which parameters matter.

Near its maximum x0 the posterior of the value is a Gaussian process with mean curvature H and an uncertain slope g of
covariance C, so the maximum is at x0 - H^-1 g: its location is Gaussian with covariance H^-1 C H^-1 (the delta method,
as for a maximum-likelihood estimate from an uncertain score). A coordinate whose maximum is at the edge of its range
stays there; one that the value hardly depends on comes out as wide as its range, and is called flat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.stats import sobol_indices, uniform
from torch import Tensor

from autotune.objective import Value
from autotune.space import Dimension, Floats, Space
from autotune.surrogate.acquisition import incumbent
from autotune.surrogate.coordinates import Coordinates
from autotune.surrogate.gradient_model import GradientGP, fit_gradient_gp
from autotune.surrogate.history import History
from autotune.surrogate.model import FittedModel, fit_history
from autotune.surrogate.observations import Trials

STEP = 1e-3
"""Of the differences of the slope that give its curvature, in unit-cube coordinates."""
EDGE = 2e-3
"""A maximum nearer than this to the edge of its range is at the edge."""
SURE = 1.0
"""Standard deviations of a slope above which its sign is believed."""
FLAT = 0.8
"""An interval that covers more of the range than this says nothing about the parameter."""
SAMPLES = 512
SENSITIVITY_SAMPLES = 256
LEVEL = 0.9

Verdict = Literal["flat", "at_bound"]


@dataclass(frozen=True)
class Optimum:
    """The posterior of the optimum's location and value.

    Attributes:
        values: parameter name -> value at the maximum of the posterior mean; active parameters only.
        metric: posterior mean of the metric there, larger is better.
        deviation: its standard deviation, in the metric's unit.
        samples: (s, k) of the optimum's location, float and int parameters in their own units, in the order of
            ``names``.
        names: the k float and int parameters that are active.
        intervals: name -> central interval of probability :data:`LEVEL`.
        correlations: (k, k) of the samples in unit-cube coordinates; 0 for a parameter at its bound.
        verdicts: name -> ``flat`` or ``at_bound``, for those that are.
        choices: categorical parameter -> choice -> probability that it, with all else held, is better than the others.
        sensitivities: name -> (main effect, total effect): Sobol indices of the posterior mean over the whole space.
    """

    values: dict[str, Value]
    metric: float
    deviation: float
    samples: Floats
    names: tuple[str, ...]
    intervals: dict[str, tuple[float, float]]
    correlations: Floats
    verdicts: dict[str, Verdict]
    choices: dict[str, dict[str, float]]
    sensitivities: dict[str, tuple[float, float]]


def find_optimum(history: History, space: Space, levels: int, own_levels: int, *, seed: int) -> Optimum:
    """The posterior of the optimum, given a study's trials.

    Args:
        history: at least two trials with values, sources included.
        space: the search space.
        levels: how many levels trials may be of, sources included.
        own_levels: how many of them this study evaluates.
        seed: of the samples.
    """
    coordinates = Coordinates(space)
    groups = coordinates.groups
    gradient = np.full_like(history.X, np.nan) if history.gradient is None else history.gradient
    if levels == 1 and history.has_gradient and not isinstance(fit_history(history, space).model, GradientGP):
        gradient = np.full_like(gradient, np.nan)  # as the search does where derivatives mislead
    trials = Trials(history.X, history.y, gradient[:, groups.smooth.numpy()], history.levels)
    model, found = fit_gradient_gp(trials, groups, levels)
    top = incumbent(FittedModel(model, found.noise), history.of_levels(own_levels), space)
    with torch.no_grad():
        at_top = model.posterior(torch.as_tensor(top)[None])
    values = space.from_unit(top)
    columns = {d.name: start for d, start in coordinates.columns if d.type != "categorical" and d.name in values}
    dimensions = {d.name: d for d in space.dimensions}
    near_edge = [_near_edge(dimensions[name], top[start]) for name, start in columns.items()]
    samples, edges = _locations(model, top, list(columns.values()), near_edge, groups.smooth.tolist(), seed)
    names = tuple(columns)
    own_units = np.array([[_scaled(dimensions[n], u) for n, u in zip(names, row, strict=True)] for row in samples])
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(own_units, [tail, 100 - tail], axis=0) if names else (np.zeros(0), np.zeros(0))
    width = np.diff(np.percentile(samples, [tail, 100 - tail], axis=0), axis=0)[0] if names else np.zeros(0)
    verdicts: dict[str, Verdict] = {name: "flat" for name, wide in zip(names, width, strict=True) if wide > FLAT}
    verdicts |= {name: "at_bound" for name, edge in zip(names, edges, strict=True) if edge}
    return Optimum(
        values,
        float(at_top.mean),
        float(at_top.variance.sqrt()),
        own_units.reshape(len(samples), len(names)),
        names,
        {name: (float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)},
        _correlations(samples),
        verdicts,
        _choices(model, top, coordinates, values, seed),
        _sensitivities(model, coordinates, seed),
    )


def _scaled(dimension: Dimension, u: float) -> float:
    """A unit-cube coordinate in the parameter's unit; not rounded for ints, whose interval lies between them."""
    low, high = dimension.edges()
    value = low * (high / low) ** u if dimension.log else low + u * (high - low)
    return float(min(max(value, dimension.low), dimension.high))


def _near_edge(dimension: Dimension, u: float) -> bool:
    """Whether a coordinate is at an edge of its range: for an int, in the first cell or the last."""
    ends = [dimension.to_unit(end)[0] for end in (dimension.low, dimension.high)]
    return min(abs(u - end) for end in ends) < EDGE


def _locations(
    model: GradientGP, top: Floats, free: list[int], near_edge: list[bool], smooth: list[int], seed: int
) -> tuple[Floats, list[bool]]:
    """Samples (s, k) of where the maximum is along the ``free`` columns, and which of these stay at their edge.

    One stays where the value surely rises outwards: by :data:`SURE` standard deviations of its slope.
    """
    if not free:
        return np.zeros((SAMPLES, 0)), []
    position = {column: i for i, column in enumerate(smooth)}
    inside = [position[column] for column in free]
    point = torch.as_tensor(top)
    with torch.no_grad():
        slope, covariance = model.slopes(point)
        curvature = _curvature(model, point, free, smooth)
    outward = [float(slope[row]) * (1 if top[c] > 0.5 else -1) for row, c in zip(inside, free, strict=True)]
    unsure = [SURE * float(covariance[row, row].clamp(min=0).sqrt()) for row in inside]
    edges = [near and out > least for near, out, least in zip(near_edge, outward, unsure, strict=True)]
    samples = np.tile(top[free], (SAMPLES, 1))
    moving = [i for i, edge in enumerate(edges) if not edge]
    if moving:
        H = curvature[np.ix_(moving, moving)]
        eigenvalues, vectors = np.linalg.eigh(-(H + H.T) / 2)
        # Where the mean does not curve down, nothing holds the maximum: it may be anywhere.
        inverse = vectors @ np.diag(1 / np.maximum(eigenvalues, 1e-9 * max(eigenvalues.max(), 1e-12))) @ vectors.T
        rows = [inside[i] for i in moving]
        C = covariance.numpy()[np.ix_(rows, rows)]
        spread = inverse @ C @ inverse
        values, directions = np.linalg.eigh((spread + spread.T) / 2)
        random = np.random.default_rng(seed).normal(size=(SAMPLES, len(moving)))
        samples[:, moving] += random @ (directions * np.sqrt(np.maximum(values, 0.0))).T
    return np.clip(samples, 0.0, 1.0), edges


def _curvature(model: GradientGP, point: Tensor, free: list[int], smooth: list[int]) -> Floats:
    """Second derivatives (k, k) of the posterior mean along the ``free`` columns, by differences of its slope."""
    rows = [smooth.index(column) for column in free]
    found = np.zeros((len(free), len(free)))
    for j, column in enumerate(free):
        step = torch.zeros_like(point)
        step[column] = STEP
        found[:, j] = ((model.slopes(point + step)[0] - model.slopes(point - step)[0]) / (2 * STEP))[rows].numpy()
    return found


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
    if len(dimensions) == 1:  # scipy's takes two or more; all there is depends on the one
        return {dimensions[0].name: (1.0, 1.0)}

    def mean(uniforms: Floats) -> Floats:
        points = torch.as_tensor(coordinates.from_uniform(uniforms.T))
        with torch.no_grad():
            found: Floats = model.posterior(points[:, None]).mean[:, 0, 0].numpy()
        return found[None]

    dists = [uniform(0, 1)] * len(dimensions)
    indices = sobol_indices(func=mean, n=SENSITIVITY_SAMPLES, dists=dists, rng=np.random.default_rng(seed))
    # Estimates of what lies between 0 and 1 may not.
    main, total = (np.clip(found, 0.0, 1.0) for found in (indices.first_order, indices.total_order))
    return {d.name: (float(m), float(t)) for d, m, t in zip(dimensions, main, total, strict=True)}
