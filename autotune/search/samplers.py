"""The samplers a study may name, each built so that stopping and resuming does not change the search.

The tuner makes a fresh sampler for every trial. A sampler's random numbers come from the study's seed and the
number of trials before (``index``), and what else it needs is in the trial store, so a new process continues
where the old one ended, and a trial that was interrupted gets the same proposal again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from autotune.problem.goals import Aims
from autotune.problem.levels import Levels
from autotune.problem.space import Space
from autotune.search.request import Request

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study


@dataclass(frozen=True)
class Kind:
    """One row of the table of samplers.

    Attributes:
        make: makes the sampler for a trial. It imports Optuna and the surrogate itself, which take seconds.
        takes_startup: whether the sampler begins with trials of another kind, and so takes ``startup_trials``.
    """

    make: Callable[[Request], BaseSampler]
    takes_startup: bool = False


def _random(request: Request) -> BaseSampler:
    from autotune.search import optuna_samplers

    return optuna_samplers.random(request)


def _sobol(request: Request) -> BaseSampler:
    from autotune.search import optuna_samplers

    return optuna_samplers.sobol(request)


def _tpe(request: Request) -> BaseSampler:
    from autotune.search import optuna_samplers

    return optuna_samplers.tpe(request)


def _cmaes(request: Request) -> BaseSampler:
    from autotune.search import optuna_samplers

    return optuna_samplers.cmaes(request)


def _optuna_gp(request: Request) -> BaseSampler:
    from autotune.search import optuna_samplers

    return optuna_samplers.gp(request)


def _gp(request: Request) -> BaseSampler:
    from autotune.search.gp_sampler import GaussianProcessSampler

    return GaussianProcessSampler(
        request.space,
        seed=request.seed,
        startup_trials=request.startup_trials,
        levels=request.levels,
        sources=request.sources,
        aims=request.aims,
    )


def _gradient(request: Request) -> BaseSampler:
    from autotune.search.gradient_descent import GradientSampler

    return GradientSampler(request.space, seed=request.study_seed)


KINDS = {
    "random": Kind(_random),
    "qmc": Kind(_sobol),
    "tpe": Kind(_tpe, takes_startup=True),
    "cmaes": Kind(_cmaes, takes_startup=True),
    "optuna-gp": Kind(_optuna_gp, takes_startup=True),
    "gp": Kind(_gp, takes_startup=True),
    "gradient": Kind(_gradient),
}
"""The samplers by name. A new one is a file that makes it, and a row here."""

SAMPLERS: tuple[str, ...] = tuple(KINDS)
TAKES_STARTUP: tuple[str, ...] = tuple(name for name, kind in KINDS.items() if kind.takes_startup)

if TYPE_CHECKING:
    Sampler = str
else:
    Sampler = Literal[SAMPLERS]
"""``search.sampler`` in study.yaml."""


def make_sampler(
    name: str,
    space: Space,
    *,
    seed: int,
    index: int,
    startup_trials: int | None = None,
    levels: Levels | None = None,
    sources: Sequence[Study] = (),
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
        sources: for ``gp``: the earlier studies that ``levels`` counts.
        aims: for ``gp``: what to steer by beside the tuned metric; None for that alone.

    Raises:
        ValueError: ``name`` is not a sampler, or the sampler takes no ``startup_trials``.
    """
    if name not in KINDS:
        raise ValueError(f"no sampler is called '{name}'; samplers: {', '.join(SAMPLERS)}")
    if startup_trials is not None and not KINDS[name].takes_startup:
        raise ValueError(f"sampler '{name}' takes no startup_trials; those that do: {', '.join(TAKES_STARTUP)}")
    return KINDS[name].make(Request(space, seed, index, startup_trials, levels, sources, aims))
