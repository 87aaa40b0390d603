"""The proposer: where to evaluate next, given the trials so far. It knows no Optuna.

    symbol    shape   meaning
    k                 dimensions of the space (tuned parameters)
    D                 unit-cube coordinates: one per float or int dimension, one per choice of a categorical
    n                 trials with a finite value
    m, f              running trials; trials that ended without a value
    X         (n, D)  evaluated points of the unit cube; ints at the middle of their cell, choices one-hot
    y         (n,)    values, larger is better (the sign is turned for a study that minimises)
    pending   (m, D)  points of running trials
    failed    (f, D)  points of trials that ended without a value
    position          place of the trial asked in the search, from 0; decides startup or model, and seeds the proposal

A proposal depends on the seed and on the history alone, not on a state of the proposer. A new process, or a new
proposer for every trial, therefore proposes the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from autotune.objective import Value
from autotune.problem.goals import Aims
from autotune.problem.levels import Levels
from autotune.problem.space import Floats, Space
from autotune.problem.twins import twin_at
from autotune.surrogate.model.coordinates import Coordinates
from autotune.surrogate.model.history import FEWEST_VALUES, History
from autotune.surrogate.model.value_model import FittedModel, fit_history
from autotune.surrogate.numerics import quiet_and_seeded
from autotune.surrogate.propose.acquisition_factors import LogFactor, success
from autotune.surrogate.propose.acquisition_optimisation import maximise, with_held
from autotune.surrogate.propose.choice_of_level import most_telling
from autotune.surrogate.propose.first_points import default_startup_trials, startup_point, startup_value
from autotune.surrogate.propose.incumbent import incumbent
from autotune.surrogate.propose.known_points import is_known
from autotune.surrogate.propose.probing import probe
from autotune.surrogate.propose.steering import steer

if TYPE_CHECKING:
    from autotune.surrogate.model.gradient_model import GradientGP

AFTER_SOURCES = 5
"""Trials without gradients, after one at an earlier study's optimum, that show whether that study misleads."""
PROBE_BELOW = 0.03
"""Expected improvement, as a share of the standard deviation of the values, below which the proposer probes."""


@dataclass(frozen=True)
class Asked:
    """A proposal: the point to evaluate next, and at which level.

    Attributes:
        point: point of the unit cube, shape (D,).
        level: level of the evaluation, 0 for a full one.
        expected_improvement: in the unit of the values; None where no model was fitted, or where improvements have
            another unit.
        finish: whether it checks the answer: the point is the incumbent, unless that has been evaluated in full.
    """

    point: Floats
    level: int = 0
    expected_improvement: float | None = None
    finish: bool = False


