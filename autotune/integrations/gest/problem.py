"""A VOCS as a problem of the tuner: search space, metrics, limits; and whatever of it the tuner cannot do, refused."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gest_api.vocs import (
    VOCS,
    BaseConstraint,
    BoundsConstraint,
    ContextualVariable,
    DiscreteVariable,
    GreaterThanConstraint,
    LessThanConstraint,
    MaximizeObjective,
    MinimizeObjective,
)

from autotune.errors import near_miss
from autotune.integrations.gest.variables import Context, Variable, context_of, require_scalar, variable_of
from autotune.objective import Metric
from autotune.problem.goals import SECONDS, Aims, Limit
from autotune.problem.space import Space
from autotune.search.samplers import KINDS, TAKES_STARTUP, WITH_MODEL
from autotune.study.aims import MOST_AGAINST

ID = "_id"
"""The key by which a result names the point that the generator suggested."""


@dataclass(frozen=True)
class Options:
    """How to search: what a VOCS does not say.

    Attributes:
        sampler, seed, startup_trials: as in :class:`autotune.search.tuner.Search`.
        log: names of the continuous variables whose scale is logarithmic.
        gradients: name of a continuous variable -> name of the observable that is the derivative of the first
            objective by it, per unit of the variable.
    """

    sampler: str = "gp"
    seed: int = 0
    startup_trials: int | None = None
    log: tuple[str, ...] = ()
    gradients: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GestProblem:
    """A VOCS, as the tuner sees it.

    Attributes:
        variables: the variables that are searched.
        contexts: those that are observed.
        held: name -> value of the constants and of the discrete variables that have one value.
        metrics: the objectives; the first one is the tuned metric.
        limits: the constraints.
        observables: names of the observables.
    """

    variables: tuple[Variable, ...]
    contexts: tuple[Context, ...]
    held: Mapping[str, Any]
    metrics: tuple[Metric, ...]
    limits: tuple[Limit, ...]
    observables: tuple[str, ...]

    @property
    def aims(self) -> Aims:
        """Limits and the objectives after the first."""
        return Aims(against=self.metrics[1:], limits=self.limits)

    @property
    def reported(self) -> list[str]:
        """Names of the numbers that a result reports beside its objectives."""
        return list(dict.fromkeys([*(limit.metric for limit in self.limits), *self.observables]))

    def space(self, observed: Mapping[str, Sequence[float]]) -> Space:
        """The search space, with the contextual variables of which values are known.

        Args:
            observed: contextual variable -> every value known, of trials or as its default.
        """
        contexts = [c.dimension(observed[c.name]) for c in self.contexts if observed.get(c.name)]
        return Space((*(variable.dimension for variable in self.variables), *contexts))

    def as_dict(self) -> dict[str, Any]:
        """Plain data that identifies the problem, with which a study's store is opened again."""
        variables = Space(tuple(replace(v.dimension, initial=None) for v in self.variables)).as_dict()
        values = {v.name: [repr(value) for value in v.values] for v in self.variables if v.values}
        return {
            "variables": variables,
            "values": values,
            "contexts": [c.name for c in self.contexts],
            "held": {name: repr(value) for name, value in self.held.items()},
            "objectives": {metric.name: metric.goal for metric in self.metrics},
        }


def problem_of(vocs: VOCS, options: Options) -> GestProblem:
    """The problem that a VOCS states.

    Raises:
        ValueError: the tuner cannot search it, or not with these options.
    """
    _require_names(vocs)
    held = {name: constant.value for name, constant in vocs.constants.items()}
    variables, contexts = [], []
    for name, variable in vocs.variables.items():
        if isinstance(variable, ContextualVariable):
            contexts.append(context_of(name, variable))
        elif isinstance(variable, DiscreteVariable) and len(variable.values) == 1:
            held[name] = next(iter(variable.values))
        else:
            variables.append(variable_of(name, variable, name in options.log))
    problem = GestProblem(
        tuple(variables),
        tuple(contexts),
        held,
        tuple(_metric(name, objective) for name, objective in vocs.objectives.items()),
        tuple(_limit(name, constraint) for name, constraint in vocs.constraints.items()),
        tuple(vocs.observables),
    )
    _require_possible(problem, options)
    return problem


