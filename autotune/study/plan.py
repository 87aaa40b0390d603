"""The plan of a study: its file resolved against the opened objective into space, fixed values, metric and aims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from autotune.errors import InputError, Problem, near_miss
from autotune.objective import ExplainsAbsence, HasTwin, Metric, Objective, Parameter, Twin, Value
from autotune.problem.goals import Aims
from autotune.problem.space import Conditions, Dimension, Space, describe
from autotune.problem.twins import reaches
from autotune.search.samplers import KINDS, WITH_MODEL
from autotune.study.aims import resolve_aims, resolve_metric
from autotune.study.blocks.parameters import HeldSpec, ParameterSpec
from autotune.study.conditions import resolve_conditions
from autotune.study.dimensions import EntryChecker
from autotune.study.fidelity import Cheap, resolve_fidelity
from autotune.study.file import StudyFile
from autotune.study.value_text import show
from autotune.text import unit_label, with_unit


@dataclass(frozen=True)
class Ambiguous:
    """A tuned parameter whose change another unknown of the reconstruction makes up for.

    Attributes:
        name: the parameter.
        by: the other unknown, in words.
        only: conditions on other tuned parameters under which it does so; empty for always.
    """

    name: str
    by: str
    only: Conditions = ()


@dataclass(frozen=True)
class Plan:
    """The search that a study describes.

    Attributes:
        space: the tuned parameters, in the order of the study file.
        fixed: parameter name -> the value that the study holds it at.
        metric: the tuned metric; in-sample, or of withheld data where :attr:`Metric.held_out_of` is set.
        cheap: the cheap evaluations, cheapest last.
        aims: limits, metrics that the tuned one is weighed against, and whether time counts.
        ambiguous: the tuned parameters that another unknown may make up for; see :meth:`made_up_by`.
        limits: name of a tuned parameter -> its hard limits, minimum and maximum, as far as it has any.
        in_quadrature: name of a tuned parameter -> size of an unknown that adds to it in quadrature; see
            :class:`autotune.objective.Parameter`.
        uncertain: name of a parameter that is held at a value not known exactly -> that value and the one that is one
            standard uncertainty away.
        by_square: names of the parameters that act by their square.
    """

    space: Space
    fixed: dict[str, Value]
    metric: Metric
    cheap: tuple[Cheap, ...] = ()
    aims: Aims = field(default_factory=Aims)
    ambiguous: tuple[Ambiguous, ...] = ()
    limits: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    in_quadrature: Mapping[str, float] = field(default_factory=dict)
    uncertain: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    by_square: frozenset[str] = frozenset()

    @property
    def warnings(self) -> list[str]:
        """Why the answer may mislead, as sentences; the study runs nevertheless."""
        warnings = []
        solver = [d.name for d in self.space.dimensions if d.kind == "solver"]
        if solver and self.metric.held_out_of is None:
            warnings.append(
                f"{', '.join(solver)} {'is' if len(solver) == 1 else 'are'} tuned by {self.metric.name} in-sample: "
                "data error rewards over-fitting, so the best of it need not be the best reconstruction"
            )
        for parameter in self.ambiguous:
            condition = f" while {describe(parameter.only)}" if parameter.only else ""
            warnings.append(
                f"{parameter.name} is tuned{condition}, but {parameter.by} makes up for it, so that its value cannot "
                "be known from these data: hold it at a value known otherwise"
            )
        if self.aims.twin is not None:
            warnings.append(_twin_warning(self.aims.twin, self.space))
        return warnings

    def made_up_by(self, values: Mapping[str, Value]) -> dict[str, str]:
        """The parameters that another unknown makes up for at ``values``: name -> that unknown, in words."""
        return {
            parameter.name: parameter.by
            for parameter in self.ambiguous
            if parameter.name in values and all(values.get(other) in allowed for other, allowed in parameter.only)
        }

    @property
    def costs(self) -> tuple[float, ...]:
        """Cost of an evaluation by level, as fractions of a full one: 1 for the full one, then the cheap ones."""
        return (1.0, *(cheap.cost for cheap in self.cheap))

    def held(self, level: int) -> dict[str, Value]:
        """Name -> value of the parameters that are held fixed in a trial of that level."""
        return self.fixed if level == 0 else {**self.fixed, **self.cheap[level - 1].values}


def plan_study(file: StudyFile, objective: Objective) -> Plan:
    """Resolve the study's parameters and metric against those of the opened objective.

    Raises:
        InputError: with every mistake: unknown names; ranges missing, reversed or outside the parameter's
            limits; values of the wrong type; unusable choices, initial values or conditions.
    """
    parameters = {parameter.name: parameter for parameter in objective.parameters()}
    problems: list[Problem] = []
    dimensions: list[Dimension] = []
    sound: set[str] = set()
    fixed: dict[str, Value] = {}
    for name, entry in file.spec.parameters.items():
        entry_of = EntryChecker(file, f"parameters.{name}", problems)
        if name not in parameters:
            remedy = objective.why_absent(name) if isinstance(objective, ExplainsAbsence) else ""
            entry_of.wrong("", f"there is no parameter '{name}'", remedy or near_miss(name, parameters))
        elif isinstance(entry, ParameterSpec) and parameters[name].kind == "fidelity":
            remedy = "fix it, or name a value of it under search.fidelity"
            entry_of.wrong("", f"{name} cannot be tuned: the metric of less data is another metric", remedy)
        elif isinstance(entry, ParameterSpec):
            before = len(problems)
            dimensions.append(entry_of.dimension(parameters[name], entry))
            sound |= {name} if len(problems) == before else set()
        elif isinstance(entry, HeldSpec):
            fixed[name] = entry_of.value("value", parameters[name], entry.value)
            if parameters[name].type != "float" or parameters[name].kind != "mismatch":
                entry_of.wrong("uncertainty", f"{name} is not a quantity that is measured", "state the value alone")
        else:
            fixed[name] = entry_of.value("", parameters[name], entry)
    held = _held(file, parameters, fixed)
    for parameter in parameters.values():
        stated = parameter.name in file.spec.parameters
        if parameter.default is None and not stated and not parameter.idle(held):
            what = f"{unit_label(parameter.name, parameter.unit)} must be given; it has no default"
            remedy = f"tune it ({parameter.name}: {{low: ..., high: ...}}) or fix it ({parameter.name}: VALUE)"
            problems.append(file.problem("parameters", what, remedy))
    problems += _idle(file, parameters, held)
    conditions = resolve_conditions(file, parameters, held, dimensions, sound, problems)
    solver = any(dimension.kind == "solver" for dimension in dimensions)
    metrics = objective.metrics()
    metric = resolve_metric(file, metrics, solver_tuned=solver, problems=problems)
    aims = resolve_aims(file, metric, metrics, problems)
    problems += _nothing_tuned(file) + _undescended(file, dimensions)
    if problems or metric is None:
        raise InputError(problems)
    space = Space(tuple(replace(d, when=conditions[d.name]) for d in dimensions))
    aims = replace(aims, twin=_twin(objective, held, space))
    fidelity = resolve_fidelity(file, objective, space, fixed)
    tuned = [parameters[d.name] for d in dimensions]
    limits = {p.name: tuple(end for end in (p.minimum, p.maximum) if end is not None) for p in tuned}
    uncertain = _uncertain(file, parameters, held)
    adds = {p.name: p.in_quadrature for p in tuned if p.in_quadrature is not None}
    squared = frozenset(name for name, parameter in parameters.items() if parameter.by_square)
    return Plan(space, fixed, metric, fidelity, aims, _ambiguous(tuned, held), limits, adds, uncertain, squared)


def _twin(objective: Objective, held: Mapping[str, Value | None], space: Space) -> Twin | None:
    """The twin that answers may have in the space; None where they have none there."""
    twin = objective.twin(held) if isinstance(objective, HasTwin) else None
    return twin if twin is not None and reaches(twin, space) else None


def _uncertain(
    file: StudyFile, parameters: Mapping[str, Parameter], held: Mapping[str, Value | None]
) -> dict[str, tuple[float, float]]:
    """The held values that are not known exactly; see :attr:`Plan.uncertain`."""
    uncertain: dict[str, tuple[float, float]] = {}
    for name, value in held.items():
        entry, parameter = file.spec.parameters.get(name), parameters[name]
        uncertainty = entry.uncertainty if isinstance(entry, HeldSpec) else parameter.uncertainty
        if uncertainty and isinstance(value, int | float) and not parameter.idle(held):
            above = value + uncertainty
            inside = parameter.maximum is None or above <= parameter.maximum
            uncertain[name] = (float(value), float(above if inside else value - uncertainty))
    return uncertain


def _ambiguous(tuned: Sequence[Parameter], held: Mapping[str, Value | None]) -> tuple[Ambiguous, ...]:
    """The tuned parameters that another unknown may make up for, given the values that others are held at."""
    ambiguous = []
    for parameter in tuned:
        settled = [held[other] in allowed for other, allowed in parameter.made_up_while if other in held]
        if parameter.made_up_by and all(settled):
            only = tuple((other, allowed) for other, allowed in parameter.made_up_while if other not in held)
            ambiguous.append(Ambiguous(parameter.name, parameter.made_up_by, only))
    return tuple(ambiguous)


def _held(file: StudyFile, parameters: Mapping[str, Parameter], fixed: Mapping[str, Value]) -> dict[str, Value | None]:
    """The value of every parameter that is not tuned: name -> fixed value or default."""
    tuned = {name for name, entry in file.spec.parameters.items() if isinstance(entry, ParameterSpec)}
    return {name: fixed.get(name, parameter.default) for name, parameter in parameters.items() if name not in tuned}


def _idle(file: StudyFile, parameters: Mapping[str, Parameter], held: Mapping[str, Value | None]) -> list[Problem]:
    """Problems of stated parameters without effect: another parameter is held at a value that switches them off."""
    problems = []
    for name in file.spec.parameters:
        other = parameters[name].idle_because(held) if name in parameters else None
        if other is None:
            continue
        if name in held and held[name] == parameters[name].default:
            continue  # says no more than what holds anyway
        what = f"{name} has no effect while {other} is held at {show(held[other])}"
        problems.append(file.problem(f"parameters.{name}", what, f"tune {other} too, or fix it at another value"))
    return problems


def _nothing_tuned(file: StudyFile) -> list[Problem]:
    """The problem of a study of several trials that tunes nothing; a single evaluation needs nothing to tune."""
    if file.spec.budget.trials == 1 or any(isinstance(entry, ParameterSpec) for entry in file.spec.parameters.values()):
        return []
    remedy = "give at least one a map, such as {low: 0, high: 1}, or set budget.trials to 1 for a single evaluation"
    return [file.problem("parameters", "every parameter is held fixed", remedy)]


def _undescended(file: StudyFile, dimensions: Sequence[Dimension]) -> list[Problem]:
    """Problems of tuned numbers without a derivative, where the sampler needs them."""
    sampler = file.spec.search.sampler
    if not KINDS[sampler].needs_gradients:
        return []
    moved = [d for d in dimensions if d.type == "float"]
    other = next(name for name in WITH_MODEL if not KINDS[name].needs_gradients)
    remedy = f"hold it fixed, or take a sampler that needs no derivatives, such as {other}"
    problems = [
        file.problem(
            f"parameters.{d.name}", f"the metric has no derivative for {d.name}, which {sampler} needs", remedy
        )
        for d in moved
        if not d.differentiable
    ]
    if not moved:
        what = f"{sampler} moves numbers with a fraction, and none is tuned"
        problems.append(file.problem("search.sampler", what, "take another sampler"))
    return problems


def _twin_warning(twin: Twin, space: Space) -> str:
    """What a user should know of the twin, in a sentence."""
    units = {d.name: d.unit for d in space.dimensions}
    changes = [f"{name} of the other sign" for name in twin.negated]
    changes += [f"{name} {with_unit(f'{by:g}', units[name])} further" for name, by in twin.added.items()]
    return (
        f"an answer may have a twin that explains any data alike, with {' and '.join(changes)}; "
        f"the one taken is that of {twin.metric} above 0: {twin.why}"
    )
