"""The samplers a study may name, each built so that stopping and resuming does not change the search.

The tuner makes a fresh sampler for every trial. A sampler's random numbers come from the study's seed and the trial's
place in the search (``index``), and everything else that it needs is in the trial store. So a new process continues
where the old one ended, and an interrupted trial gets the same proposal again.

A new sampler is a file that makes it, a function here that imports that file, and a row of :data:`KINDS`.
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
        make: makes the sampler for a trial. It imports Optuna and the surrogate only when called: that takes seconds.
        takes_startup: whether the sampler begins with trials of another kind, and so takes ``startup_trials``.
    """

    make: Callable[[Request], BaseSampler]
    takes_startup: bool = False


def _random(request: Request) -> BaseSampler:
    """Uniform over the ranges (log-uniform on a log scale)."""
    from autotune.search import optuna_samplers

    return optuna_samplers.random(request)


def _sobol(request: Request) -> BaseSampler:
    """Scrambled Sobol sequence: trial ``index`` takes point ``index``, without coordinates of inactive dimensions."""
    from autotune.search import optuna_samplers

    return optuna_samplers.sobol(request)


def _tpe(request: Request) -> BaseSampler:
    """Optuna's tree-structured Parzen estimator, multivariate (the default of Optuna 5).

    With conditions, one estimator for every group of dimensions that are always active together.
    """
    from autotune.search import optuna_samplers

    return optuna_samplers.tpe(request)


def _cmaes(request: Request) -> BaseSampler:
    """CMA-ES from the middle of the ranges; categorical and conditional parameters are drawn at random."""
    from autotune.search import optuna_samplers

    return optuna_samplers.cmaes(request)


def _optuna_gp(request: Request) -> BaseSampler:
    """Optuna's own Gaussian process with log-EI; parameters that some trial lacks are drawn at random."""
    from autotune.search import optuna_samplers

    return optuna_samplers.gp(request)


def _gp(request: Request) -> BaseSampler:
    """The surrogate of this package: :class:`autotune.search.gp_sampler.GaussianProcessSampler`."""
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
    """Gradient descent from the nominal values: :class:`autotune.search.gradient_descent.GradientSampler`."""
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
"""The samplers by name; each row's function says what the sampler does."""

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

    Args:
        name: one of :data:`SAMPLERS`; see :data:`KINDS`.
        space: the search space.
        seed: the study's seed, 0 or more.
        index: the trial's place in the search: the number of trials before it that are finished, failed, pruned or
            running, but not interrupted. Trials asked at the same time need different indices, or ``random`` gives
            them the same values.
        startup_trials: trials before the sampler's own method begins; None for its default (10 for ``tpe``
            and ``optuna-gp``, 1 for ``cmaes``, one more than half the dimensions but at least 4 for ``gp``).
        levels: for ``gp``; None where every evaluation is full.
        sources: for ``gp``: the earlier studies that ``levels`` counts.
        aims: for ``gp``: limits and metrics beside the tuned one that steer the search; None for that alone.

    Raises:
        ValueError: ``name`` is not a sampler, or the sampler takes no ``startup_trials``.
    """
    if name not in KINDS:
        raise ValueError(f"no sampler is called '{name}'; samplers: {', '.join(SAMPLERS)}")
    if startup_trials is not None and not KINDS[name].takes_startup:
        raise ValueError(f"sampler '{name}' takes no startup_trials; those that do: {', '.join(TAKES_STARTUP)}")
    return KINDS[name].make(Request(space, seed, index, startup_trials, levels, sources, aims))
