"""Samplers of Optuna, each made so that stopping and resuming does not change the search."""

from __future__ import annotations

import copy
import warnings
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

from autotune.search.request import Request


def random(request: Request) -> BaseSampler:
    """Uniform over the ranges, log-uniform on a log scale."""
    return RandomSampler(seed=request.trial_seed)


def gp(request: Request) -> BaseSampler:
    """Optuna's own Gaussian process with log-EI; parameters that some trial lacks are drawn at random."""
    return GPSampler(seed=request.trial_seed, n_startup_trials=request.startup(10), warn_independent_sampling=False)


def tpe(request: Request) -> BaseSampler:
    """Optuna's tree-structured Parzen estimator, multivariate (the default of Optuna 5).

    With conditions, one estimator for every group of dimensions that are always active together: without groups it
    would model only the dimensions that all trials have.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # group: in Optuna since 2.8 and unchanged
        return TPESampler(
            seed=request.trial_seed,
            n_startup_trials=request.startup(10),
            multivariate=True,
            group=request.space.conditional,
        )


def cmaes(request: Request) -> BaseSampler:
    """CMA-ES from the middle of the ranges; categorical and conditional parameters are drawn at random.

    Its state is in the trials' attributes, and it reseeds itself for every trial.
    """
    space = request.space
    always = {d.name: d.distribution for d in space.dimensions if not d.when and d.type != "categorical"}

    class CmaEs(CmaEsSampler):
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            # Optuna's own takes the dimensions that all trials so far have, and stops working once they get fewer.
            return (
                dict(sorted(always.items())) if space.conditional else super().infer_relative_search_space(study, trial)
            )

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            # Optuna adds the trial's number to the seed; an interrupted trial would shift it by one.
            trial = copy.copy(trial)
            trial.number = request.index
            return super().sample_relative(study, trial, search_space)

    return CmaEs(seed=request.trial_seed, n_startup_trials=request.startup(1), warn_independent_sampling=False)


def sobol(request: Request) -> BaseSampler:
    """Optuna's Sobol sampler, changed to begin with the first trial and to use the trial's own place in the sequence.

    Trial ``index`` takes point ``index`` of the scrambled sequence, without the coordinates of inactive dimensions.
    Optuna's own draws at random until a trial has finished, which a fresh sampler would do with the same numbers again,
    and it takes the place after the last trial asked, so that an interrupted trial leaves a gap.
    """

    class Sobol(QMCSampler):
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return request.space.distributions()

        def _find_sample_id(self, study: Any, search_space: Any) -> int:
            return request.index

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # in Optuna since 3.0 and unchanged
        return Sobol(scramble=True, seed=request.study_seed, warn_independent_sampling=False)
