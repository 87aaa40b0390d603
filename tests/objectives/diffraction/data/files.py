"""Small, correct measurement files of every format, for tests to read and to damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from objectives.diffraction.data.measurement import Measurement
from objectives.diffraction.data.open.reading import open_measurement
from objectives.diffraction.data.settings import DataSettings, GeometrySettings

DETECTOR = "/entry_1/instrument_1/detector_1"
SOURCE = "/entry_1/instrument_1/source_1"
TRANSLATION = "/entry_1/sample_1/geometry_1/translation"


def counts(*shape: int, seed: int = 0, mean: float = 20.0) -> NDArray[np.uint16]:
    """Poisson counts."""
    return np.random.default_rng(seed).poisson(mean, shape).astype(np.uint16)


def npz_arrays(**changes: Any) -> dict[str, Any]:
    """Arrays of a raster scan of electrons; a change to None leaves the key out."""
    arrays: dict[str, Any] = {
        "data": counts(3, 4, 8, 8),
        "angular_sampling_mrad": np.array([1.5, 2.0]),
        "energy_eV": 60e3,
        "semiangle_mrad": 21.0,
        "nominal_step_A": 0.5,
    }
    return {key: value for key, value in (arrays | changes).items() if value is not None}


def write_npz(path: Path, **changes: Any) -> Path:
    """A .npz file of :func:`npz_arrays`."""
    np.savez(path, **npz_arrays(**changes))
    return path


def cxi_datasets(**changes: Any) -> dict[str, Any]:
    """Datasets of a CXI file; the keys of ``changes`` are the last part of the dataset's name."""
    rng = np.random.default_rng(1)
    datasets: dict[str, Any] = {
        "/cxi_version": 160,
        f"{DETECTOR}/data": counts(6, 8, 10).astype(np.int32),
        f"{DETECTOR}/distance": 2.0,
        f"{DETECTOR}/x_pixel_size": 50e-6,
        f"{DETECTOR}/y_pixel_size": 75e-6,
        f"{DETECTOR}/basis_vectors": np.array([[0, -50e-6], [-75e-6, 0], [0, 0]]),
        f"{SOURCE}/energy": 1.602176634e-15,
        f"{SOURCE}/wavelength": 1.23984198e-10,
        TRANSLATION: rng.uniform(-1e-5, 1e-5, (6, 3)),
    }
    for name, value in changes.items():
        matching = [key for key in datasets if key.rsplit("/", 1)[1] == name] or [f"{DETECTOR}/{name}"]
        datasets[matching[0]] = value
    return {key: value for key, value in datasets.items() if value is not None}


def write_cxi(path: Path, **changes: Any) -> Path:
    """A .cxi file of :func:`cxi_datasets`."""
    with h5py.File(path, "w") as file:
        for name, value in cxi_datasets(**changes).items():
            file[name] = value
    return path


def read(path: Path, geometry: GeometrySettings | None = None, **data: Any) -> Measurement:
    """Open ``path`` as a study would."""
    return open_measurement(DataSettings(file=path, **data), geometry or GeometrySettings(), folder=path.parent)
