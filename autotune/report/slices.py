"""Cuts through the surrogate: posterior mean and standard deviation along lines and planes through the answer.

The surrogate is fitted again to the trials that the answer comes from, which gives the same model.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from autotune.objective import Value
from autotune.problem.space import Dimension, Floats
from autotune.report.data import StudyData
from autotune.results.posterior import FEWEST_TRIALS
from autotune.search.trial_history import read_histories, read_history
from autotune.store.trials import TrialStore
from autotune.surrogate.model.coordinates import Coordinates
from autotune.surrogate.model.gradient_model import GradientGP
from autotune.surrogate.numerics import quiet_and_seeded
from autotune.surrogate.optimum.optimum import fit_with_maximum

LINE, SIDE = 101, 33
"""Points of a line, and points along each side of a plane."""
MOST_PLANES = 6


@dataclass(frozen=True)
class Line:
    """The posterior of the metric along one parameter, all others held.

    Attributes:
        dimension: the parameter.
        values: n values of it, in its unit.
        mean, deviation: posterior mean and standard deviation of the metric there, (n,), in its unit.
    """

    dimension: Dimension
    values: Sequence[Value]
    mean: Floats
    deviation: Floats


@dataclass(frozen=True)
class Plane:
    """The posterior of the metric over two parameters, all others held.

    Attributes:
        x, y: the parameters.
        x_values, y_values: n values of each, (n,), in its unit.
        mean, deviation: posterior mean and standard deviation of the metric, (n, n), in its unit; rows are ``y``.
    """

    x: Dimension
    y: Dimension
    x_values: Floats
    y_values: Floats
    mean: Floats
    deviation: Floats


@dataclass(frozen=True)
class Cuts:
    """Lines and planes through one point.

    Attributes:
        at: the point, parameter name -> value: the optimum of the posterior mean, or the best trial where limits
            exclude that optimum.
        mean, deviation: posterior mean and standard deviation of the metric there.
        lines: a line for each parameter that is active there.
        planes: planes of the pairs of parameters that matter most.
        nearness: trial number -> how near it is to the point, weighted by sensitivity: 1 there, 0 far away.
    """

    at: Mapping[str, Value]
    mean: float
    deviation: float
    lines: tuple[Line, ...]
    planes: tuple[Plane, ...]
    nearness: Mapping[int, float]


def cut(study: StudyData, store: TrialStore, sources: Sequence[TrialStore]) -> Cuts | None:
    """Cut through the surrogate of a study; None where too few trials have finished for one.

    Args:
        study: the study.
        store: its trials.
        sources: the studies that it learned from.
    """
    if len(read_history(store.study, None, study.space).y) < FEWEST_TRIALS:
        return None
    history = read_histories(store.study, [source.study for source in sources], study.space, study.own_levels)
    unit = history.spread  # as find_optimum does: small differences must not be taken for uncertainty
    with quiet_and_seeded(study.result.seed):
        model, top = fit_with_maximum(
            history.divided(unit), study.space, study.own_levels + len(sources), study.own_levels
        )
    best = study.best
    if study.result.metric.estimate is None and best is not None and study.space.contains(best.values):
        top = study.space.to_unit(best.values)
    cutter = _Cutter(model, Coordinates(study.space), top, unit, study.metric.sign)
    at = study.space.from_unit(top)
    lines = tuple(cutter.line(d, start) for d, start in cutter.coordinates.columns if d.name in at)
    mean, deviation = cutter.moments(top[None])
    weights = _weights(study, lines)
    pairs = _pairs(study, lines, weights)
    nearness = {t.number: _nearness(study, t.values, top, weights) for t in study.finished}
    return Cuts(at, float(mean[0]), float(deviation[0]), lines, tuple(map(cutter.plane, pairs)), nearness)


@dataclass(frozen=True)
class _Cutter:
    """The model of the metric over ``unit``, larger is better, and the point (D,) that the cuts go through."""

    model: GradientGP
    coordinates: Coordinates
    top: Floats
    unit: float
    sign: float

    def moments(self, points: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the metric at points (n, D), each (n,)."""
        with torch.no_grad():
            posterior = self.model.posterior(torch.as_tensor(points)[:, None])
        mean, deviation = posterior.mean[:, 0, 0].numpy(), posterior.variance[:, 0, 0].clamp(min=0).sqrt().numpy()
        return self.sign * self.unit * mean, self.unit * deviation

    def line(self, dimension: Dimension, start: int) -> Line:
        values = _values(dimension)
        points = np.tile(self.top, (len(values), 1))
        points[:, start : start + dimension.width] = [dimension.to_unit(value) for value in values]
        return Line(dimension, values, *self.moments(self.coordinates.snap(points)))

    def plane(self, pair: tuple[Dimension, Dimension]) -> Plane:
        x, y = pair
        starts = {d.name: start for d, start in self.coordinates.columns}
        ends = [[d.to_unit(end)[0] for end in (d.low, d.high)] for d in pair]
        u, v = (np.linspace(low, high, SIDE) for low, high in ends)
        points = np.tile(self.top, (SIDE * SIDE, 1))
        points[:, starts[x.name]], points[:, starts[y.name]] = np.tile(u, SIDE), np.repeat(v, SIDE)
        mean, deviation = (moment.reshape(SIDE, SIDE) for moment in self.moments(points))
        return Plane(x, y, x.between(u), y.between(v), mean, deviation)


def _values(dimension: Dimension) -> Sequence[Value]:
    if dimension.type == "categorical":
        return dimension.choices
    if dimension.type == "int" and dimension.high - dimension.low < LINE:
        return range(int(dimension.low), int(dimension.high) + 1)
    first, last = (dimension.to_unit(end)[0] for end in (dimension.low, dimension.high))
    return list(dict.fromkeys(dimension.from_unit([float(u)]) for u in np.linspace(first, last, LINE)))


def _weights(study: StudyData, lines: Sequence[Line]) -> dict[str, float]:
    """Weight of each parameter, 0 to 1: its total sensitivity, or how much the mean varies along its line."""
    totals = {name: p.sensitivity.total for name, p in study.result.parameters.items() if p.sensitivity}
    if totals:
        return totals
    ranges = {line.dimension.name: float(np.ptp(line.mean)) for line in lines}
    largest = max(ranges.values(), default=0.0) or 1.0
    return {name: value / largest for name, value in ranges.items()}


def _pairs(study: StudyData, lines: Sequence[Line], weights: Mapping[str, float]) -> list[tuple[Dimension, Dimension]]:
    """The pairs of numeric parameters with the largest weights or correlations, at most :data:`MOST_PLANES`."""
    correlations = study.result.correlations or {}
    numbers = [line.dimension for line in lines if line.dimension.type != "categorical"]

    def importance(pair: tuple[Dimension, Dimension]) -> float:
        x, y = (d.name for d in pair)
        together = math.sqrt(weights.get(x, 0.0) * weights.get(y, 0.0))
        return max(together, abs(float(correlations.get(x, {}).get(y, 0.0))))

    return sorted(itertools.combinations(numbers, 2), key=importance, reverse=True)[:MOST_PLANES]


def _nearness(study: StudyData, values: Mapping[str, Value], top: Floats, weights: Mapping[str, float]) -> float:
    if not study.space.contains(values):
        return 0.0
    away = study.space.to_unit(values) - top
    each = np.repeat(
        [weights.get(d.name, 0.0) for d in study.space.dimensions], [d.width for d in study.space.dimensions]
    )
    return float(np.exp(-np.square(away * np.sqrt(each)).sum() / 0.1**2))
