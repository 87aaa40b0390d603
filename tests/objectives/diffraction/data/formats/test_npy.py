"""Bare arrays in .npy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autotune.objective import InputError
from tests.objectives.diffraction.data.files import counts, read
from tests.objectives.diffraction.data.formats.test_single_dataset import GEOMETRY


def test_npy(tmp_path: Path) -> None:
    path, data = tmp_path / "a.npy", counts(3, 4, 6, 8)
    np.save(path, data)
    np.testing.assert_array_equal(read(path, GEOMETRY, step=2).patterns, data[::2, ::2].reshape(4, 6, 8))
    np.save(path, np.asfortranarray(data.astype(">i4")))
    np.testing.assert_array_equal(read(path, GEOMETRY).patterns, data.reshape(12, 6, 8))
    np.save(path, data.transpose(2, 3, 0, 1))
    np.testing.assert_array_equal(read(path, GEOMETRY, detector_axes="first").patterns, data.reshape(12, 6, 8))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"a.npy: cannot be read as .npy"):
        read(path, GEOMETRY)
    np.save(path, np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(InputError, match=r"a.npy: cannot be read as .npy"):
        read(path, GEOMETRY)
