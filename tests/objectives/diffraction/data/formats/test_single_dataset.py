"""Bare arrays in HDF5 datasets under any name."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from autotune.objective import InputError
from objectives.diffraction.data.open.recognise import recognise
from objectives.diffraction.data.settings import GeometrySettings
from tests.objectives.diffraction.data.files import counts, read

GEOMETRY = GeometrySettings(wavelength_angstrom=0.05, angular_sampling_mrad=1.0, scan_step_angstrom=(0.5, 0.25))


def test_the_only_dataset_is_found_and_the_raster_is_the_studys(tmp_path: Path) -> None:
    path, data = tmp_path / "a.h5", counts(12, 6, 8)
    with h5py.File(path, "w") as file:
        file["scan/meas"] = data
        file["probe"] = np.ones((6, 8))
    assert recognise(path) == "dataset"
    m = read(path, GEOMETRY, shape=(3, 4))
    np.testing.assert_array_equal(m.patterns, data)
    np.testing.assert_allclose(m.positions[5] - m.positions[0], [0.5, 0.25])
    part = read(path, GEOMETRY, shape=(3, 4), region={"columns": [1, 3]}, step=2)
    np.testing.assert_array_equal(part.patterns, data.reshape(3, 4, 6, 8)[::2, 1:3:2].reshape(-1, 6, 8))
    with pytest.raises(InputError, match=r"shape: is needed: .*/scan/meas is a list of 12 patterns.*product is 12"):
        read(path, GEOMETRY)
    with pytest.raises(InputError, match=r"shape: \[5, 3\] is 15 positions, but .*/scan/meas holds 12 patterns"):
        read(path, GEOMETRY, shape=(5, 3))


def test_geometry_is_asked_for_by_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["meas"] = counts(3, 4, 6, 8)
    with pytest.raises(InputError) as caught:
        read(tmp_path / "a.h5")
    told = [problem.what.split(" ")[0] for problem in caught.value.problems]
    assert told == ["geometry.angular_sampling_mrad", "geometry.wavelength_angstrom", "geometry.scan_step_angstrom"]


def test_the_key_where_there_are_several(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["first"], file["object"] = counts(3, 4, 6, 8), counts(2, 6, 8)
        file["text"] = "words"
    with pytest.raises(InputError, match=r"/first \(3, 4, 6, 8\), /object \(2, 6, 8\); .*key: /first"):
        read(path, GEOMETRY)
    with pytest.raises(InputError, match=r"has no dataset 'frist'; patterns may be in: /first"):
        read(path, GEOMETRY, key="frist")
    np.testing.assert_array_equal(read(path, GEOMETRY, key="first").patterns, counts(3, 4, 6, 8).reshape(12, 6, 8))
    with pytest.raises(InputError, match="/text: has shape"):
        read(path, GEOMETRY, key="text")
