"""Check the values of one evaluation against the parameters, and fill in the defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from autotune.objective import InputError, Parameter, Problem, Value, near_miss


def complete_values(parameters: Sequence[Parameter], values: Mapping[str, Value]) -> dict[str, Value]:
    """Every parameter's value: the given one, checked, or the default.

    Raises:
        InputError: unknown name, wrong type, value outside the hard limits, or a value that has no default.
    """
    known = {parameter.name: parameter for parameter in parameters}
    problems = [
        Problem(f"parameters.{name}", "this measurement has no such parameter", near_miss(name, known))
        for name in values
        if name not in known
    ]
    complete: dict[str, Value] = {}
    for name, parameter in known.items():
        value = values.get(name, parameter.default)
        if value is None:
            problems.append(Problem(f"parameters.{name}", "has no value", "tune it or state one"))
            continue
        trouble = _trouble(parameter, value)
        if trouble:
            problems.append(Problem(f"parameters.{name}", *trouble))
        complete[name] = value
    if problems:
        raise InputError(problems)
    return complete


def _trouble(parameter: Parameter, value: Value) -> tuple[str, str] | None:
    """What is wrong with ``value`` and what would be right; None where nothing is."""
    if parameter.type == "categorical":
        if value not in parameter.choices:
            return f"'{value}' is not a choice", f"one of: {', '.join(parameter.choices)}"
        return None
    if isinstance(value, str | bool) or not math.isfinite(value):
        return f"{value!r} is not a number", f"give a value in {parameter.unit}"
    if parameter.type == "int" and value != int(value):
        return f"{value} is not a whole number", "give an int"
    if parameter.minimum is not None and value < parameter.minimum:
        return (
            f"{value} is below the least possible value",
            f"at least {parameter.minimum:g} {parameter.unit}",
        )
    if parameter.maximum is not None and value > parameter.maximum:
        return (
            f"{value} is above the greatest possible value",
            f"at most {parameter.maximum:g} {parameter.unit}",
        )
    return None
