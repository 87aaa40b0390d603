"""The search space: what is tuned, over which range, on which scale, and its map to the unit cube.

Every float and int dimension takes one coordinate in [0, 1]; a categorical dimension takes one coordinate per choice
(one-hot). The Jacobian of the map carries gradients of the metric from a parameter's own unit to the unit cube.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from autotune.objective import Kind, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Dimension:
    """One tuned parameter.

    Attributes:
        name, unit, kind, type: as in :class:`autotune.objective.Parameter`.
        low, high: the range, inclusive, in ``unit`` (float and int).
        log: logarithmic scale between ``low`` and ``high``.
        choices: the values of a categorical dimension.
        initial: the user's stated value, tried first; ``None`` where none is stated.
        differentiable: whether evaluations may carry a gradient for it.
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

    def to_unit(self, value: Value) -> list[float]:
        """Coordinates of ``value``; int values sit at the middle of their cell, so each cell is equally wide."""
        if self.type == "categorical":
            return [1.0 if choice == value else 0.0 for choice in self.choices]
        low, high = self._edges()
        number = float(value)
        if self.log:
            return [math.log(number / low) / math.log(high / low)]
        return [(number - low) / (high - low)]

    def from_unit(self, coordinates: Sequence[float]) -> Value:
        """The value at ``coordinates``, clipped to the range; the nearest int or the likeliest choice."""
        if self.type == "categorical":
            return self.choices[int(np.argmax(np.asarray(coordinates)))]
        low, high = self._edges()
        u = min(max(float(coordinates[0]), 0.0), 1.0)
        value = low * (high / low) ** u if self.log else low + u * (high - low)
        if self.type == "int":
            return int(min(max(math.floor(value + 0.5), self.low), self.high))
        return min(max(value, self.low), self.high)

    def jacobian(self, value: float) -> float:
        """d value / d coordinate at ``value``, in ``unit``. Only a float dimension has one."""
        if self.type != "float":
            raise ValueError(f"{self.name} is {self.type}: only a float dimension has a Jacobian")
        if self.log:
            return value * math.log(self.high / self.low)
        return self.high - self.low

    def _edges(self) -> tuple[float, float]:
        """Range whose unit interval gives every int an equally wide cell; the plain range for floats."""
        if self.type == "int":
            return self.low - 0.5, self.high + 0.5
        return self.low, self.high


@dataclass(frozen=True)
class Space:
    """The tuned parameters together, in the order of the study file."""

    dimensions: tuple[Dimension, ...]

    @property
    def names(self) -> list[str]:
        """Parameter names in order."""
        return [dimension.name for dimension in self.dimensions]

    @property
    def width(self) -> int:
        """Number of unit-cube coordinates in all."""
        return sum(dimension.width for dimension in self.dimensions)

    def distributions(self) -> dict[str, BaseDistribution]:
        """The space as Optuna distributions."""
        return {dimension.name: dimension.distribution for dimension in self.dimensions}

    def to_unit(self, values: Mapping[str, Value]) -> Floats:
        """Map parameter values to a point of the unit cube, shape (width,)."""
        return np.array([u for d in self.dimensions for u in d.to_unit(values[d.name])], dtype=np.float64)

    def from_unit(self, point: Sequence[float] | Floats) -> dict[str, Value]:
        """Map a point of the unit cube, shape (width,), to parameter values."""
        values: dict[str, Value] = {}
        start = 0
        for dimension in self.dimensions:
            values[dimension.name] = dimension.from_unit([float(u) for u in point[start : start + dimension.width]])
            start += dimension.width
        return values

    def gradient_to_unit(self, values: Mapping[str, Value], gradient: Mapping[str, float]) -> dict[str, float]:
        """Chain rule: gradient per parameter unit -> gradient per unit-cube coordinate, for the names given."""
        return {
            d.name: gradient[d.name] * d.jacobian(float(values[d.name]))
            for d in self.dimensions
            if d.name in gradient and d.type == "float"
        }

    def stated(self) -> dict[str, Value]:
        """The user's stated values, for those dimensions that have one."""
        return {d.name: d.initial for d in self.dimensions if d.initial is not None}

    def as_dict(self) -> list[dict[str, Any]]:
        """Plain data that identifies the space (stored with the study to detect a change)."""
        return [
            {"name": d.name, "unit": d.unit, "kind": d.kind, "type": d.type, "choices": list(d.choices)}
            | ({} if d.type == "categorical" else {"low": d.low, "high": d.high, "log": d.log})
            | ({} if d.initial is None else {"initial": d.initial})
            for d in self.dimensions
        ]
