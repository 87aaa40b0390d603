"""Steering: the aims beside the tuned metric (limits, other metrics, time) as factors and an acquisition function.

A limit, and the time of a trial, are factors of the improvement
(:mod:`autotune.surrogate.propose.acquisition_factors`). The improvement is over the best trial that keeps the limits,
or of the front's hypervolume: see :mod:`autotune.surrogate.propose.acquisitions.table`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from numpy.typing import NDArray

from autotune.problem.goals import SECONDS, Aims, Limit
from autotune.problem.space import Space
from autotune.surrogate.model.history import FEWEST_VALUES, History
from autotune.surrogate.model.value_model import FittedModel, fit_history
from autotune.surrogate.propose.acquisition_factors import LogFactor, cheapness, keeps
from autotune.surrogate.propose.acquisition_optimisation import Proposal
from autotune.surrogate.propose.acquisitions.protocol import Situation
from autotune.surrogate.propose.acquisitions.table import choose


@dataclass(frozen=True)
class Steering:
    """How a proposal is chosen.

    Attributes:
        chances: logarithms of the probabilities that the limits are kept.
        factors: the chances, and the logarithm of one over the time where improvements count per second.
        improvement: the acquisition function: the logarithm of the expected improvement.
        in_the_metrics_unit: whether the improvement is one of the tuned metric.
    """

    chances: tuple[LogFactor, ...]
    factors: tuple[LogFactor, ...]
    improvement: AcquisitionFunction
    in_the_metrics_unit: bool

    def expected_improvement(self, proposal: Proposal) -> float | None:
        """Expected improvement of a proposal over the best answer; None where it is not in the values' unit."""
        if not self.in_the_metrics_unit:
            return None
        point = torch.as_tensor(proposal.point)[None, None]
        with torch.no_grad():
            return proposal.expected_improvement * float(
                np.prod([float(chance(point).exp()) for chance in self.chances])
            )


def steer(
    aims: Aims,
    fitted: FittedModel,
    history: History,
    space: Space,
    levels: int,
    *,
    seed: int,
    held: Mapping[int, float] | None = None,
) -> Steering:
    """Decide how the next trial is chosen.

    Args:
        aims: the aims of the search beside the tuned metric.
        fitted: the value model.
        history: the study's own trials, at least one with a value.
        space: the search space.
        levels: how many levels trials may be of.
        seed: seed of the Monte Carlo samples.
        held: column of a dimension whose value nobody chooses -> its coordinate in the next trial; None for none.
    """
    chances = tuple(_chances(aims.limits, history, space, levels))
    factors = chances + (tuple(_per_second(history)) if aims.per_second else ())
    situation = Situation(fitted, history, space, seed, aims.against, keeping(aims.limits, history), held or {})
    acquisition = choose(situation)
    return Steering(chances, factors, acquisition.make(situation), acquisition.in_the_metrics_unit)


def keeping(limits: Sequence[Limit], history: History) -> NDArray[np.bool_]:
    """Which trials keep the limits, judged by the metrics that they reported, shape (n,)."""
    reported = {limit.metric: history.reported(limit.metric) for limit in limits}
    rows = [{name: values[i] for name, values in reported.items()} for i in range(len(history.y))]
    return np.array([all(limit.kept_by(row) for limit in limits) for row in rows], dtype=np.bool_)


def _chances(limits: Sequence[Limit], history: History, space: Space, levels: int) -> list[LogFactor]:
    """log of the probability that each limit is kept; limits on a metric that too few trials report are left out."""
    chances = []
    for limit in limits:
        values = history.reported(limit.metric)
        reported = np.isfinite(values)
        if reported.sum() < FEWEST_VALUES:
            continue
        level = history.levels[reported]
        of_metric = replace(history, X=history.X[reported], y=values[reported], level=level, gradient=None, reports=())
        unit = of_metric.spread
        of_metric = of_metric.divided(unit)
        below, above = (None if end is None else end / unit for end in (limit.below, limit.above))
        chances.append(keeps(fit_history(of_metric, space, levels), of_metric.y, below=below, above=above))
    return chances


def _per_second(history: History) -> list[LogFactor]:
    """log of one over the time that a full evaluation takes; empty where too few trials report their time."""
    seconds = history.reported(SECONDS.name)
    timed = seconds > 0
    return [cheapness(history.X[timed], seconds[timed])] if timed.sum() >= FEWEST_VALUES else []
