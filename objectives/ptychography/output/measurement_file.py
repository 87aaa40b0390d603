"""Write the measurement as a reconstruction sees it, for programs that go on from there.

/patterns    (n, y, x) float32 counts, the unscattered beam at pixel N//2 of each axis; 0 where they are not compared
/valid       (y, x), or (n, y, x) where other pixels of other patterns are withheld: 1 where they are compared
/positions   (n, 2) (y, x) of the object's pixel under the probe's middle, not rounded
/probe       (mode, y, x) complex start, its middle at pixel N//2; its squared modulus sums to the counts of a pattern.
             Its window is larger than a pattern where the study pads it (parameter ``window_padding``): a pattern is
             then the middle of the probe's spectrum, and the object's pixels are as much smaller
/parameters  every parameter that acts -> its value, as attributes: also those that other programs do not model

Attributes: ``object_shape``, the object's pixel (y, x) with its unit, ``regime``, ``wavelength_angstrom`` where it is
known; in the near field ``effective_distance_mm``, from the specimen to the detector in a parallel beam.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from autotune.objective import Value
from objectives.diffraction.data.measurement import Measurement, NearField
from objectives.ptychography.model.forward import field_of, positions_in_object
from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.solvers.state import State

_AT_ONCE = 256


def write_measurement(
    path: Path, measurement: Measurement, misfit: Misfit, start: State, values: Mapping[str, Value]
) -> dict[str, str]:
    """Write the file; returns facts to print.

    Args:
        path: the file; it is not there.
        measurement: what was measured.
        misfit: the data and the model at the parameters.
        start: the state from which it is reconstructed.
        values: every parameter that acts -> its value.
    """
    data, model = misfit.data, misfit.model
    rows = data.seen.cpu().numpy()
    masks = (data.valid > 0).cpu().numpy()
    of = data.mask_of[data.seen].cpu().numpy()
    shape = model.layout.detector_shape
    with h5py.File(path, "x") as file:
        patterns = file.create_dataset("patterns", (len(rows), *shape), "f4", compression="gzip", compression_opts=1,
                                       shuffle=True, chunks=(1, *shape))  # fmt: skip
        for first in range(0, len(rows), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            counts = data.patterns[data.seen[part]].cpu().numpy()
            patterns[part] = np.where(masks[of[part]], counts, 0)
        alike = len(np.unique(of)) == 1
        file.create_dataset("valid", data=(masks[of[0]] if alike else masks[of]).astype(np.uint8), compression="gzip")
        file["positions"] = positions_in_object(model)[rows]
        file["probe"] = field_of(start.spectra).cpu().numpy().astype(np.complex64)
        file.attrs["object_shape"] = model.layout.object_shape
        file.attrs["object_pixel"] = [float(size) for size in model.scene.pixel]
        file.attrs["length_unit"] = measurement.position_unit
        geometry = measurement.geometry
        if geometry.wavelength_angstrom is not None:
            file.attrs["wavelength_angstrom"] = geometry.wavelength_angstrom
        file.attrs["regime"] = "near field" if isinstance(geometry, NearField) else "far field"
        if isinstance(geometry, NearField):
            before = float(values["focus_to_sample"])
            after = geometry.detector_distance_mm - before
            file.attrs["effective_distance_mm"] = after * before / geometry.detector_distance_mm
        file.create_group("parameters").attrs.update(values)
    return _said(len(rows), shape, model.layout.window, measurement, alike=alike)


def _said(
    count: int, shape: tuple[int, int], window: tuple[int, int], measurement: Measurement, *, alike: bool
) -> dict[str, str]:
    """What was written, and what one would not expect of it."""
    size = " x ".join(map(str, shape))
    facts = {"measurement": f"{count} patterns of {size} pixels, their positions, and the probe at the start"}
    if count < len(measurement.patterns):
        facts["left out"] = f"{len(measurement.patterns) - count} patterns that this reconstruction did not see"
    if not alike:
        facts["withheld"] = "other pixels of other patterns, which are 0 in patterns and in valid"
    if tuple(window) != tuple(shape):
        facts["padded"] = (
            f"the probe has a window of {' x '.join(map(str, window))} pixels (window_padding: 1 for none)"
        )
    return facts
