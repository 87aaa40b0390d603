"""Bare arrays in MATLAB files."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from autotune.objective import InputError
from objectives.diffraction.data.open.recognise import recognise
from tests.objectives.diffraction.data.files import counts, read
from tests.objectives.diffraction.data.formats.test_single_dataset import GEOMETRY


def write_mat73(path: Path, **variables: np.ndarray) -> Path:
    """MATLAB 7.3: HDF5 after 512 bytes of header, axes reversed, the class as an attribute."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            file[name] = value.transpose()
            file[name].attrs["MATLAB_class"] = np.bytes_("uint16")
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


@pytest.mark.parametrize("version", ["7.3", "5"])
def test_matlab_arrays_in_the_order_of_their_bytes(tmp_path: Path, version: str) -> None:
    data = counts(3, 4, 6, 8)  # (ry, rx, kx, ky)
    shown = data.transpose()  # what MATLAB calls dp(ky, kx, rx, ry)
    path = tmp_path / "a.mat"
    if version == "5":
        scipy.io.savemat(path, {"dp": shown, "alpha": 21.0})
    else:
        write_mat73(path, dp=shown, alpha=np.array([[21.0]]))
    assert recognise(path) == "mat"
    np.testing.assert_array_equal(read(path, GEOMETRY).patterns, data.reshape(12, 6, 8))
    turned = read(path, GEOMETRY, orientation={"transpose": True}).patterns
    np.testing.assert_array_equal(turned[5], shown[:, :, 1, 1])
    first = tmp_path / "first.mat"
    stored = data.transpose(2, 3, 0, 1)  # (kx, ky, ry, rx) in the file
    if version == "5":
        scipy.io.savemat(first, {"cbed": stored.transpose()})
    else:
        write_mat73(first, cbed=stored.transpose())
    m = read(first, GEOMETRY, detector_axes="first", region={"rows": [1, 3]}, crop=4)
    np.testing.assert_array_equal(m.patterns, data[1:, :, 1:5, 2:6].reshape(8, 4, 4))


def test_a_matlab_list_of_patterns_is_read_as_ptyrad_reads_it(tmp_path: Path) -> None:
    data = counts(12, 6, 8)
    path = write_mat73(tmp_path / "a.mat", dp=data.transpose())  # MATLAB: dp(8, 6, 12)
    np.testing.assert_array_equal(read(path, GEOMETRY, shape=(3, 4), key="dp").patterns, data)


def test_damaged_and_ambiguous_matlab_files(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"dp": counts(3, 4, 6, 8), "cbed": counts(2, 3, 4)})
    with pytest.raises(InputError, match=r"key: is needed: .*dp \(3, 4, 6, 8\), cbed \(2, 3, 4\)"):
        read(path, GEOMETRY)
    with pytest.raises(InputError, match="has no 'pd'; "):
        read(path, GEOMETRY, key="pd")
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(InputError, match=r"a.mat: cannot be read as a MATLAB file"):
        read(path, GEOMETRY, key="dp")
    scipy.io.savemat(path, {"image": counts(3, 4)})
    with pytest.raises(InputError, match=r"no array with three or four axes; it holds: image \(3, 4\)"):
        read(path, GEOMETRY)
