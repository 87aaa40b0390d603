"""Where to evaluate next: what the surrogate proposes after the trials so far. It knows no Optuna.

    symbol    shape   meaning
    k                 dimensions of the space (tuned parameters)
    D                 unit-cube coordinates: one per float or int dimension, one per choice of a categorical
    n                 trials with a finite value
    m, f              trials that run; that ended without a value
    X         (n, D)  evaluated points of the unit cube; ints at the middle of their cell, choices one-hot
    y         (n,)    values, larger is better (the sign is turned for a study that minimises)
    pending   (m, D)  points of running trials
    failed    (f, D)  points of trials that ended without a value
    position          trials that count before the one asked; decides startup or model, and seeds the proposal

A proposal depends on the seed and on the history, on nothing that the proposer keeps. A new process, or a new proposer
for every trial, therefore proposes what the old one would have.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from autotune.objective import Value
from autotune.problem.goals import Aims
from autotune.problem.levels import Levels
from autotune.problem.space import Floats, Space
from autotune.surrogate.model.history import History
from autotune.surrogate.model.value_model import FittedModel, fit_history
from autotune.surrogate.numerics import quiet_and_seeded
from autotune.surrogate.propose.acquisition_factors import LogFactor, success
from autotune.surrogate.propose.acquisition_optimisation import maximise
from autotune.surrogate.propose.choice_of_level import most_telling
from autotune.surrogate.propose.first_points import default_startup_trials, startup_point, startup_value
from autotune.surrogate.propose.incumbent import incumbent
from autotune.surrogate.propose.known_points import is_known
from autotune.surrogate.propose.steering import steer

if TYPE_CHECKING:
    from autotune.surrogate.model.gradient_model import GradientGP

# Fewer values than this say nothing about how the metric varies.
FEWEST_VALUES = 2
# Trials without gradients, after the first one at an earlier study's optimum, that show whether that study misleads.
AFTER_SOURCES = 5
# Share of the standard deviation of the values; see _probes.
PROBE_BELOW = 0.03


@dataclass(frozen=True)
class Asked:
    """What the sampler asked for last.

    Attributes:
        point: of the unit cube, shape (D,).
        level: 0 for a full evaluation.
        expected_improvement: in the unit of the values; None where the point came from the starting sequence alone.
        finish: whether it was asked as the answer.
    """

    point: Floats
    level: int = 0
    expected_improvement: float | None = None
    finish: bool = False


class Proposer:
    """Fits a Gaussian process to the trials so far and maximises an expected improvement.

    The first ``startup_trials`` trials follow a scrambled Sobol sequence. A trial with the user's stated values counts
    as one of them.

    Where cheap evaluations are allowed, the model is of all levels, the point is chosen for what a full evaluation is
    expected to yield there, and the level is the one that tells most about that per unit of cost.

    Args:
        space: the search space.
        seed: equal seeds and equal histories give equal proposals on one machine.
        startup_trials: trials before the first model; None for one more than half the dimensions, at least 4; for as
            many as dimensions where trials carry gradients along all of them.
        levels: cheap evaluations and earlier studies; None for full evaluations alone.
        aims: limits, other metrics and time, by which the search is steered too.

    Raises:
        ValueError: ``startup_trials`` is negative.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        startup_trials: int | None = None,
        levels: Levels | None = None,
        aims: Aims | None = None,
    ) -> None:
        if startup_trials is not None and startup_trials < 0:
            raise ValueError(f"startup_trials is {startup_trials}; it must be 0 or more")
        self._space = space
        self._seed = seed
        self._startup_trials = startup_trials
        self._levels = levels or Levels()
        self._aims = aims or Aims()
        # The sequence is the study's, so its seed must not change with the position.
        self._start_seed = int(np.random.SeedSequence(seed).generate_state(1)[0])

    def ask(self, history: History) -> Asked:
        """What to try after ``history``, whatever the unit of its values: limits of numerics are absolute."""
        unit = history.spread
        asked = self._ask(history.divided(unit), unit)
        expected = asked.expected_improvement
        return asked if expected is None else replace(asked, expected_improvement=unit * expected)

    def start_value(self, name: str, position: int) -> Value:
        """The starting sequence's value of one parameter for the trial at ``position``."""
        return startup_value(self._space, name, seed=self._start_seed, position=position)

    def _startup(self, history: History) -> int:
        """Trials before the first model: what the user states, or the default.

        None after an earlier study, or a few that test it where there are no gradients. As many as dimensions where
        trials carry gradients along all of them: half of that would tell a quadratic, but fewer led into a wrong basin
        in one of five calibrations, at 15 trials each.
        """
        if self._startup_trials is not None:
            return self._startup_trials
        if self._levels.sources:
            return 0 if history.has_gradient or history.position == 0 else AFTER_SOURCES
        if history.has_full_gradient and not self._aims.against:  # other metrics bring no gradients
            return max(FEWEST_VALUES, len(self._space.dimensions))
        return default_startup_trials(self._space)

    def _ask(self, history: History, unit: float) -> Asked:
        """As :meth:`ask`, of values over ``unit``."""
        words = np.random.SeedSequence([self._seed, history.position]).generate_state(2)
        elsewhere = partial(startup_point, self._space, seed=self._start_seed, position=history.position)
        finish = self._levels.finish
        first = 0 if finish else self._levels.cheapest  # the level of a trial that no model chose
        if len(history.y) < FEWEST_VALUES or (history.position < self._startup(history) and not finish):
            return Asked(elsewhere(), first)
        with quiet_and_seeded(int(words[0])):
            fitted = fit_history(history, self._space, self._levels.count)
            own = history.of_levels(len(self._levels.costs))
            if len(own.y) == 0:  # where the earlier studies end
                point = incumbent(fitted, history, self._space)
                # Tried in vain, or being tried.
                return Asked(elsewhere() if is_known(point, history, first) else point, first)
            steering = steer(self._aims, fitted, own, self._space, len(self._levels.costs), seed=int(words[1]))
            factors = [*_factors(own), *steering.factors]
            proposal = maximise(steering.improvement, own, self._space, seed=int(words[1]), factors=factors)
            improvement = steering.expected_improvement(proposal)
            if finish:
                answer = incumbent(fitted, own, self._space, steering.chances)
                again = is_known(answer, own.at_level(0), 0)
                return Asked(proposal.point if again else answer, 0, improvement, finish=True)
            if self._probes(own, improvement, unit):
                return Asked(elsewhere(), self._levels.cheapest, improvement)
            return Asked(proposal.point, self._level(fitted, own, proposal.point), improvement)

    def _level(self, fitted: FittedModel, history: History, point: Floats) -> int:
        """The level of a trial at a point that tells most per unit of cost about a full evaluation there."""
        if len(self._levels.costs) == 1:
            return 0
        return most_telling(cast("GradientGP", fitted.model), point, history, self._levels.costs)

    def _probes(self, history: History, expected_improvement: float | None, unit: float) -> bool:
        """Whether to look elsewhere in the starting sequence: once the model expects nothing that matters, and every
        other trial once it expects little.

        Gradients along all dimensions make a model sure of its basin, and too sure of what it has never seen. Where it
        is right, such a trial costs little; where it is wrong, nothing else tells. Measured on the demo's measurement:
        2 of 6 seeds stayed in a wrong basin for 30 trials, with probes none beyond 24.
        """
        if not history.has_gradient or expected_improvement is None:
            return False
        if self._levels.tolerance is not None and expected_improvement < self._levels.tolerance / unit:
            return True
        # A search that began with many cheap trials has looked around already.
        little = PROBE_BELOW * float(history.y.std())
        if expected_improvement >= little or len(self._levels.costs) > 1:
            return False
        before = itertools.takewhile(lambda e: e is not None and e < little, reversed(history.expected))
        return sum(1 for _ in before) % 2 == 1


def _factors(history: History) -> list[LogFactor]:
    """What the expected improvement is multiplied by: the chance of success, once a trial has failed."""
    if history.failed is None or len(history.failed) == 0:
        return []
    return [success(history.X, history.failed)]
