"""Helpers that the conformance suites share: ways to fail and to skip, and rules for declarations."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

from autotune.objective import Parameter, Value

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Reports:
    """Progress callback that remembers its calls."""

    def __init__(self, *, go_on: bool = True) -> None:
        self.seen: list[tuple[int, int]] = []
        self.bad: dict[str, float] = {}
        self._go_on = go_on

    def __call__(self, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        """Remember one call; see :class:`autotune.objective.Progress`."""
        self.seen.append((iteration, iterations))
        self.bad |= {name: value for name, value in metrics.items() if not math.isfinite(value)}
        return self._go_on


def require(condition: bool, message: str) -> None:
    """Fail with ``message`` unless ``condition`` holds."""
    # Not an assert: pytest does not rewrite those of an installed package, and -O removes them.
    if not condition:
        fail(message)


def fail(message: str) -> NoReturn:
    """Fail the running test."""
    raise AssertionError(message)


def skip(reason: str) -> NoReturn:
    """Skip the running test. Only this function needs pytest."""
    import pytest

    pytest.skip(reason)


def check_names(what: str, names: Sequence[str]) -> None:
    """Require that names are identifiers and unique."""
    for name in names:
        require(name.isidentifier(), f"{what} '{name}': the name is not an identifier")
    twice = sorted({name for name in names if names.count(name) > 1})
    require(not twice, f"{what} names are not unique: {twice}")


def check_choices(parameter: Parameter) -> None:
    """Require that the choices of a categorical parameter are unique, and its default is one of them."""
    choices = parameter.choices
    require(len(set(choices)) == len(choices), f"parameter {parameter.name}: choices repeat: {choices}")
    require(
        parameter.default is None or parameter.default in choices,
        f"parameter {parameter.name}: default {parameter.default!r} is none of {choices}",
    )


def check_numbers(parameter: Parameter) -> None:
    """Require that default and default range of a numeric parameter have its type and lie inside its hard limits."""
    name, default = parameter.name, parameter.default
    low, high = limits(parameter)
    require(low <= high, f"parameter {name}: minimum {low} is above maximum {high}")
    if default is not None:
        allowed: tuple[type, ...] = (int,) if parameter.type == "int" else (int, float)
        if not isinstance(default, allowed) or isinstance(default, bool | str):
            fail(f"parameter {name}: default {default!r} is not of type {parameter.type}")
        require(low <= default <= high, f"parameter {name}: default {default} is outside {low} to {high}")
    for what, bound in (("low", parameter.low), ("high", parameter.high)):
        if bound is None:
            continue
        require(low <= bound <= high, f"parameter {name}: {what} {bound} is outside {low} to {high}")
        require(parameter.type != "int" or float(bound).is_integer(), f"parameter {name}: {what} is {bound}")
        require(not parameter.log or bound > 0, f"parameter {name}: {what} {bound} on a logarithmic scale")


def limits(parameter: Parameter) -> tuple[float, float]:
    """Hard limits of a parameter, minimum and maximum; infinite where there is none."""
    return (
        -math.inf if parameter.minimum is None else parameter.minimum,
        math.inf if parameter.maximum is None else parameter.maximum,
    )


def outside(parameter: Parameter) -> list[Value]:
    """Values that a numeric parameter must refuse."""
    if parameter.type == "categorical":
        return []
    values: list[Value] = []
    if parameter.minimum is not None:
        values.append(parameter.minimum - max(1.0, abs(parameter.minimum)))
    if parameter.maximum is not None:
        values.append(parameter.maximum + max(1.0, abs(parameter.maximum)))
    if parameter.type == "int":
        return [int(value) for value in values]
    return [*values, math.nan]


def quotes(message: str, value: Value) -> bool:
    """Whether ``message`` holds ``value``, however it is formatted."""
    if str(value) in message:
        return True
    numbers = re.findall(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?", message)
    return not isinstance(value, str) and any(math.isclose(float(number), value, rel_tol=1e-3) for number in numbers)
