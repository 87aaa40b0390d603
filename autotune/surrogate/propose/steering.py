"""What steers the search beside the tuned metric: limits to keep, metrics to weigh it against, time.

A limit, and the time of a trial, are factors of the improvement
(:mod:`autotune.surrogate.propose.acquisition_factors`). The improvement is over the best trial that keeps the limits;
while there is none, all that counts is the chance of keeping them. With metrics to weigh, the improvement is that of
the front's hypervolume (:mod:`autotune.surrogate.propose.hypervolume`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.models.model import Model
from numpy.typing import NDArray
from torch import Tensor

from autotune.problem.goals import SECONDS, Aims, Limit
from autotune.problem.space import Space
from autotune.surrogate.model.history import History
from autotune.surrogate.model.value_model import FittedModel, fit_history
from autotune.surrogate.propose.acquisition import LogFactor, Proposal, acquisition_function
from autotune.surrogate.propose.acquisition_factors import cheapness, keeps
from autotune.surrogate.propose.hypervolume import hypervolume_improvement

FEWEST_VALUES = 2
"""Fewer values of a metric say nothing about how it varies."""


FEWEST_WEIGHED = 2
"""Trials that must report every weighed metric before it is weighed."""


@dataclass(frozen=True)
class Steering:
    """How a proposal is chosen.

    Attributes:
        chances: logarithms of the probabilities that the limits are kept.
        factors: these, and the logarithm of one over the time.
        improvement: the logarithm of the expected improvement; None for that of the value over the best trial's.
        in_the_metrics_unit: whether the improvement is one of the tuned metric.
    """

    chances: tuple[LogFactor, ...] = ()
    factors: tuple[LogFactor, ...] = ()
    improvement: AcquisitionFunction | None = None
    in_the_metrics_unit: bool = True

    def expected_improvement(self, proposal: Proposal) -> float | None:
        """By how much a proposal is expected to beat the best answer; None where that has no meaning."""
        if not self.in_the_metrics_unit:
            return None
        point = torch.as_tensor(proposal.point)[None, None]
        with torch.no_grad():
            return proposal.expected_improvement * float(
                np.prod([float(chance(point).exp()) for chance in self.chances])
            )


def steer(aims: Aims, fitted: FittedModel, history: History, space: Space, levels: int, *, seed: int) -> Steering:
    """How to choose the next trial.

    Args:
        aims: what the search is after.
        fitted: the value model.
        history: the study's own trials, at least one with a value.
        space: the search space.
        levels: how many levels trials may be of.
        seed: of the Monte Carlo samples.
    """
    chances = tuple(_chances(aims.limits, history, space, levels))
    factors = chances + (tuple(_per_second(history)) if aims.per_second else ())
    kept = keeping(aims.limits, history)
    if not kept.any():
        return Steering(chances, factors, Nowhere(fitted.model), in_the_metrics_unit=False)
    reported = np.isfinite([history.reported(metric.name) for metric in aims.against]).all(axis=0)
    if aims.against and int((kept & reported).sum()) >= FEWEST_WEIGHED:
        improvement = hypervolume_improvement(fitted, history, space, aims.against, kept, seed=seed)
        return Steering(chances, factors, improvement, in_the_metrics_unit=False)
    if aims.limits:
        over = acquisition_function(fitted, history, seed=seed, over=history.X[kept])
        return Steering(chances, factors, over)
    return Steering(chances, factors)


def keeping(limits: Sequence[Limit], history: History) -> NDArray[np.bool_]:
    """Which trials keep the limits by what they reported themselves, shape (n,)."""
    reported = {limit.metric: history.reported(limit.metric) for limit in limits}
    rows = [{name: values[i] for name, values in reported.items()} for i in range(len(history.y))]
    return np.array([all(limit.kept_by(row) for limit in limits) for row in rows], dtype=np.bool_)


class Nowhere(AcquisitionFunction):
    """No place is better than another, while no trial keeps the limits: the factors decide."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)

    def forward(self, X: Tensor) -> Tensor:
        """Over points (b, 1, D): (b,) of zeros."""
        return 0.0 * X.sum(dim=(-1, -2))


def _chances(limits: Sequence[Limit], history: History, space: Space, levels: int) -> list[LogFactor]:
    """log of the probability that each limit is kept; none for a metric that too few trials have reported."""
    found = []
    for limit in limits:
        values = history.reported(limit.metric)
        known = np.isfinite(values)
        if known.sum() < FEWEST_VALUES:
            continue
        told = replace(
            history, X=history.X[known], y=values[known], level=history.levels[known], gradient=None, reports=()
        )
        unit = told.spread
        told = told.divided(unit)
        below, above = (None if end is None else end / unit for end in (limit.below, limit.above))
        found.append(keeps(fit_history(told, space, levels), told.y, below=below, above=above))
    return found


def _per_second(history: History) -> list[LogFactor]:
    """log of one over the time that a full evaluation takes; none where too few trials say what they took."""
    seconds = history.reported(SECONDS.name)
    known = seconds > 0
    return [cheapness(history.X[known], seconds[known])] if known.sum() >= FEWEST_VALUES else []
