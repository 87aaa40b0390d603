"""Unit-cube coordinates in which some columns take only certain values.

A point has the D = ``Space.width`` coordinates of :meth:`autotune.problem.space.Space.to_unit`: one per float or int
dimension, one per choice (one-hot) of a categorical dimension. Int columns take only the middles of their
cells, and all columns of an inactive dimension the one value that stands for that.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from autotune.problem.space import Dimension, Floats, Space
from autotune.surrogate.model.covariance import Groups

# A fully discrete space up to this many points is enumerated rather than sampled.
ENUMERABLE = 4096


@dataclass(frozen=True)
class Coordinates:
    """The columns of a space's unit cube and the values they may take.

    Attributes:
        space: the search space, of k dimensions and D coordinates.
    """

    space: Space

    @cached_property
    def columns(self) -> list[tuple[Dimension, int]]:
        """Each dimension with the index of its first column."""
        starts = itertools.accumulate((d.width for d in self.space.dimensions), initial=0)
        return list(zip(self.space.dimensions, starts, strict=False))

    @cached_property
    def discrete(self) -> list[int]:
        """Indices of the columns of int and categorical dimensions."""
        return [start + i for d, start in self.columns if d.type != "float" for i in range(d.width)]

    @cached_property
    def groups(self) -> Groups:
        """The smooth columns (floats and ints), and the columns of each categorical dimension."""
        smooth = [start for d, start in self.columns if d.type != "categorical"]
        categorical = [range(start, start + d.width) for d, start in self.columns if d.type == "categorical"]
        return Groups(torch.tensor(smooth, dtype=torch.int64), tuple(torch.tensor(list(c)) for c in categorical))

    @property
    def all_discrete(self) -> bool:
        """Whether no column varies continuously."""
        return len(self.discrete) == self.space.width

    @property
    def size(self) -> int | None:
        """Number of points of a fully discrete space; None where a dimension is continuous.

        With conditions, the number of combinations: points that differ only in inactive dimensions count separately.
        """
        if not self.all_discrete:
            return None
        return int(np.prod([self._levels(d) for d, _ in self.columns]))

    def from_uniform(self, uniform: Floats) -> Floats:
        """Map uniform numbers, shape (n, k), one per dimension, to points, shape (n, D).

        Every int value and every choice gets an equal share of the unit interval.
        """
        points = np.zeros((len(uniform), self.space.width))
        for j, (dimension, start) in enumerate(self.columns):
            if dimension.type == "categorical":
                choice = np.minimum((uniform[:, j] * dimension.width).astype(int), dimension.width - 1)
                points[np.arange(len(uniform)), start + choice] = 1.0
            else:
                points[:, start] = uniform[:, j]
        return self.snap(points)

    def snap(self, points: Floats) -> Floats:
        """The points, shape (n, D), that are actually evaluated when ``points``, shape (n, D), are proposed."""
        return np.array([self.space.to_unit(self.space.from_unit(point)) for point in points]).reshape(
            len(points), self.space.width
        )

    def neighbours(self, point: Floats) -> Floats:
        """Points, shape (m, D), that differ from ``point``, shape (D,), in one discrete dimension that is active.

        Every other choice of a categorical; one cell and an eighth of the range up and down for an int. A dimension
        that becomes active with that starts at the middle of its range, or at its first choice.
        """
        moved = []
        values = self.space.from_unit(point)
        for dimension, start in self.columns:
            for value in _alternatives(dimension, values[dimension.name]) if dimension.name in values else ():
                other = point.copy()
                other[start : start + dimension.width] = dimension.to_unit(value)
                moved.append(other)
        neighbours = np.array(moved).reshape(len(moved), self.space.width)
        return self.snap(neighbours) if self.space.conditional else neighbours

    def enumerate(self) -> Floats:
        """Every point of a fully discrete space, shape (size, D); fewer where conditions make some of them equal.

        Raises:
            ValueError: a dimension is continuous, or there are more than ``ENUMERABLE`` points.
        """
        if self.size is None or self.size > ENUMERABLE:
            raise ValueError(f"the space has {self.size or 'infinitely many'} points: too many to enumerate")
        axes = [[d.to_unit(value) for value in _all_values(d)] for d, _ in self.columns]
        points = np.array([list(itertools.chain(*point)) for point in itertools.product(*axes)])
        return np.unique(self.snap(points), axis=0) if self.space.conditional else points

    def _levels(self, dimension: Dimension) -> int:
        if dimension.type == "categorical":
            return dimension.width
        return int(dimension.high) - int(dimension.low) + 1


def _all_values(dimension: Dimension) -> Iterator[int | str]:
    if dimension.type == "categorical":
        yield from dimension.choices
    else:
        yield from range(int(dimension.low), int(dimension.high) + 1)


def _alternatives(dimension: Dimension, value: float | int | str) -> list[int | str]:
    """The values next to ``value`` along one discrete dimension; an empty list for a float."""
    if dimension.type == "categorical":
        return [choice for choice in dimension.choices if choice != value]
    if dimension.type == "float":
        return []
    low, high, here = int(dimension.low), int(dimension.high), int(value)
    stride = max(1, (high - low) // 8)
    steps = {here - 1, here + 1, here - stride, here + stride}
    return [step for step in sorted(steps) if low <= step <= high]
