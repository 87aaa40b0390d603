"""The search space: the tuned parameters, their ranges and scales, and the map to the unit cube.

Every float and int dimension takes one coordinate in [0, 1]; a categorical dimension takes one coordinate per choice
(one-hot). The Jacobian of the map carries gradients of the metric from a parameter's own unit to the unit cube.

A dimension with conditions (``when``) exists only where others have certain values: it is *active* there. Where it is
not active, it has no value, and its coordinates are the same at every such point, so that the cube has no direction in
which nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from autotune.objective import Kind, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

Floats = NDArray[np.float64]

Conditions = tuple[tuple[str, tuple[Value, ...]], ...]
"""Pairs of another dimension's name and values. A pair holds where that dimension is active and has one of the values;
all pairs must hold."""


@dataclass(frozen=True)
class Dimension:
    """One tuned parameter.

    Attributes:
        name, unit, kind, type: as in :class:`autotune.objective.Parameter`.
        low, high: the range, inclusive, in ``unit`` (float and int).
        log: logarithmic scale between ``low`` and ``high``.
        by_square: derivatives are by the value's square, as in :class:`autotune.objective.Parameter`, and so is the
            scale where it is not logarithmic.
        choices: the values of a categorical dimension.
        initial: the user's stated value, tried first; ``None`` where none is stated.
        nominal: the parameter's presumed value, inside the range; ``None`` where there is none. It does not count when
            spaces are compared.
        differentiable: whether evaluations may carry a gradient for it.
        when: the conditions under which it is active, on int and categorical dimensions; empty for always.
    """

    name: str
    unit: str = "1"
    kind: Kind = "mismatch"
    type: Literal["float", "int", "categorical"] = "float"
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    choices: tuple[str, ...] = ()
    initial: Value | None = None
    differentiable: bool = False
    when: Conditions = ()
    nominal: Value | None = field(default=None, compare=False)
    by_square: bool = False

    @property
    def width(self) -> int:
        """Number of unit-cube coordinates the dimension takes."""
        return len(self.choices) if self.type == "categorical" else 1

    @property
    def distribution(self) -> BaseDistribution:
        """The same range as an Optuna distribution."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.type == "categorical":
            return CategoricalDistribution(self.choices)
        if self.type == "int":
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def suggest(self, trial: Trial) -> Value:
        """Have the study's sampler give the trial a value."""
        if self.type == "categorical":
            return trial.suggest_categorical(self.name, self.choices)
        if self.type == "int":
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    @property
    def inactive(self) -> list[float]:
        """Coordinates where the dimension is not active: the middle of the range, or the first choice.

        The middle is nearest to all values that the dimension may have. Exactly one choice is set, as everywhere else,
        so that a covariance of choices needs no special case.
        """
        return self.to_unit(self.choices[0]) if self.type == "categorical" else [0.5]

    def contains(self, value: Value) -> bool:
        """Whether the value is one of the choices, or a number in the range, its ends included."""
        if self.type == "categorical":
            return value in self.choices
        return not isinstance(value, str) and self.low <= value <= self.high

    def to_unit(self, value: Value) -> list[float]:
        """Coordinates of ``value``; int values are at the middle of their cell, so that all cells are equally wide."""
        if self.type == "categorical":
            return [1.0 if choice == value else 0.0 for choice in self.choices]
        low, high = self.edges()
        number = float(value)
        if self.log:
            return [math.log(number / low) / math.log(high / low)]
        if self.by_square:
            return [(number**2 - low**2) / (high**2 - low**2)]
        return [(number - low) / (high - low)]

    def from_unit(self, coordinates: Sequence[float]) -> Value:
        """The value at ``coordinates``, clipped to the range; the nearest int or the likeliest choice."""
        if self.type == "categorical":
            return self.choices[int(np.argmax(np.asarray(coordinates)))]
        value = float(self.between(min(max(float(coordinates[0]), 0.0), 1.0)))
        if self.type == "int":
            return int(min(max(math.floor(value + 0.5), self.low), self.high))
        return min(max(value, self.low), self.high)

    def between(self, u: Floats | float) -> Floats:
        """The numbers at coordinates in [0, 1], in the same shape; ints are not rounded."""
        low, high = self.edges()
        if self.log:
            values = low * (high / low) ** u
        elif self.by_square:
            values = np.sqrt(low**2 + u * (high**2 - low**2))
        else:
            values = low + u * (high - low)
        return np.asarray(values)

    @property
    def scale(self) -> Literal["log", "square", "linear"]:
        """How coordinates go with values."""
        return "log" if self.log else "square" if self.by_square else "linear"

    def acting(self, value: float) -> float:
        """See :meth:`autotune.objective.Parameter.acting`."""
        return value**2 if self.by_square else value

    def jacobian(self, value: float) -> float:
        """d value / d coordinate at ``value``, or d value^2 / d coordinate where it acts by its square.

        Raises:
            ValueError: the dimension is not a float.
        """
        if self.type != "float":
            raise ValueError(f"{self.name} is {self.type}: only a float dimension has a Jacobian")
        if self.log:
            return (2 * value**2 if self.by_square else value) * math.log(self.high / self.low)
        return self.acting(self.high) - self.acting(self.low)

    def edges(self) -> tuple[float, float]:
        """The range that maps to the unit interval; for ints half a step wider at both ends, for equally wide cells."""
        if self.type == "int":
            return self.low - 0.5, self.high + 0.5
        return self.low, self.high


