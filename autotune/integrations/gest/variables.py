"""The variables of a VOCS as dimensions of the search space, and their values as the store keeps them."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np
from gest_api.vocs import BaseVariable, ContextualVariable, ContinuousVariable, DiscreteVariable

from autotune.objective import Value
from autotune.problem.space import Dimension

NEAR = 1e-6
"""Share of a range within which two values are the same: frameworks pass values on in single precision, or as text."""


@dataclass(frozen=True)
class Variable:
    """A variable that is searched.

    Attributes:
        dimension: its dimension of the search space.
        values: the allowed values of a discrete variable, in the order of the dimension's ints or choices; empty where
            the dimension has the variable's own values.
    """

    dimension: Dimension
    values: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """The variable's name."""
        return self.dimension.name

    def decode(self, stored: Value) -> Any:
        """The variable's value from the one in the store."""
        if not self.values:
            return stored
        choices = self.dimension.choices
        return self.values[choices.index(str(stored)) if choices else int(stored)]

    def encode(self, value: Any) -> Value:
        """The value as the store keeps it.

        Raises:
            ValueError: the variable cannot have this value.
        """
        if self.values:
            place = next((i for i, allowed in enumerate(self.values) if same(allowed, value)), None)
            if place is None:
                raise ValueError(f"{self.name} is {value!r}; its values are {', '.join(map(repr, self.values))}")
            return self.dimension.choices[place] if self.dimension.choices else place
        number, low, high = number_of(self.name, value), self.dimension.low, self.dimension.high
        slack = NEAR * (high - low)
        if not low - slack <= number <= high + slack:
            raise ValueError(f"{self.name} is {number:g}, outside its domain of {low:g} to {high:g}")
        if self.dimension.type == "int":
            if abs(number - round(number)) > slack:
                raise ValueError(f"{self.name} is {number:g}, not a whole number")
            return round(number)
        return min(max(number, low), high)


@dataclass(frozen=True)
class Context:
    """A contextual variable: nobody sets it; its value is observed with each result.

    Attributes:
        name: its name.
        low, high: its domain, which may be infinite.
        default: its value until one has been observed; None where it is not known.
    """

    name: str
    low: float
    high: float
    default: float | None

    def dimension(self, observed: Sequence[float]) -> Dimension:
        """Its dimension, with the domain where that is finite, widened to the values observed (at least one)."""
        low, high = (min([*observed, self.low]), max([*observed, self.high]))
        low = low if math.isfinite(low) else min(observed)
        high = high if math.isfinite(high) else max(observed)
        if not low < high:  # one value: any width will do, for the model sees no change along it
            low, high = low - max(abs(low), 1.0) / 2, high + max(abs(high), 1.0) / 2
        return Dimension(self.name, low=low, high=high)

    def value_of(self, value: Any) -> float | None:
        """The value that a result has for it; None where it has none.

        Raises:
            ValueError: it is infinite, or not a number.
        """
        number = number_of(self.name, value)
        if math.isinf(number):
            raise ValueError(f"{self.name} is {number}; an observed value is finite")
        return None if math.isnan(number) else number


def differ(dimension: Dimension, one: Value, other: Value) -> bool:
    """Whether two values in the store are not the same value passed on with less precision."""
    if dimension.type != "float":
        return one != other
    return abs(float(one) - float(other)) > NEAR * (dimension.high - dimension.low)


def number_of(name: str, value: Any) -> float:
    """The value as a float; NaN for None.

    Raises:
        ValueError: it is text, an array of several values, or not a number at all.
    """
    if value is None:
        return math.nan
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.size != 1 or isinstance(value, str | bytes):
        raise ValueError(f"{name} is {value!r}, which is not one number")
    return float(array.reshape(-1)[0])


