"""The ranges that a Python program states for the parameters of a function, and what they say in a study."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from autotune.errors import InputError, Problem
from autotune.objective import Kind, Parameter, Value
from autotune.problem.space import Dimension
from autotune.study.blocks.block import list_as_tuple

Plain = str | bool | int | float | None
"""What a function may be given."""
_HOW = (
    "write (low, high) for a number, range(low, high + 1) for a whole number, a list of choices, a value to hold it "
    "at, or an autotune.Dimension"
)


class RangeSettings(BaseModel):
    """One argument of the function that is tuned."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    type: Literal["float", "int", "categorical"] = "float"
    """Whether it is a number, a whole number or a choice."""
    low: float = 0.0
    """Lower end of its range, inclusive."""
    high: float = 1.0
    """Upper end of its range, inclusive."""
    log: bool = False
    """Whether it is searched on a logarithmic scale."""
    unit: str = "1"
    """Its unit, for people."""
    kind: Kind = "mismatch"
    """Whether it describes what is measured (mismatch) or how it is computed (solver)."""
    by_square: bool = False
    """Whether the function depends on its square alone."""
    choices: Annotated[tuple[Plain, ...], BeforeValidator(list_as_tuple)] = ()
    """The values of a choice."""

    def parameter(self, name: str) -> Parameter:
        """The parameter of a study."""
        number = self.type != "categorical"
        return Parameter(
            name,
            self.unit,
            self.kind,
            None,
            type=self.type,
            low=self.low if number else None,
            high=self.high if number else None,
            log=self.log,
            minimum=0.0 if self.by_square else None,
            choices=tuple(map(str, self.choices)),
            differentiable=self.type == "float",
            by_square=self.by_square,
        )

    def argument(self, value: Value) -> Plain:
        """What the function is given where the study has a value: for the name of a choice, the choice itself."""
        if self.type == "categorical":
            return next(choice for choice in self.choices if str(choice) == value)
        return int(value) if self.type == "int" else float(value)


def read_ranges(ranges: Mapping[str, Any]) -> tuple[dict[str, RangeSettings], dict[str, Plain], dict[str, Value]]:
    """Tell the arguments that are tuned from those that are held.

    Args:
        ranges: name -> what a program writes for an argument; see :func:`autotune.tune`.

    Returns:
        Name -> range; name -> value it is held at; name -> value that is tried first.

    Raises:
        InputError: what is written is no range, choice or value; all of these at once.
    """
    tuned: dict[str, RangeSettings] = {}
    held: dict[str, Plain] = {}
    initial: dict[str, Value] = {}
    problems: list[Problem] = []
    for name, stated in ranges.items():
        try:
            read = _read(stated)
        except ValueError as error:
            problems.append(Problem(f"ranges[{name!r}]", *error.args))
            continue
        if isinstance(read, RangeSettings):
            tuned[name] = read
            if isinstance(stated, Dimension) and stated.initial is not None:
                initial[name] = stated.initial
        else:
            held[name] = read
    if not tuned and not problems:
        problems.append(Problem("ranges", "tune nothing", _HOW))
    if problems:
        raise InputError(problems)
    return tuned, held, initial


def _read(stated: object) -> RangeSettings | Plain:
    """The range that an argument has, or the value that it is held at.

    Raises:
        ValueError: with what is wrong, and what would be right.
    """
    if isinstance(stated, Dimension):
        return _of_dimension(stated)
    if isinstance(stated, range):
        if stated.step != 1 or len(stated) < 2:
            raise ValueError(f"{stated!r} is no range of whole numbers to search", "use a step of 1 and at least two")
        return RangeSettings(type="int", low=stated[0], high=stated[-1])
    if isinstance(stated, tuple):
        return _of_ends(stated)
    if isinstance(stated, list):
        return _of_choices(stated)
    return _plain(stated)


def _of_ends(ends: tuple[Any, ...]) -> RangeSettings:
    if len(ends) != 2 or not all(isinstance(end, Real) and not isinstance(end, bool) for end in ends):
        raise ValueError(f"{ends!r} is no pair of numbers", _HOW)
    low, high = (float(end) for end in ends)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{ends!r} is no range", "write (low, high), both finite and low below high")
    return RangeSettings(low=low, high=high)


def _of_choices(choices: list[Any]) -> RangeSettings:
    if len(choices) == 2 and all(isinstance(choice, Real) and not isinstance(choice, bool) for choice in choices):
        raise ValueError(f"{choices!r} may be a range or two choices", "write (low, high), or the choices as text")
    plain = tuple(_plain(choice) for choice in choices)
    if len({str(choice) for choice in plain}) < max(2, len(plain)):
        raise ValueError(f"{choices!r} are no choices", "give at least two that differ")
    return RangeSettings(type="categorical", choices=plain)


def _of_dimension(dimension: Dimension) -> RangeSettings:
    if dimension.when:
        raise ValueError("a Dimension with conditions is no argument of a function", "leave `when` out")
    if dimension.type == "categorical":
        return RangeSettings(type="categorical", choices=dimension.choices, unit=dimension.unit, kind=dimension.kind)
    return RangeSettings(
        type=dimension.type,
        low=dimension.low,
        high=dimension.high,
        log=dimension.log,
        unit=dimension.unit,
        kind=dimension.kind,
        by_square=dimension.by_square,
    )


def _plain(value: object) -> Plain:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and math.isfinite(value):
        return float(value)
    raise ValueError(f"{value!r} is {type(value).__name__}", _HOW)
