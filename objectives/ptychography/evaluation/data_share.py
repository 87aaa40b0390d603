"""Reduce the data that an evaluation uses: to a part of the scan, and to detector pixels summed in squares.

Less data cost less and come from the same instrument, so the best mismatch parameters are nearly the same: a search may
explore the wide range cheaply and finish on everything. The metric is that of the data used.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autotune.objective import Value
from objectives.diffraction.data.measurement import FarField, Measurement
from objectives.ptychography.evaluation.held_out import Split, split_counts
from objectives.ptychography.model.device import Machine
from objectives.ptychography.model.misfit import Data
from objectives.ptychography.settings import HeldOutSettings

FEWEST_POSITIONS = 9
"""Scan positions that are kept at least, if there are so many: of 3 x 3, one overlaps with others on all sides."""
_KEPT = 2
"""Reduced copies of the data that are kept: enough for a cheap level and for one that the study holds fixed."""
_POSITIONS_AT_ONCE = 64


@dataclass(frozen=True)
class Fidelity:
    """The share of a measurement that is used.

    Attributes:
        scan_fraction: share of the scan positions, 0..1.
        detector_binning: number of rows, and of columns, of detector pixels that are summed to one.
    """

    scan_fraction: float = 1.0
    detector_binning: int = 1

    @classmethod
    def from_values(cls, values: Mapping[str, Value]) -> Fidelity:
        """Take the fidelity from parameter values; a measurement that cannot be binned has no parameter for that."""
        return cls(float(values["scan_fraction"]), int(values.get("detector_binning", 1)))

    def positions(self, measurement: Measurement) -> int:
        """Number of scan positions used."""
        everything = len(measurement.positions)
        return min(everything, max(FEWEST_POSITIONS, math.ceil(self.scan_fraction * everything - 1e-9)))

    def detector_shape(self, measurement: Measurement) -> tuple[int, int]:
        """(rows, columns) of a pattern used."""
        rows, columns = measurement.valid.shape
        return rows // self.detector_binning, columns // self.detector_binning


def middle_positions(positions: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Indices of the ``count`` positions in the smallest square around the middle of the scan, in the scan's order.

    The part is compact, so that neighbours overlap as in the whole scan; a thinned-out scan would overlap less.

    Args:
        positions: (position, 2), in any unit and order.
        count: number of positions.
    """
    away = np.abs(positions - np.median(positions, axis=0))
    # The square grows until it holds enough; of its last, incomplete ring those nearest to the middle are taken.
    # Distances that differ by no more than rounding belong to one ring.
    ring = np.rint(away.max(axis=1) / max(away.max() * 1e-6, np.finfo(float).tiny))
    nearest = np.lexsort((np.hypot(away[:, 0], away[:, 1]), ring))
    return np.sort(nearest[:count])


def reduced(measurement: Measurement, fidelity: Fidelity) -> Measurement:
    """The part of ``measurement`` that ``fidelity`` uses: a copy of the part, or ``measurement`` itself if it is all.

    A binned pixel is the sum of its pixels, and valid where all of them are. Rows and columns left over at the edges
    are dropped, half of them at either side. The object's pixel keeps its size (but for dropped rows and columns), and
    the probe's window shrinks.
    """
    if fidelity.positions(measurement) == len(measurement.positions) and fidelity.detector_binning == 1:
        return measurement
    rows = middle_positions(measurement.positions, fidelity.positions(measurement))
    size, geometry = fidelity.detector_binning, measurement.geometry
    if size > 1:
        if not isinstance(geometry, FarField) or geometry.angular_sampling_mrad is None:
            raise ValueError("only a far field of known angular sampling can be binned")
        y, x = geometry.angular_sampling_mrad
        geometry = replace(geometry, angular_sampling_mrad=(size * y, size * x))
    shape = fidelity.detector_shape(measurement)
    patterns = np.empty((len(rows), *shape), np.float32)
    for start in range(0, len(rows), _POSITIONS_AT_ONCE):
        part = slice(start, start + _POSITIONS_AT_ONCE)
        patterns[part] = _squares(measurement.patterns[rows[part]], size).sum(axis=(2, 4))
    return replace(
        measurement,
        patterns=patterns,
        positions=measurement.positions[rows],
        geometry=geometry,
        valid=np.all(_squares(measurement.valid[None], size), axis=(2, 4))[0],
        # Only a measurement whose probe a lens forms is binned; a stored probe would have another window.
        probe=None if size > 1 else measurement.probe,
        scan_shape=None,
    )


