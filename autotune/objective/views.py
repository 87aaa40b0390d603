"""Ways to show an objective's evaluations: units and axes of arrays, pictures, views of reconstructions and fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from autotune.objective.evaluation import Evaluation
from autotune.text import unit_label


@dataclass(frozen=True)
class ArrayAxis:
    """One axis of an array: index i is at ``i * step``, in ``unit``; the unit is ``1`` where the axis only counts."""

    name: str
    unit: str = "1"
    step: float = 1.0


@dataclass(frozen=True)
class ArrayDescription:
    """The unit of an array's values, ``1`` where they have none, and its axes in order."""

    unit: str
    axes: tuple[ArrayAxis, ...]


@runtime_checkable
class DescribesArrays(Protocol):
    """An objective that knows the units and axes of the arrays in its evaluations."""

    def describe_arrays(self, evaluation: Evaluation) -> Mapping[str, ArrayDescription]:
        """Name of an array -> its description."""


@runtime_checkable
class DrawsPictures(Protocol):
    """An objective that can draw its evaluations."""

    def pictures(self, evaluation: Evaluation) -> Mapping[str, bytes]:
        """Name -> PNG picture of the reconstruction, with axes, units and scale bars."""


@dataclass(frozen=True)
class View:
    """A picture of a reconstruction as data, so that pictures of several trials can be drawn on the same scales.

    Attributes:
        name: title, such as ``object phase``; the same for every trial.
        image: real values, shape (rows, columns).
        unit: unit of the values; ``1`` where they have none.
        pixel_y, pixel_x: size of a pixel, in ``length_unit``.
        length_unit: unit of lengths in the picture.
        colours: name of a perceptually uniform colour map of matplotlib that colour-blind readers can use too.
        limits: values at the ends of the colour map; None for the range of all values but the outliers.
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
    """An objective type that can show the kept reconstructions without the measurement (``autotune report``)."""

    def views(
        self, arrays: Mapping[str, np.ndarray[Any, Any]], attributes: Mapping[str, float | int | str]
    ) -> Sequence[View]:
        """Views of the reconstruction, the most informative first; empty where the arrays hold nothing to show.

        Args:
            arrays: those of an :class:`Evaluation`.
            attributes: those of an :class:`Evaluation`.
        """


@runtime_checkable
class ShowsFits(Protocol):
    """An objective type that can show how kept trials fit the data, without the measurement (``autotune report``)."""

    def fits(
        self, arrays: Mapping[str, np.ndarray[Any, Any]], attributes: Mapping[str, float | int | str]
    ) -> Sequence[View]:
        """Views of the measured data, the model, their difference, and the probe; empty where these were not kept.

        Each view has limits: equal ones for images that are compared, symmetric ones about zero for a difference.

        Args:
            arrays: those of an :class:`Evaluation`.
            attributes: those of an :class:`Evaluation`.
        """
