"""Write the measurement as a reconstruction sees it, for programs that go on from there.

/patterns    (n, y, x) float32 counts, the unscattered beam at pixel N//2 of each axis; 0 where they are not compared
/valid       (y, x), or (n, y, x) where other pixels of other patterns are withheld: 1 where they are compared
/positions   (n, 2) (y, x) of the object's pixel under the probe's middle, not rounded
/probe       (mode, y, x) complex start, its middle at pixel N//2; its squared modulus sums to the counts of a pattern

Attributes: ``object_shape``, the object's pixel with its unit, ``wavelength_angstrom`` where it is known.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from objectives.diffraction.data.measurement import Measurement
from objectives.ptychography.model.forward import field_of, positions_in_object
from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.solvers.state import State

_AT_ONCE = 256


def write_measurement(path: Path, measurement: Measurement, misfit: Misfit, start: State) -> dict[str, str]:
    """Write the file; returns facts to print.

    Args:
        path: the file; it is not there.
        measurement: what was measured.
        misfit: the data and the model at the parameters.
        start: the state from which it is reconstructed.
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
        wavelength = getattr(measurement.geometry, "wavelength_angstrom", None)
        if wavelength is not None:
            file.attrs["wavelength_angstrom"] = wavelength
    size = " x ".join(map(str, shape))
    return {"measurement": f"{len(rows)} patterns of {size} pixels, their positions, and the probe at the start"}