class Proposer:
    """Fits a Gaussian process to the trials so far and maximises an expected improvement.

    The first ``startup_trials`` trials follow a scrambled Sobol sequence. A trial with the user's stated values counts
    as one of them.

    Where cheap evaluations are allowed, the model is of all levels, the point is chosen by the expected improvement of
    a full evaluation there, and the level is the one that tells most about that per unit of cost.

    Args:
        space: the search space.
        seed: equal seeds and equal histories give equal proposals on one machine.
        startup_trials: trials before the first model; None for one more than half the dimensions, at least 4; for as
            many as dimensions where trials carry gradients along all of them.
        levels: cheap evaluations and earlier studies; None for full evaluations alone.
        aims: limits, other metrics and time, by which the search is steered too.
        held: name of a float dimension -> the value that it has in the next trial, such as a temperature that nobody
            sets: the others are proposed for it.

    Raises:
        ValueError: ``startup_trials`` is negative, or a dimension that is held is no float of the space.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        startup_trials: int | None = None,
        levels: Levels | None = None,
        aims: Aims | None = None,
        held: Mapping[str, Value] | None = None,
    ) -> None:
        if startup_trials is not None and startup_trials < 0:
            raise ValueError(f"startup_trials is {startup_trials}; it must be 0 or more")
        self._space = space
        self._seed = seed
        self._startup_trials = startup_trials
        self._levels = levels or Levels()
        self._aims = aims or Aims()
        self._held = _columns(space, held or {})
        # The sequence is the study's, so its seed must not change with the position.
        self._start_seed = int(np.random.SeedSequence(seed).generate_state(1)[0])

    def ask(self, history: History) -> Asked:
        """Propose the trial after ``history``; the unit of its values does not matter."""
        # Limits and tolerances of the model are absolute.
        unit = history.spread
        asked = self._ask(history.divided(unit), unit)
        if self._held:
            asked = replace(asked, point=with_held(asked.point[None], self._held)[0])
        expected = asked.expected_improvement
        return asked if expected is None else replace(asked, expected_improvement=unit * expected)

    def start_value(self, name: str, position: int) -> Value:
        """The value that the starting sequence has for one parameter of the trial at ``position``."""
        return startup_value(self._space, name, seed=self._start_seed, position=position)

    def _startup(self, history: History) -> int:
        """Number of trials before the first model: the user's, or the default.

        0 after an earlier study, or a few that test that study where there are no gradients. As many as dimensions
        where trials carry gradients along all of them: half as many would determine a quadratic, but fewer led into a
        wrong basin in one of five calibrations, at 15 trials each.
        """
        if self._startup_trials is not None:
            return self._startup_trials
        if self._levels.sources:
            return 0 if history.has_gradient or history.position == 0 else AFTER_SOURCES
        if history.has_full_gradient and not self._aims.against:  # other metrics bring no gradients
            return max(FEWEST_VALUES, len(self._space.dimensions))
        return default_startup_trials(self._space)

    def _ask(self, history: History, unit: float) -> Asked:
        """As :meth:`ask`, for values divided by ``unit``."""
        words = np.random.SeedSequence([self._seed, history.position]).generate_state(2)
        elsewhere = partial(startup_point, self._space, seed=self._start_seed, position=history.position)
        finish = self._levels.finish
        first = 0 if finish else self._levels.cheapest  # the level of a trial that no model chose
        if len(history.y) < FEWEST_VALUES or (history.position < self._startup(history) and not finish):
            return Asked(elsewhere(), first)
        with quiet_and_seeded(int(words[0])):
            fitted = fit_history(history, self._space, self._levels.count)
            own = history.of_levels(len(self._levels.costs))
            if len(own.y) == 0:  # start at the optimum of the earlier studies
                point = incumbent(fitted, history, self._space)
                # Unless it has failed there, or runs.
                return Asked(elsewhere() if is_known(point, history, first) else point, first)
            levels, held = len(self._levels.costs), self._held
            steering = steer(self._aims, fitted, own, self._space, levels, seed=int(words[1]), held=held)
            factors = [*_factors(own), *steering.factors]
            proposal = maximise(steering.improvement, own, self._space, seed=int(words[1]), factors=factors, held=held)
            improvement = steering.expected_improvement(proposal)
            if finish:
                answer = self._right(incumbent(fitted, own, self._space, steering.chances), own)
                again = is_known(answer, own.at_level(0), 0)
                return Asked(proposal.point if again else answer, 0, improvement, finish=True)
            if self._probes(own, improvement, unit):
                answer = incumbent(fitted, own, self._space, steering.chances)
                tests = probe(fitted, own, self._space, answer)
                return Asked(elsewhere() if tests is None else tests, self._levels.cheapest, improvement)
            return Asked(proposal.point, self._level(fitted, own, proposal.point), improvement)

    def _right(self, answer: Floats, history: History) -> Floats:
        """The answer, (D,), or its twin where the trial nearest to it shows that this one is right."""
        twin = self._aims.twin
        if twin is None:
            return answer
        reported = history.reported(twin.metric)
        known = np.isfinite(reported)
        nearest = np.square(history.X[known] - answer).sum(axis=1)
        if len(nearest) == 0 or reported[known][nearest.argmin()] >= 0:
            return answer
        other = twin_at(twin, answer, self._space)
        return answer if other is None else other

    def _level(self, fitted: FittedModel, history: History, point: Floats) -> int:
        """The level of a trial at a point that tells most per unit of cost about a full evaluation there."""
        if len(self._levels.costs) == 1:
            return 0
        return most_telling(cast("GradientGP", fitted.model), point, history, self._levels.costs)

    def _probes(self, history: History, expected_improvement: float | None, unit: float) -> bool:
        """Whether to probe: to test the answer where no trial has, instead of taking the model's point.

        Always once the model expects no improvement that matters, and every other trial once it expects little.
        Gradients along all dimensions make a model sure of its basin, and too sure of places it has never seen. Where
        it is right, a probe costs little; where it is wrong, only a probe can show it. Measured on the demo's
        measurement: 2 of 6 seeds stayed in a wrong basin for 30 trials, with probes none beyond 24.
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


def _columns(space: Space, held: Mapping[str, Value]) -> dict[int, float]:
    """Column of each dimension that is held -> its coordinate."""
    floats = {d.name: (d, start) for d, start in Coordinates(space).columns if d.type == "float"}
    if unknown := [name for name in held if name not in floats]:
        raise ValueError(f"only a float of the space can be held, not {', '.join(unknown)}")
    return {floats[name][1]: floats[name][0].to_unit(value)[0] for name, value in held.items()}


def _factors(history: History) -> list[LogFactor]:
    """Factors of the expected improvement whatever the aims: the chance of success, once a trial has failed."""
    if history.failed is None or len(history.failed) == 0:
        return []
    return [success(history.X, history.failed)]
