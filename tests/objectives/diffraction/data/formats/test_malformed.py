"""Whatever is wrong with a file, its reader says so in one clear error, never a library's traceback."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autotune.objective import InputError
from objectives.diffraction.data.formats.autotune_hdf5 import write_measurement
from tests.objectives.diffraction.data.files import counts, read, write_cxi, write_npz
from tests.objectives.diffraction.data.formats.test_autotune_hdf5 import simple


def _write_hdf5(path: Path) -> Path:
    write_measurement(path, simple())
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {"cxi": write_cxi, "npz": write_npz, "h5": _write_hdf5}


@pytest.mark.parametrize("suffix", WRITERS)
def test_empty_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.touch()
    with pytest.raises(InputError, match=r"is empty \(0 bytes\)"):
        read(path)


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.97])
def test_truncated_file(tmp_path: Path, suffix: str, kept: float) -> None:
    path = WRITERS[suffix](tmp_path / f"a.{suffix}")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(InputError, match=r"cut short|not a complete \.npz"):
        read(path)


@pytest.mark.parametrize("suffix", ["cxi", "h5", "hdf5"])
def test_not_hdf5_though_named_so(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_text("<html>Not found</html>")
    with pytest.raises(InputError, match=r"is not an HDF5 file; name"):
        read(path)


def test_npz_under_the_name_of_hdf5_is_recognised(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz").rename(tmp_path / "a.h5")
    assert read(path).patterns.shape == (12, 8, 8)


def test_wrong_format_stated(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not an HDF5 file"):
        read(write_npz(tmp_path / "a.npz"), format="cxi")
    with pytest.raises(InputError, match=r"not a complete \.npz"):
        read(write_cxi(tmp_path / "a.cxi"), format="npz")
    with pytest.raises(InputError, match=r"needs objective\.data\.format: cxi"):
        read(tmp_path / "a.cxi", format="hdf5")


def test_hdf5_without_patterns_and_unknown_suffix(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = counts(2, 2)
    with pytest.raises(InputError, match=r"no numeric dataset with three or four axes; at its top level: image"):
        read(tmp_path / "a.h5")
    (tmp_path / "a.doc").write_bytes(b"\0\0\0\4")
    with pytest.raises(
        InputError, match=r"no known format \(suffix '.doc'\); read are .*\.cxi, .*\.dm4, .*\.mib, .*\.npz"
    ):
        read(tmp_path / "a.doc")


def test_folder_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        read(tmp_path)
    (tmp_path / "scan_12.cxi").touch()
    with pytest.raises(InputError, match=r"there is no such file; did you mean 'scan_12.cxi'"):
        read(tmp_path / "scan_21.cxi")
    with pytest.raises(InputError, match=r"the folder .*nowhere does not exist"):
        read(tmp_path / "nowhere" / "a.cxi")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_file_without_permission(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz")
    path.chmod(0)
    with pytest.raises(InputError, match="cannot be opened: Permission denied"):
        read(path)


def _flawed(flaw: Callable[[np.ndarray], None]) -> np.ndarray:
    data = counts(6, 8, 10).astype(np.float64)
    flaw(data)
    return data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            _flawed(lambda d: d[2, 3].put(4, np.nan)),
            r"1 values are NaN or infinite \(first nan in pattern 2 .*\(3, 4\)",
        ),
        (_flawed(lambda d: d[2, 3].put(4, 1e300)), r"1 values are NaN or infinite \(first 1e\+300"),
        (_flawed(lambda d: d[2, 3].put(4, -0.5)), r"1 values are negative \(first -0.5 in pattern 2"),
        (counts(6, 8, 10).astype(np.int16) - 30, "values are negative"),
        (np.zeros((6, 8, 10), np.int32), "every value used is zero"),
        (_flawed(lambda d: d[1].fill(0)), r"1 of 6 patterns are all zero \(pattern 1\)"),
        (counts(1, 8, 10), "a scan has at least two positions"),
    ],
)
def test_impossible_values(tmp_path: Path, data: np.ndarray, words: str) -> None:
    translation = np.random.default_rng(0).normal(size=(len(data), 3))
    with pytest.raises(InputError, match=words) as caught:
        read(write_cxi(tmp_path / "a.cxi", data=data, translation=translation))
    assert len(caught.value.problems) == 1
    assert "detector_1/data" in str(caught.value)


def test_empty_patterns_that_chance_explains_are_kept(tmp_path: Path) -> None:
    data = counts(6, 8, 10, mean=0.02)
    data[0] = 0
    assert read(write_cxi(tmp_path / "a.cxi", data=data)).patterns.shape == (6, 8, 10)


def test_damaged_compressed_data(tmp_path: Path) -> None:
    path = _write_hdf5(tmp_path / "a.h5")
    with h5py.File(path) as file:
        chunk = file["patterns"].id.get_chunk_info(0)
    whole = bytearray(path.read_bytes())
    whole[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(bytes(whole))
    with pytest.raises(InputError, match=r"cannot be read as HDF5: .*filter returned failure|inflate"):
        read(path)


@pytest.mark.parametrize("value", [1e300, np.inf, np.nan])
@pytest.mark.parametrize("name", ["translation", "basis_vectors", "distance", "x_pixel_size", "wavelength"])
def test_absurd_numbers_in_cxi(tmp_path: Path, name: str, value: float) -> None:
    shapes = {"translation": (6, 3), "basis_vectors": (3, 2)}
    changed = np.random.default_rng(0).normal(size=shapes.get(name, ()))
    changed = np.where(changed == changed.max(), value, changed)
    path = write_cxi(tmp_path / "a.cxi", **{name: changed})
    if value == 1e300 and name in ("basis_vectors", "distance", "x_pixel_size"):
        assert np.isfinite(read(path).positions).all()  # a direction, or a number that is only very large
        return
    with pytest.raises(InputError, match=name):
        read(path)


# Not for HDF5: its library can crash on a damaged structure, and with it the test run.
@given(offset=st.floats(0, 1, exclude_max=True), garbage=st.binary(min_size=1, max_size=64))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_in_an_npz_never_raises_anything_else(tmp_path: Path, offset: float, garbage: bytes) -> None:
    whole = bytearray(write_npz(tmp_path / "a.npz").read_bytes())
    start = int(offset * len(whole))
    whole[start : start + len(garbage)] = garbage
    path = tmp_path / "damaged.npz"
    path.write_bytes(bytes(whole))
    try:
        measurement = read(path)
    except InputError as error:
        assert str(path) in str(error)
    else:  # the damage fell on unused bytes
        assert measurement.patterns.shape == (12, 8, 8)


def test_an_npz_whose_header_claims_more_than_there_is(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, counts(3, 4, 8, 8))
    claimed = stream.getvalue().replace(b"(3, 4, 8, 8)", b"(9, 9, 8, 8)")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("data.npy", claimed)
    with pytest.raises(InputError, match=r"data: holds 1536 bytes, but shape \(9, 9, 8, 8\) of uint16 needs 10368"):
        read(tmp_path / "a.npz")
