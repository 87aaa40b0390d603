"""The samplers a study may name, each built so that stopping and resuming does not change the search.

The tuner makes a fresh sampler for every trial. A sampler's random numbers come from the study's seed and the
number of trials before (``index``), and what else it needs is in the trial store, so a new process continues
where the old one ended, and a trial that was interrupted gets the same proposal again.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from autotune.problem.goals import Aims
from autotune.problem.space import Space

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study

Sampler = Literal["random", "qmc", "tpe", "cmaes", "optuna-gp", "gp", "gradient"]
"""``search.sampler`` in study.yaml."""

SAMPLERS: tuple[str, ...] = get_args(Sampler)


@dataclass(frozen=True)
class Levels:
    """What the sampler ``gp`` may ask for and learn from, beside full evaluations.

    Attributes:
        costs: of a full evaluation (1) and of each cheap one, as fractions of it; a trial of level l costs
            ``costs[l]``.
        sources: earlier studies of the same parameters, whose full evaluations are further levels.
        finish: the next trial is to be a full evaluation where the model's mean is highest.
        tolerance: an improvement that does not matter; None where any does.
    """

    costs: tuple[float, ...] = (1.0,)
    sources: tuple[Study, ...] = ()
    finish: bool = False
    tolerance: float | None = None

    @property
    def cheapest(self) -> int:
        """The level that costs least."""
        return int(np.argmin(self.costs))

    @property
    def count(self) -> int:
        """Those that can be evaluated, and the sources."""
        return len(self.costs) + len(self.sources)


TAKES_STARTUP = ("tpe", "cmaes", "optuna-gp", "gp")
"""Samplers that begin with trials of another kind, and so take ``startup_trials``."""


def make_sampler(
    name: str,
    space: Space,
    *,
    seed: int,
    index: int,
    startup_trials: int | None = None,
    levels: Levels | None = None,
    aims: Aims | None = None,
) -> BaseSampler:
    """Make the sampler for one trial.

    Where dimensions have conditions, a trial is asked for the active ones only
    (:meth:`autotune.problem.space.Space.suggest`).

    - ``random``: uniform over the ranges (log-uniform on a log scale).
    - ``qmc``: scrambled Sobol sequence; trial ``index`` takes point ``index``; its coordinates of inactive
      dimensions are not used.
    - ``tpe``: Optuna's tree-structured Parzen estimator, multivariate (the default of Optuna 5); with
      conditions, one estimator for every group of dimensions that are always active together.
    - ``cmaes``: CMA-ES from the middle of the ranges; categorical parameters are drawn at random, and so are
      those with conditions.
    - ``optuna-gp``: Optuna's own Gaussian process with log-EI; parameters that some trial has not got are drawn at
      random.
    - ``gp``: ours, :class:`autotune.search.gp_sampler.GaussianProcessSampler`.
    - ``gradient``: gradient descent from the nominal values, :class:`autotune.search.gradient_descent.GradientSampler`.

    Args:
        name: one of :data:`SAMPLERS`.
        space: the search space.
        seed: the study's seed, 0 or more.
        index: number of trials before this one that count: finished, failed, pruned or running, not
            interrupted. Trials asked at the same time need different indices, or ``random`` gives them the
            same values.
        startup_trials: trials before the sampler's own method begins; None for its default (10 for ``tpe``
            and ``optuna-gp``, 1 for ``cmaes``, one more than half the dimensions but at least 4 for ``gp``).
        levels: for ``gp``; None where every evaluation is full.
        aims: for ``gp``: what to steer by beside the tuned metric; None for that alone.

    Raises:
        ValueError: ``name`` is not a sampler, or the sampler takes no ``startup_trials``.
    """
    if name not in SAMPLERS:
        raise ValueError(f"no sampler is called '{name}'; samplers: {', '.join(SAMPLERS)}")
    if startup_trials is not None and name not in TAKES_STARTUP:
        raise ValueError(f"sampler '{name}' takes no startup_trials; those that do: {', '.join(TAKES_STARTUP)}")
    if name == "gp":
        from autotune.search.gp_sampler import GaussianProcessSampler

        return GaussianProcessSampler(space, seed=seed, startup_trials=startup_trials, levels=levels, aims=aims)
    if name == "gradient":
        from autotune.search.gradient_descent import GradientSampler

        return GradientSampler(space, seed=_derived(seed))
    if name == "qmc":
        return _sobol(space, seed, index)
    return _from_optuna(name, space, _derived(seed, index), index, startup_trials)


def _derived(*entropy: int) -> int:
    """A 32-bit seed from several numbers; neighbouring numbers give unrelated seeds."""
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def _from_optuna(name: str, space: Space, seed: int, index: int, startup_trials: int | None) -> BaseSampler:
    from optuna.samplers import GPSampler, RandomSampler

    if name == "random":
        return RandomSampler(seed=seed)
    if name == "cmaes":
        return _cmaes(space, seed, index, 1 if startup_trials is None else startup_trials)
    startup = 10 if startup_trials is None else startup_trials
    if name == "tpe":
        return _tpe(space, seed, startup)
    return GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)


def _tpe(space: Space, seed: int, startup_trials: int) -> BaseSampler:
    """Multivariate TPE; with conditions in groups, without which it knows only the dimensions of all trials."""
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import TPESampler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # group: in Optuna since 2.8 and unchanged
        return TPESampler(seed=seed, n_startup_trials=startup_trials, multivariate=True, group=space.conditional)


def _cmaes(space: Space, seed: int, index: int, startup_trials: int) -> BaseSampler:
    """CMA-ES; its state is in the trials' attributes, and it reseeds itself for every trial."""
    from optuna.samplers import CmaEsSampler

    always = {d.name: d.distribution for d in space.dimensions if not d.when and d.type != "categorical"}

    class CmaEs(CmaEsSampler):
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            # As it comes, it takes what all trials so far have, and gives up for good once that gets smaller.
            return (
                dict(sorted(always.items())) if space.conditional else super().infer_relative_search_space(study, trial)
            )

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            # Optuna adds the trial's number to the seed; an interrupted trial would shift it by one.
            trial = copy.copy(trial)
            trial.number = index
            return super().sample_relative(study, trial, search_space)

    return CmaEs(seed=seed, n_startup_trials=startup_trials, warn_independent_sampling=False)


def _sobol(space: Space, seed: int, index: int) -> BaseSampler:
    """Optuna's Sobol sampler, made to begin with the first trial and to take the trial's own place.

    As it comes, it draws at random until a trial has finished, which a fresh sampler would do with the same
    numbers again, and it takes the place after the last one asked, so that an interrupted trial leaves a
    hole.
    """
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import QMCSampler

    class Sobol(QMCSampler):
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return space.distributions()

        def _find_sample_id(self, study: Any, search_space: Any) -> int:
            return index

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # in Optuna since 3.0 and unchanged
        return Sobol(scramble=True, seed=_derived(seed), warn_independent_sampling=False)
