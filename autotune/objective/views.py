"""What an objective shows of its evaluations: units and axes of arrays, pictures, views of reconstructions and fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from autotune.objective.evaluation import Evaluation
from autotune.text import unit_label


@dataclass(frozen=True)
class ArrayAxis:
    """One axis of an array that an evaluation keeps: index i is at ``i * step``, in ``unit``; ``1`` where it counts."""

    name: str
    unit: str = "1"
    step: float = 1.0


@dataclass(frozen=True)
class ArrayDescription:
    """What an array holds, in ``unit``, and its axes."""

    unit: str
    axes: tuple[ArrayAxis, ...]


@runtime_checkable
class DescribesArrays(Protocol):
    """An objective that knows the units and axes of what its evaluations keep."""

    def describe_arrays(self, evaluation: Evaluation) -> Mapping[str, ArrayDescription]:
        """Name of an array -> what it is."""


@runtime_checkable
class DrawsPictures(Protocol):
    """An objective that can show its evaluations."""

    def pictures(self, evaluation: Evaluation) -> Mapping[str, bytes]:
        """Name -> PNG picture of the reconstruction, with axes, units and scale bars."""


@dataclass(frozen=True)
class View:
    """A picture of a reconstruction as data, so that those of several trials can be drawn on the same scales.

    Attributes:
        name: what it shows, such as ``object phase``; the same for every trial.
        image: (rows, columns), real.
        unit: of the values; ``1`` where they have none.
        pixel_y, pixel_x: size of a pixel, in ``length_unit``.
        length_unit: unit of lengths in the picture.
        colours: a colour map of matplotlib's in which equal steps look equal to everyone.
        limits: of the colours; None for those that hold all but the outliers.
    """

    name: str
    image: np.ndarray[Any, Any]
    unit: str
    pixel_y: float
    pixel_x: float
    length_unit: str
    colours: str = "cividis"
    limits: tuple[float, float] | None = None

    @property
    def label(self) -> str:
        """The name, with the unit in brackets where there is one."""
        return unit_label(self.name, self.unit)


@runtime_checkable
class ShowsReconstructions(Protocol):
    """An objective type that can show what its trials have kept, without their measurement (``autotune report``)."""

    def views(
        self, arrays: Mapping[str, np.ndarray[Any, Any]], attributes: Mapping[str, float | int | str]
    ) -> Sequence[View]:
        """What people look at first, the most telling first; none where the arrays hold nothing to show.

        Args:
            arrays, attributes: those of an :class:`Evaluation`.
        """


@runtime_checkable
class ShowsFits(Protocol):
    """An objective type that can show how the trials it kept fit the measurement, without it (``autotune report``)."""

    def fits(
        self, arrays: Mapping[str, np.ndarray[Any, Any]], attributes: Mapping[str, float | int | str]
    ) -> Sequence[View]:
        """What was measured, what the model says and what is left, then the probe; none where it was not kept.

        Each has limits: equal ones where images are compared, symmetric ones about zero for a difference.

        Args:
            arrays, attributes: those of an :class:`Evaluation`.
        """
