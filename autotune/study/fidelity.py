"""The cheap evaluations that a study allows (``search.fidelity``): their values and their cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autotune.errors import InputError, Problem, near_miss
from autotune.objective import CountsWork, Objective, Parameter, Value
from autotune.problem.space import Space
from autotune.study.file import StudyFile
from autotune.study.value_text import show


@dataclass(frozen=True)
class Cheap:
    """A cheap evaluation.

    Attributes:
        values: parameter name -> its value there, in place of its value in a full evaluation.
        cost: its cost as a fraction of that of a full evaluation.
    """

    values: Mapping[str, Value]
    cost: float


def resolve_fidelity(
    file: StudyFile, objective: Objective, space: Space, fixed: Mapping[str, Value]
) -> tuple[Cheap, ...]:
    """The cheap evaluations of a study, the dearest first.

    Raises:
        InputError: a parameter is unknown, tuned or not one that makes evaluations cheaper; a value is of the wrong
            type, outside the limits or not cheaper than the full evaluation's; or the objective does not count work.
    """
    stated = file.spec.search.fidelity
    if not stated:
        return ()
    parameters = {parameter.name: parameter for parameter in objective.parameters()}
    problems: list[Problem] = []
    places = ["search.fidelity"] if len(stated) == 1 else [f"search.fidelity.{i}" for i in range(len(stated))]
    for place, values in zip(places, stated, strict=True):
        for name, value in values.items():
            what, remedy = _trouble(name, value, parameters, space, fixed)
            if what:
                problems.append(file.problem(f"{place}.{name}", what, remedy))
    if not isinstance(objective, CountsWork):
        what = "this objective does not count its work, so no evaluation is known to be cheaper"
        problems.append(file.problem("search.fidelity", what, "leave it out"))
        raise InputError(problems)
    if problems:
        raise InputError(problems)
    middle = space.from_unit([0.5] * space.width)
    whole = objective.work({**fixed, **middle})
    typed = [{name: _typed(parameters[name], value) for name, value in values.items()} for values in stated]
    cheap = [Cheap(values, objective.work({**fixed, **middle, **values}) / whole) for values in typed]
    for place, level in zip(places, cheap, strict=True):
        if level.cost >= 1:
            problems.append(file.problem(place, f"costs {level.cost:.2f} of a full evaluation", "make it cheaper"))
    if problems:
        raise InputError(problems)
    return tuple(sorted(cheap, key=lambda level: -level.cost))


def _trouble(
    name: str, value: Value, parameters: Mapping[str, Parameter], space: Space, fixed: Mapping[str, Value]
) -> tuple[str, str]:
    """What is wrong with one value of a cheap evaluation, and the remedy; empty where nothing is."""
    parameter = parameters.get(name)
    if parameter is None:
        return f"there is no parameter '{name}'", near_miss(name, parameters)
    usable = [p.name for p in parameters.values() if p.cheaper is not None and p.name not in space.names]
    if name in space.names:
        return f"{name} is tuned", "a cheap evaluation changes only what is held fixed"
    if parameter.cheaper is None:
        return f"{name} does not make an evaluation cheaper", f"those that do: {', '.join(usable) or 'none'}"
    if isinstance(value, str) or (parameter.type == "int" and value != int(value)):
        return f"{show(value)} is not a {'whole ' * (parameter.type == 'int')}number", ""
    for limit, beyond in ((parameter.minimum, -1), (parameter.maximum, 1)):
        if limit is not None and beyond * value > beyond * limit:
            return f"{show(value)} is outside the limit", f"the {'most' if beyond > 0 else 'least'} is {show(limit)}"
    full = fixed.get(name, parameter.default)
    sign = 1 if parameter.cheaper == "lower" else -1
    if full is None or isinstance(full, str) or sign * value >= sign * full:
        than = "below" if sign > 0 else "above"
        return f"{show(value)} is not cheaper than the full evaluation's {show(full)}", f"give a value {than} it"
    return "", ""


def _typed(parameter: Parameter, value: Value) -> Value:
    return int(value) if parameter.type == "int" else float(value)