@dataclass(frozen=True)
class Space:
    """The tuned parameters together, in the order of the study file.

    Raises:
        ValueError: a condition names a dimension that is not there, that is a float, or that depends on this one.
    """

    dimensions: tuple[Dimension, ...]

    def __post_init__(self) -> None:
        types = {dimension.name: dimension.type for dimension in self.dimensions}
        for dimension in self.dimensions:
            for other, _ in dimension.when:
                if types.get(other, "float") == "float":
                    kind = "a float" if other in types else "no dimension"
                    raise ValueError(f"{dimension.name} depends on {other}, which is {kind}; it must be int or choice")
        if len(self.asking_order) < len(self.dimensions):
            left = [name for name in self.names if name not in {d.name for d in self.asking_order}]
            raise ValueError(f"these depend on each other: {', '.join(left)}")

    @cached_property
    def asking_order(self) -> tuple[Dimension, ...]:
        """The dimensions, each after the ones that it depends on; otherwise in order."""
        ordered: list[Dimension] = []
        left = list(self.dimensions)
        while left:
            placed = {dimension.name for dimension in ordered}
            ready = next((d for d in left if all(other in placed for other, _ in d.when)), None)
            if ready is None:
                break  # a cycle
            ordered.append(ready)
            left.remove(ready)
        return tuple(ordered)

    @property
    def conditional(self) -> bool:
        """Whether any dimension has conditions."""
        return any(dimension.when for dimension in self.dimensions)

    def active(self, values: Mapping[str, Value]) -> set[str]:
        """Names of the dimensions that are active where parameters have ``values``.

        Values of inactive dimensions are ignored.

        Args:
            values: parameter name -> value; inactive dimensions may be left out.
        """
        active: set[str] = set()
        for dimension in self.asking_order:
            if all(other in active and values.get(other) in allowed for other, allowed in dimension.when):
                active.add(dimension.name)
        return active

    def contains(self, values: Mapping[str, Value]) -> bool:
        """Whether every active dimension has a value in its range or among its choices."""
        active = self.active(values)
        return all(d.name in values and d.contains(values[d.name]) for d in self.dimensions if d.name in active)

    def suggest(self, trial: Trial) -> dict[str, Value]:
        """Have the study's sampler give the trial a value for every active dimension, and for no other."""
        values: dict[str, Value] = {}
        for dimension in self.asking_order:
            if all(values.get(other) in allowed for other, allowed in dimension.when):
                values[dimension.name] = dimension.suggest(trial)
        return {name: values[name] for name in self.names if name in values}

    @property
    def names(self) -> list[str]:
        """Parameter names in order."""
        return [dimension.name for dimension in self.dimensions]

    @property
    def width(self) -> int:
        """Number of unit-cube coordinates in all."""
        return sum(dimension.width for dimension in self.dimensions)

    def distributions(self) -> dict[str, BaseDistribution]:
        """The space as Optuna distributions, whether active or not."""
        return {dimension.name: dimension.distribution for dimension in self.dimensions}

    def to_unit(self, values: Mapping[str, Value]) -> Floats:
        """Map parameter values to a point of the unit cube, shape (width,); values of inactive ones are ignored."""
        active = self.active(values)
        coordinates = [d.to_unit(values[d.name]) if d.name in active else d.inactive for d in self.dimensions]
        return np.array([u for of_dimension in coordinates for u in of_dimension], dtype=np.float64)

    def from_unit(self, point: Sequence[float] | Floats) -> dict[str, Value]:
        """Map a point of the unit cube, shape (width,), to the values of the dimensions active there."""
        values: dict[str, Value] = {}
        start = 0
        for dimension in self.dimensions:
            values[dimension.name] = dimension.from_unit([float(u) for u in point[start : start + dimension.width]])
            start += dimension.width
        active = self.active(values)
        return {name: value for name, value in values.items() if name in active}

    def gradient_to_unit(self, values: Mapping[str, Value], gradient: Mapping[str, float]) -> dict[str, float]:
        """Chain rule: gradient per parameter unit -> gradient per unit-cube coordinate, for the active names given."""
        active = self.active(values)
        return {
            d.name: gradient[d.name] * d.jacobian(float(values[d.name]))
            for d in self.dimensions
            if d.name in gradient and d.type == "float" and d.name in active
        }

    def stated(self) -> dict[str, Value]:
        """The user's stated values, by name; without those of dimensions that other stated values make inactive."""
        stated: dict[str, Value] = {}
        impossible: set[str] = set()
        for d in self.asking_order:
            if any(p in impossible or (p in stated and stated[p] not in allowed) for p, allowed in d.when):
                impossible.add(d.name)
            elif d.initial is not None:
                stated[d.name] = d.initial
        return {name: stated[name] for name in self.names if name in stated}

    def as_dict(self) -> list[dict[str, Any]]:
        """Plain data that identifies the space (stored with the study to detect a change)."""
        return [
            {"name": d.name, "unit": d.unit, "kind": d.kind, "type": d.type, "choices": list(d.choices)}
            | ({} if d.type == "categorical" else {"low": d.low, "high": d.high, "log": d.log})
            | ({"by_square": True} if d.by_square else {})
            | ({} if d.initial is None else {"initial": d.initial})
            | ({} if not d.when else {"when": {other: list(values) for other, values in d.when}})
            for d in self.dimensions
        ]

    @classmethod
    def from_dict(cls, data: Iterable[Mapping[str, Any]]) -> Space:
        """The space that :meth:`as_dict` described, without the attributes that do not identify it."""
        return cls(
            tuple(
                Dimension(**{**d, "choices": tuple(d["choices"]), "when": _conditions(d.get("when", {}))}) for d in data
            )
        )


def _conditions(when: Mapping[str, Sequence[Value]]) -> Conditions:
    return tuple((name, tuple(values)) for name, values in when.items())


def describe(when: Iterable[tuple[str, Sequence[Value]]]) -> str:
    """Conditions in words, such as ``solver is lsqml or epie and slices is 2 to 12``."""
    return " and ".join(f"{name} is {alternatives(values)}" for name, values in when)


def alternatives(values: Sequence[Value]) -> str:
    """Values in words, at least one; three or more whole numbers in a row as a range."""
    texts: list[str] = []
    start = 0
    while start < len(values):
        end = start
        while end + 1 < len(values) and isinstance(values[end], int) and values[end + 1] == int(values[end]) + 1:
            end += 1
        if end - start >= 2:
            texts.append(f"{values[start]} to {values[end]}")
        else:
            texts += [str(value) for value in values[start : end + 1]]
        start = end + 1
    return f"{', '.join(texts[:-1])} or {texts[-1]}" if len(texts) > 1 else texts[0]