def _first(pixels: int, size: int) -> int:
    """The first row, or column, that belongs to a whole bin."""
    return pixels % size // 2


def _squares(images: NDArray[np.generic], size: int) -> NDArray[np.generic]:
    """Reshape images (n, y, x) to (n, bin_y, size, bin_x, size)."""
    n, rows, columns = images.shape
    top, left = _first(rows, size), _first(columns, size)
    bins = rows // size, columns // size
    inside = images[:, top : top + bins[0] * size, left : left + bins[1] * size]
    return inside.reshape(n, bins[0], size, bins[1], size)


@dataclass(frozen=True)
class Level:
    """A measurement reduced to one fidelity.

    Attributes:
        measurement: the part of the measurement that is used.
        whole: the whole measurement.
        data: the counts used, on the device that reconstructs them.
        fidelity: the share of the measurement.
        held_out: the counts that a solver may not see where a held-out metric is tuned.
    """

    measurement: Measurement
    whole: Measurement
    data: Data
    fidelity: Fidelity
    held_out: HeldOutSettings

    def scalars(self, stated: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Mismatch parameters for :attr:`measurement`, converted from those for the unbinned detector.

        Binning moves the unscattered beam: its pixel (N//2, N//2) does not lie in the middle of its bin. Where pixels
        count a part f of their side, a bin integrates with gaps; its fill is that of the same variance.
        """
        size = self.fidelity.detector_binning
        if size == 1:
            return stated
        converted = dict(stated)
        for name, shift in zip(("center_offset_y", "center_offset_x"), self._beam, strict=True):
            converted[name] = (stated[name] + shift) / size
        converted["background"] = stated["background"] * size**2
        converted["detector_blur"] = stated["detector_blur"] / size
        converted["pixel_fill"] = (1 - (1 - stated["pixel_fill"].square()) / size**2).sqrt()
        return converted

    @cached_property
    def seen(self) -> Data:
        """All counts but the withheld ones."""
        return self._part(self._split.seen)

    @cached_property
    def withheld(self) -> Data:
        """The counts that a solver may not see."""
        return self._part(self._split.withheld)

    @cached_property
    def _split(self) -> Split:
        return split_counts(self.measurement.valid, len(self.measurement.positions), self.held_out)

    def _part(self, masks: NDArray[np.bool_]) -> Data:
        mask_of = torch.from_numpy(self._split.mask_of)
        return Data(self.data.patterns, torch.from_numpy(masks), self.data.machine, mask_of)

    @cached_property
    def _beam(self) -> tuple[float, float]:
        """Offset (y, x) of pixel N//2 from the middle of bin M//2, in pixels of the unbinned detector."""
        size = self.fidelity.detector_binning
        y, x = (n // 2 - _first(n, size) - size * (n // size // 2) - (size - 1) / 2 for n in self.whole.valid.shape)
        return y, x


class Levels:
    """A measurement at any fidelity; reduced copies are kept for the next evaluations."""

    def __init__(self, measurement: Measurement, machine: Machine, held_out: HeldOutSettings) -> None:
        self._machine, self._held_out = machine, held_out
        self.whole = self._cut(measurement, Fidelity())
        self._kept: OrderedDict[tuple[int, int], Level] = OrderedDict()

    def at(self, fidelity: Fidelity) -> Level:
        """The measurement at ``fidelity``."""
        measurement = self.whole.measurement
        key = (fidelity.positions(measurement), fidelity.detector_binning)
        if key == (len(measurement.positions), 1):
            return self.whole
        if key not in self._kept:
            while len(self._kept) >= _KEPT:
                self._kept.popitem(last=False)
            self._kept[key] = self._cut(measurement, fidelity)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _cut(self, whole: Measurement, fidelity: Fidelity) -> Level:
        used = reduced(whole, fidelity)
        data = Data(torch.from_numpy(used.patterns), torch.from_numpy(used.valid)[None], self._machine)
        return Level(used, whole, data, fidelity, self._held_out)