def _require_names(vocs: VOCS) -> None:
    inputs = [*vocs.variables, *vocs.constants]
    if ID in [*inputs, *vocs.output_names]:
        raise ValueError(f"'{ID}' is the key of a point's identity; it cannot be a name of the VOCS")
    for name in [*vocs.objectives, *vocs.constraints]:
        if name == SECONDS.name:
            raise ValueError(f"'{name}' is the time of an evaluation; give the objective or constraint another name")
        if name in inputs:
            raise ValueError(f"'{name}' is both put in and reported; give one of them another name")


def _metric(name: str, objective: Any) -> Metric:
    require_scalar(name, objective.dtype)
    if isinstance(objective, MinimizeObjective):
        return Metric(name, "minimize")
    if isinstance(objective, MaximizeObjective):
        return Metric(name, "maximize")
    raise ValueError(f"the objective {name} is a {type(objective).__name__}; it must be minimised or maximised")


def _limit(name: str, constraint: BaseConstraint) -> Limit:
    """A constraint as a limit. LESS_THAN and GREATER_THAN exclude their value, which a limit would allow."""
    require_scalar(name, constraint.dtype)
    if isinstance(constraint, LessThanConstraint):
        return Limit(name, below=math.nextafter(constraint.value, -math.inf))
    if isinstance(constraint, GreaterThanConstraint):
        return Limit(name, above=math.nextafter(constraint.value, math.inf))
    if isinstance(constraint, BoundsConstraint):
        low, high = constraint.range
        return Limit(name, above=low, below=high)
    raise ValueError(
        f"the constraint {name} is a {type(constraint).__name__}; it must be of LESS_THAN, GREATER_THAN, BOUNDS"
    )


def _require_possible(problem: GestProblem, options: Options) -> None:
    """Raise ValueError where the tuner cannot do what VOCS and options ask for together."""
    sampler, names = options.sampler, [variable.name for variable in problem.variables]
    if sampler not in KINDS:
        raise ValueError(f"no sampler is called '{sampler}'; {near_miss(sampler, KINDS)}")
    if options.startup_trials is not None and not (sampler in TAKES_STARTUP and options.startup_trials >= 0):
        raise ValueError(
            f"startup_trials is {options.startup_trials}; it is 0 or more, and for {_words(TAKES_STARTUP)}"
        )
    if not names:
        raise ValueError("the VOCS has no variable to search: continuous, or discrete with several values")
    if not problem.metrics:
        raise ValueError("the VOCS has no objective")
    if len(problem.metrics) > 1 + MOST_AGAINST:
        raise ValueError(f"the VOCS has {len(problem.metrics)} objectives; at most {1 + MOST_AGAINST} can be weighed")
    if sampler not in WITH_MODEL and (len(problem.metrics) > 1 or problem.contexts):
        what = "several objectives" if len(problem.metrics) > 1 else "contextual variables"
        raise ValueError(f"the sampler {sampler} takes no {what}; {_words(WITH_MODEL)} does")
    if unknown := [name for name in options.log if name not in names]:
        raise ValueError(f"log: {unknown[0]} is not searched; {near_miss(unknown[0], names)}")
    _require_gradients(problem, options)


def _require_gradients(problem: GestProblem, options: Options) -> None:
    floats = [variable.name for variable in problem.variables if variable.dimension.type == "float"]
    for name, observable in options.gradients.items():
        if name not in floats:
            raise ValueError(f"gradients: {name} is no continuous variable; {near_miss(name, floats)}")
        if observable not in problem.observables:
            raise ValueError(
                f"gradients: {observable} is no observable of the VOCS; {near_miss(observable, problem.observables)}"
            )
    lacking = [name for name in floats if name not in options.gradients]
    if KINDS[options.sampler].needs_gradients and (lacking or not floats):
        raise ValueError(
            f"the sampler {options.sampler} needs gradients for every continuous variable, and one at least"
        )


def _words(names: Iterable[str]) -> str:
    return ", ".join(names)
