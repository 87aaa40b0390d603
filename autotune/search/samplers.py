"""The samplers a study may name, each built so that stopping and resuming does not change the search.

The tuner makes a fresh sampler for every trial. A sampler's random numbers come from the study's seed and the trial's
place in the search (``index``), and everything else that it needs is in the trial store. So a new process continues
where the old one ended, and an interrupted trial gets the same proposal again.

A new sampler is a file with a function that makes it, and a row of :data:`KINDS`. A row names the function and does not
import it: Optuna and the surrogate take seconds to import, and a study file is read without them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from autotune.objective import Value
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
        make: dotted path ``module:function`` of the function that makes the sampler for a trial, given a
            :class:`autotune.search.request.Request`.
        takes_startup: whether the sampler begins with trials of another kind, and so takes ``startup_trials``.
        has_model: whether its model learns from cheap evaluations and earlier studies, weighs several metrics and the
            time of a trial, expects an improvement of each trial (``expects``), and can ask for a full evaluation at
            the highest posterior mean.
        needs_gradients: whether it moves only numbers with a fraction, and needs the metric's derivative for each.
    """

    make: str
    takes_startup: bool = False
    has_model: bool = False
    needs_gradients: bool = False


KINDS = {
    "random": Kind("autotune.search.optuna_samplers:random"),
    "qmc": Kind("autotune.search.optuna_samplers:sobol"),
    "tpe": Kind("autotune.search.optuna_samplers:tpe", takes_startup=True),
    "cmaes": Kind("autotune.search.optuna_samplers:cmaes", takes_startup=True),
    "optuna-gp": Kind("autotune.search.optuna_samplers:gp", takes_startup=True),
    "gp": Kind("autotune.search.gp_sampler:make_sampler", takes_startup=True, has_model=True),
    "gradient": Kind("autotune.search.gradient_descent:make_sampler", needs_gradients=True),
}
"""The samplers by name. The function that a row names says what its sampler does."""

SAMPLERS: tuple[str, ...] = tuple(KINDS)
TAKES_STARTUP: tuple[str, ...] = tuple(name for name, kind in KINDS.items() if kind.takes_startup)
WITH_MODEL: tuple[str, ...] = tuple(name for name, kind in KINDS.items() if kind.has_model)

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
    held: Mapping[str, Value] | None = None,
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
        levels: for the samplers of :data:`WITH_MODEL`; None where every evaluation is full.
        sources: for these too: the earlier studies that ``levels`` counts.
        aims: for these too: limits and metrics beside the tuned one that steer the search; None for that alone.
        held: for these too: name -> value of the float dimensions that have this value in the trial, whoever chose it;
            the others are proposed for it.

    Raises:
        ValueError: ``name`` is not a sampler, or the sampler takes no ``startup_trials``, or proposes for no values
            that are held.
    """
    if name not in KINDS:
        raise ValueError(f"no sampler is called '{name}'; samplers: {', '.join(SAMPLERS)}")
    if startup_trials is not None and not KINDS[name].takes_startup:
        raise ValueError(f"sampler '{name}' takes no startup_trials; those that do: {', '.join(TAKES_STARTUP)}")
    if held and not KINDS[name].has_model:
        raise ValueError(f"sampler '{name}' proposes for no held values; those that do: {', '.join(WITH_MODEL)}")
    module, _, function = KINDS[name].make.partition(":")
    make: Callable[[Request], BaseSampler] = getattr(importlib.import_module(module), function)
    return make(Request(space, seed, index, startup_trials, levels, sources, aims, held or {}))
