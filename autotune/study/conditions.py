"""Conditions of tuned parameters: those a study states (``when``), and those an objective implies (``idle_while``).

A parameter without effect at some choices of another tuned one is not searched there: each such choice would have a
direction of the space in which nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from autotune.errors import Problem, near_miss
from autotune.objective import Parameter, Value
from autotune.problem.space import Conditions, Dimension, alternatives
from autotune.study.blocks.parameters import ParameterSpec
from autotune.study.file import StudyFile
from autotune.study.value_text import show

_Allowed = dict[str, tuple[Value, ...]]
"""Name of another parameter -> the values of it at which this one is tuned, in the order of its choices."""

_COUNTABLE = 1000
"""Longest range of whole numbers whose values may switch another parameter off; in a longer one they are too rare."""


def resolve_conditions(
    file: StudyFile,
    parameters: Mapping[str, Parameter],
    held: Mapping[str, Value | None],
    dimensions: Sequence[Dimension],
    sound: Set[str],
    problems: list[Problem],
) -> dict[str, Conditions]:
    """The conditions of every tuned parameter, by name.

    Args:
        file: the study, whose ``when`` is read.
        parameters: the objective's parameters by name, whose ``idle_while`` is read.
        held: the parameters that are not tuned: name -> value.
        dimensions: the tuned parameters.
        sound: names of the tuned parameters with a usable range or choices. A condition on any other one is ignored,
            since its own mistake is reported already.
        problems: mistakes are appended: a condition on a parameter that is unknown, held or a float, or on values that
            it cannot have; a condition that always or never holds; parameters that depend on each other; a parameter
            that needs a value where its condition leaves it without one.
    """
    tuned = {dimension.name: dimension for dimension in dimensions}
    resolver = _Resolver(file, parameters, held, tuned, sound, problems, {name: {} for name in tuned})
    for name in tuned:
        entry = file.spec.parameters[name]
        if isinstance(entry, ParameterSpec) and entry.when is not None:
            resolver.state(name, entry.when)
    if resolver.has_no_cycle():
        for name in tuned:
            resolver.imply(parameters[name])
        for name in tuned:
            resolver.check(parameters[name])
    return {name: tuple(allowed.items()) for name, allowed in resolver.allowed.items()}


@dataclass(frozen=True)
class _Resolver:
    """Collects the conditions in ``allowed`` (parameter name -> its conditions), and the problems."""

    file: StudyFile
    parameters: Mapping[str, Parameter]
    held: Mapping[str, Value | None]
    tuned: Mapping[str, Dimension]
    sound: Set[str]
    problems: list[Problem]
    allowed: dict[str, _Allowed]

    def state(self, name: str, when: Mapping[str, Sequence[Value]]) -> None:
        """Add the conditions that the study states for one parameter."""
        if not when:
            self._wrong(f"{name}.when", "names no parameter", "such as {solver: [lsqml, epie]}; or leave it out")
        for other, values in when.items():
            if other in self.tuned and other not in self.sound:
                continue
            trouble = self._trouble_with_name(name, other) or self._trouble_with_values(name, other, values)
            if trouble is None:
                self.allowed[name][other] = tuple(value for value in self._values(other) if value in values)
            else:
                self._wrong(f"{name}.when.{other}", *trouble)

    def imply(self, parameter: Parameter) -> None:
        """Add the conditions that the objective implies for one parameter: it is not tuned where it has no effect."""
        allowed = self.allowed[parameter.name]
        for other in dict.fromkeys(name for name, _ in parameter.idle_while):
            if other not in self.sound or not 0 < len(self._values(other)) <= _COUNTABLE:
                continue
            before = allowed.get(other, tuple(self._values(other)))
            after = tuple(value for value in before if value not in _idle_values(parameter, other))
            if not after:
                what = f"{parameter.name} has no effect while {other} is {alternatives(before)}"
                self._wrong(parameter.name, what, f"leave it out, or let {other} have other values")
            elif len(after) < len(before) and parameter.name not in self._ancestors(other):
                allowed[other] = after

    def check(self, parameter: Parameter) -> None:
        """Check that one parameter's conditions can hold, and that it has a value where they do not."""
        name = parameter.name
        needed: _Allowed = {}
        for dependent in (name, *self._ancestors(name)):
            for other, values in self.allowed[dependent].items():
                both = tuple(value for value in needed.get(other, values) if value in values)
                if not both:
                    what = f"never holds: {dependent} is tuned only while {other} is {alternatives(values)}"
                    self._wrong(f"{name}.when", what, f"{other} cannot be {alternatives(needed[other])} too")
                    return
                needed[other] = both
        if parameter.default is None:
            self._check_idle_elsewhere(parameter)

    def has_no_cycle(self) -> bool:
        """Whether no parameter depends on itself through others; adds a problem where one does."""
        for name in self.tuned:
            if name in self._ancestors(name):
                own = self._ancestors(name)
                circle = [other for other in self.tuned if name in self._ancestors(other) and other in own]
                what = f"{' and '.join(circle)} depend on each other"
                self._wrong(f"{name}.when", what, "leave out the condition of one of them")
                return False
        return True

    def _wrong(self, place: str, what: str, remedy: str) -> None:
        self.problems.append(self.file.problem(f"parameters.{place}", what, remedy))

    def _values(self, name: str) -> Sequence[Value]:
        """All values of a tuned int or categorical parameter; none for a float."""
        dimension = self.tuned[name]
        if dimension.type == "categorical":
            return dimension.choices
        return range(int(dimension.low), int(dimension.high) + 1) if dimension.type == "int" else ()

    def _ancestors(self, name: str) -> list[str]:
        """The parameters that a parameter depends on, directly or through others."""
        ancestors: list[str] = []
        waiting = list(self.allowed[name])
        while waiting:
            ancestor = waiting.pop()
            if ancestor not in ancestors:
                ancestors.append(ancestor)
                waiting += self.allowed[ancestor]
        return ancestors

    def _trouble_with_name(self, name: str, other: str) -> tuple[str, str] | None:
        """What is wrong with a condition of ``name`` on ``other``, and what would be right; None where nothing is."""
        usable = [d.name for d in self.tuned.values() if d.name != name and d.type != "float"]
        if other == name:
            return f"{name} cannot depend on itself", "name another tuned parameter"
        if other not in self.parameters:
            return f"there is no parameter '{other}'", near_miss(other, usable)
        if other not in self.tuned:
            value = self.held.get(other)
            at = "" if value is None else f", but held at {show(value)}"
            return f"{other} is not tuned{at}", f"tune {other} too, or leave the condition out"
        if self.tuned[other].type == "float":
            return f"{other} is tuned over a range of real numbers", "name a parameter with choices or whole numbers"
        return None

    def _trouble_with_values(self, name: str, other: str, values: Sequence[Value]) -> tuple[str, str] | None:
        """What is wrong with the values of a condition, and what would be right; None where nothing is."""
        possible = self._values(other)
        text = alternatives(possible)
        if not values:
            return f"names no value, so that {name} would never be tuned", f"{other} is {text}"
        for value in values:
            if value not in possible:
                return f"{show(value)} is not a value that {other} may have here", f"{other} is {text}"
            if value in _idle_values(self.parameters[name], other):
                return f"{name} has no effect while {other} is {show(value)}", f"leave {show(value)} out"
        if all(value in values for value in possible):
            return f"always holds: {other} is {text} in any case", "leave the condition out"
        return None

    def _check_idle_elsewhere(self, parameter: Parameter) -> None:
        """Check that a parameter without a default has no effect wherever it is not tuned."""
        for other, values in self.allowed[parameter.name].items():
            idle = _idle_values(parameter, other)
            left = [value for value in self._values(other) if value not in values and value not in idle]
            default = self.parameters[other].default
            if not left and self.allowed[other] and default is not None and default not in idle:
                left = [default]
            if left:
                what = f"{parameter.name} has no default, and would have no value while {other} is {show(left[0])}"
                self._wrong(f"{parameter.name}.when.{other}", what, "leave the condition out, or fix its value")


def _idle_values(parameter: Parameter, other: str) -> set[Value]:
    """The values of ``other`` at which ``parameter`` has no effect."""
    return {value for name, values in parameter.idle_while if name == other for value in values}