def same(stated: Any, value: Any) -> bool:
    """Whether a value is the stated one, passed on in whatever type."""
    if is_number(stated) and is_number(value):
        return math.isclose(float(stated), float(value), rel_tol=NEAR)
    equal = np.asarray(stated == value)
    return bool(equal.all()) if equal.size else np.shape(stated) == np.shape(value)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a real number, and no truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def context_of(name: str, variable: ContextualVariable) -> Context:
    """A contextual variable of the VOCS.

    Raises:
        ValueError: it is an array.
    """
    require_scalar(name, variable.dtype)
    low, high = (float(end) for end in variable.domain)
    return Context(name, low, high, variable.default_value)


def variable_of(name: str, variable: BaseVariable, log: bool) -> Variable:
    """A variable of the VOCS that is searched.

    Args:
        name: its name.
        variable: a continuous variable, or a discrete one of several values.
        log: whether its scale is logarithmic.

    Raises:
        ValueError: the search space has no such dimension.
    """
    kind = require_scalar(name, variable.dtype)
    if isinstance(variable, DiscreteVariable):
        found = _discrete(name, variable.values, log)
    elif isinstance(variable, ContinuousVariable):
        found = Variable(_continuous(name, variable, log, whole=kind in ("i", "u"), known=kind in ("", "f", "i", "u")))
    else:
        raise ValueError(f"{name} is a {type(variable).__name__}; it must be continuous, discrete or contextual")
    if variable.default_value is None:
        return found
    initial = found.encode(variable.default_value)
    return replace(found, dimension=replace(found.dimension, initial=initial))


def _continuous(name: str, variable: ContinuousVariable, log: bool, *, whole: bool, known: bool) -> Dimension:
    low, high = (float(end) for end in variable.domain)
    if not known:
        raise ValueError(f"{name} has the dtype {variable.dtype!r}; that of a continuous variable is float or int")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"the domain of {name} is {low:g} to {high:g}; it must be finite")
    if whole:
        low, high = math.ceil(low), math.floor(high)
        if not low < high:
            raise ValueError(f"{name} is a whole number, and its domain holds fewer than two")
    if log and not low > 0:
        raise ValueError(f"{name} is in log, and its domain begins at {low:g}; it must begin above 0")
    return Dimension(name, type="int" if whole else "float", low=low, high=high, log=log)


def _discrete(name: str, values: Collection[Any], log: bool) -> Variable:
    """A discrete variable.

    Whole numbers in a row are ints of the space. Other numbers are ints, too: their places in ascending order, so that
    the model knows which are neighbours. Anything else is a choice.
    """
    if log:
        raise ValueError(f"{name} is in log, and is discrete; only continuous variables have a scale")
    if not all(is_number(value) for value in values):
        ordered = sorted(values, key=lambda value: (type(value).__name__, repr(value)))
        labels = tuple(value if isinstance(value, str) else repr(value) for value in ordered)
        if len(set(labels)) < len(labels):
            raise ValueError(f"values of {name} look alike: {', '.join(labels)}")
        return Variable(Dimension(name, type="categorical", choices=labels), tuple(ordered))
    numbers_in_order = sorted(values)
    low, high = numbers_in_order[0], numbers_in_order[-1]
    if not all(math.isfinite(value) for value in (low, high)):
        raise ValueError(f"values of {name} must be finite")
    if all(isinstance(value, numbers.Integral) for value in values) and high - low == len(values) - 1:
        return Variable(Dimension(name, type="int", low=int(low), high=int(high)))
    return Variable(Dimension(name, type="int", low=0, high=len(values) - 1), tuple(numbers_in_order))


def require_scalar(name: str, dtype: Any) -> str:
    """The kind of a field's dtype, as numpy has it (``f``, ``i``, ...); empty where none is stated.

    Raises:
        ValueError: the dtype is not one, or that of an array.
    """
    if dtype is None:
        return ""
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise ValueError(f"the dtype of {name} is {dtype!r}, which numpy does not know") from error
    if found.shape:
        raise ValueError(f"{name} is an array of shape {found.shape}; this generator takes scalars")
    return str(found.kind)
