"""Programs of ptychography, whose reconstructions are judged by the metrics that judge our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autotune.objective import ArrayDescription, Evaluation, Metric, Problem
from objectives.command.arrays import array_of
from objectives.command.objective import CommandObjective, More
from objectives.command.outputs import NoResult
from objectives.command.settings import JUDGED, ReconstructionSettings
from objectives.diffraction.data.measurement import FarField, Measurement
from objectives.ptychography.evaluation.reconstruction import detector_pixel
from objectives.ptychography.evaluation.scanned_region import attributes_of_region
from objectives.ptychography.evaluation.stated import Stated, judge
from objectives.ptychography.model.device import Machine
from objectives.ptychography.output.arrays import describe_arrays
from objectives.ptychography.output.pictures import draw_reconstruction

_DESCRIBED = (
    "intensity consistency 1 - ||y - Hx|| / ||y|| of the arrays that the program left",
    "amplitude consistency of the same",
)


class JudgedObjective(CommandObjective):
    """A program that leaves object, probe and positions.

    Args:
        measurement: what the program reconstructs from.
        where: where it leaves the arrays.
        of_command: arguments of :class:`objectives.command.objective.CommandObjective`.
    """

    def __init__(self, measurement: Measurement, where: ReconstructionSettings, *of_command: Any) -> None:
        super().__init__(*of_command)
        self._measurement, self._where = measurement, where
        self._machine = Machine(torch.device("cpu"), torch.float32)

    def metrics(self) -> Sequence[Metric]:
        """The numbers that the study reads, then consistency and amplitude consistency of the frozen final state."""
        ceilings = (self._measurement.shot_noise_ceiling, None)
        judged = zip(JUDGED, ceilings, _DESCRIBED, strict=True)
        return [*super().metrics(), *(Metric(n, "maximize", noise_ceiling=c, description=d) for n, c, d in judged)]

    def describe_arrays(self, evaluation: Evaluation) -> Mapping[str, ArrayDescription]:
        """See :class:`autotune.objective.DescribesArrays`."""
        return describe_arrays(evaluation)

    def pictures(self, evaluation: Evaluation) -> Mapping[str, bytes]:
        """See :class:`autotune.objective.DrawsPictures`."""
        return {"reconstruction": draw_reconstruction(evaluation)} if "object" in evaluation.arrays else {}

    def _more(self, folder: Path) -> More:
        """The reconstruction of the working folder and what it is worth.

        Raises:
            NoResult: arrays are missing, or do not fit the measurement.
        """
        stated = self._stated(folder)
        try:
            judged = judge(self._measurement, self._machine, stated)
        except ValueError as error:
            raise NoResult(Problem("reconstruction", str(error))) from None
        arrays = {
            "object": stated.object.astype(np.complex64),
            "probe": judged.probe,
            "pattern_measured": judged.measured,
            "pattern_modelled": judged.modelled,
        }
        return More(judged.metrics, arrays, self._attributes(stated))

    def _stated(self, folder: Path) -> Stated:
        """The arrays that the program left."""
        where = self._where
        whole, modes, positions = (array_of(source, folder) for source in (where.object, where.probe, where.positions))
        if np.iscomplexobj(positions):
            raise NoResult(Problem("positions", "are complex", "give (y, x) in pixels of the object"))
        whole, modes = (array[None] if array.ndim == 2 else array for array in (whole, modes))
        return Stated(whole, modes, positions.astype(np.float64), where.slice_thickness_angstrom)

    def _attributes(self, stated: Stated) -> Mapping[str, float | int | str]:
        """What a reader of the arrays needs; see the objective ``ptychography``."""
        geometry, window = self._measurement.geometry, stated.probe.shape[-2:]
        unit, pixel = "object pixel", (1.0, 1.0)
        if isinstance(geometry, FarField) and geometry.angular_sampling_mrad and geometry.wavelength_angstrom:
            angles = [n * sampling * 1e-3 for n, sampling in zip(window, geometry.angular_sampling_mrad, strict=True)]
            unit, pixel = (
                "angstrom",
                (geometry.wavelength_angstrom / angles[0], geometry.wavelength_angstrom / angles[1]),
            )
        return {
            "length_unit": unit,
            "object_pixel_y": pixel[0],
            "object_pixel_x": pixel[1],
            **attributes_of_region(np.round(stated.positions).astype(np.int64)),
            **detector_pixel(geometry),
        }
