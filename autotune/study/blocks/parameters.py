"""The block ``parameters:``: an entry is tuned (a map) or held fixed (a number or text, or a map with ``value``)."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BeforeValidator, Discriminator, Tag, ValidationInfo, field_validator

from autotune.objective import Value
from autotune.study.blocks.block import Block, list_as_tuple
from autotune.study.value_text import show


def _values_as_tuples(value: object) -> object:
    """Conditions with each single value as a tuple of one; validation reports whatever else is wrong."""
    if not isinstance(value, dict):
        return value
    return {name: tuple(v) if isinstance(v, list) else (v,) for name, v in value.items()}


ConditionValue = int | float | str


class ParameterSpec(Block):
    """A tuned parameter: its range or choices. The objective's defaults stand for whatever is left out."""

    # The order matters: each validator below sees only the fields declared before its own.
    high: float | None = None
    """Upper end of the range, inclusive, in the parameter's unit."""
    log: bool | None = None
    """Whether the parameter is searched on a logarithmic scale."""
    low: float | None = None
    """Lower end of the range, inclusive, in the parameter's unit."""
    choices: Annotated[tuple[str, ...] | None, BeforeValidator(list_as_tuple)] = None
    """The values that a categorical parameter may take: at least two of the objective's choices."""
    initial: int | float | str | None = None
    """The value that is tried first, inside the range."""
    when: Annotated[
        dict[str, tuple[ConditionValue, ...]] | None,
        BeforeValidator(
            _values_as_tuples, json_schema_input_type=dict[str, ConditionValue | list[ConditionValue]] | None
        ),
    ] = None
    """Conditions under which the parameter is tuned: name of another tuned parameter (with choices or whole numbers) ->
    its value or list of values. All conditions must hold; elsewhere the parameter has its default."""

    @field_validator("low")
    @classmethod
    def _low_fits(cls, low: float | None, info: ValidationInfo) -> float | None:
        high = info.data.get("high")
        if low is not None and high is not None and not low < high:
            raise ValueError(f"{show(low)} is not below high ({show(high)})")
        if low is not None and low <= 0 and info.data.get("log"):
            raise ValueError(f"{show(low)} is not above 0; a logarithmic scale needs low above 0")
        return low

    @field_validator("choices")
    @classmethod
    def _choices_differ(cls, choices: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if choices is not None and (len(choices) < 2 or len(set(choices)) < len(choices)):
            raise ValueError(f"{show(list(choices))} is too few; give at least two different choices")
        return choices

    @field_validator("initial")
    @classmethod
    def _initial_inside(cls, initial: Value | None, info: ValidationInfo) -> Value | None:
        low, high, choices = (info.data.get(key) for key in ("low", "high", "choices"))
        if isinstance(initial, (int, float)):
            if (low is not None and initial < low) or (high is not None and initial > high):
                ends = [f"low {show(low)}"] * (low is not None) + [f"high {show(high)}"] * (high is not None)
                raise ValueError(f"{show(initial)} is outside the range ({', '.join(ends)})")
        elif initial is not None and choices is not None and initial not in choices:
            raise ValueError(f"{show(initial)} is not one of the choices: {', '.join(choices)}")
        return initial


class HeldSpec(Block):
    """A parameter that is held at a value which is not known exactly."""

    value: int | float | str
    """The value it is held at, in its unit."""
    uncertainty: float
    """Standard uncertainty of the value, in its unit: 0 for an exact one. Of a value that surely lies within a of the
    stated one and may be anywhere there, it is a / sqrt(3). The intervals of the tuned parameters cover it."""

    @field_validator("uncertainty")
    @classmethod
    def _not_negative(cls, uncertainty: float) -> float:
        if not 0 <= uncertainty < math.inf:
            raise ValueError(f"{show(uncertainty)} is no uncertainty; give 0 or more")
        return uncertainty


def _usable_entry(value: object) -> object:
    if not isinstance(value, (int, float, str, dict, ParameterSpec, HeldSpec)) or isinstance(value, bool):
        raise ValueError(
            f"{show(value)} says neither; give a number or text to hold it fixed, or a map such as "
            "{low: 0, high: 1} to tune it ({} for its default range), or {value: 1, uncertainty: 0.1}"
        )
    return value


def _fixed_or_tuned(value: object) -> str:
    if isinstance(value, HeldSpec) or (isinstance(value, dict) and {"value", "uncertainty"} & set(value)):
        return "uncertain"
    return "tuned" if isinstance(value, (dict, ParameterSpec)) else "fixed"


ParameterEntry = Annotated[
    Annotated[ParameterSpec, Tag("tuned")]
    | Annotated[HeldSpec, Tag("uncertain")]
    | Annotated[int | float | str, Tag("fixed")],
    Discriminator(_fixed_or_tuned),
    BeforeValidator(_usable_entry),
]
