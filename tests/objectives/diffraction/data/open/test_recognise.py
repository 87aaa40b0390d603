"""Files that more than one format could claim."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from autotune.objective import InputError
from objectives.diffraction.data.open.recognise import recognise

Mark = Callable[[h5py.File], object]


def _patterns(file: h5py.File) -> object:
    return file.create_dataset("meas", data=np.ones((3, 4, 4)))


def _cxi_patterns(file: h5py.File) -> object:
    return file.create_dataset("/entry_1/data_1/data", data=np.ones((3, 4, 4)))


def _cxi_version(file: h5py.File) -> object:
    return file.create_dataset("cxi_version", data=160)


def _entry(file: h5py.File) -> object:
    return file.require_group("entry_1")


def _nexus_entry(file: h5py.File) -> object:
    return file.require_group("entry_1").attrs.__setitem__("NX_class", "NXentry")


def _emd_root(file: h5py.File) -> object:
    return file.require_group("entry_1").attrs.__setitem__("emd_group_type", "root")


def _ours(file: h5py.File) -> object:
    return file.attrs.__setitem__("format", "autotune measurement")


def _hyperspy(file: h5py.File) -> object:
    return file.attrs.__setitem__("file_format", "HyperSpy")


@pytest.mark.parametrize(
    ("name", "marks", "expected"),
    [
        ("a.h5", [_patterns], "dataset"),
        ("a.nxs", [_patterns], "dataset"),
        ("a.h5", [_entry], "cxi"),
        ("a.h5", [_nexus_entry], "nexus"),
        ("a.nxs", [_nexus_entry, _cxi_patterns], "cxi"),
        ("a.h5", [_nexus_entry, _cxi_version], "cxi"),
        ("a.h5", [_emd_root, _cxi_version], "py4dstem"),
        ("a.h5", [_emd_root, _nexus_entry], "py4dstem"),
        ("a.h5", [_emd_root, _ours], "hdf5"),
        ("a.cxi", [_ours, _cxi_patterns], "hdf5"),
        ("a.emd", [_patterns], "rsciio"),
        ("a.emd", [_emd_root], "py4dstem"),
        ("a.h5", [_hyperspy], "rsciio"),
        ("a.h5", [_hyperspy, _entry], "cxi"),
        ("a.hspy", [_nexus_entry], "nexus"),
    ],
)
def test_hdf5_by_the_strongest_mark(tmp_path: Path, name: str, marks: list[Mark], expected: str) -> None:
    with h5py.File(tmp_path / name, "w", userblock_size=512) as file:
        for mark in marks:
            mark(file)
    assert recognise(tmp_path / name) == expected
    with (tmp_path / name).open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file")
    assert recognise(tmp_path / name) == "mat"


@pytest.mark.parametrize(
    ("name", "start", "expected"),
    [
        ("a.npz", b"PK\x03\x04", "npz"),
        ("a.h5", b"PK\x03\x04", "npz"),
        ("a.ZSPY", b"PK\x03\x04", "rsciio"),
        ("a.prz", b"PK\x03\x04", "rsciio"),
        ("a.raw", b"\x93NUMPY", "npy"),
        ("a.npy", b"MATLAB 5.0 MAT-file", "mat"),
        ("a.raw", b"?", "empad"),
        ("a.h5", b"?", "hdf5"),
        ("a.hdf5", b"?", "hdf5"),
        ("a.nxs", b"?", "nexus"),
        ("a.mib", b"", "rsciio"),
    ],
)
def test_other_files_by_first_bytes_then_by_suffix(tmp_path: Path, name: str, start: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(start)
    assert recognise(tmp_path / name) == expected


def test_a_folder_is_a_file_only_by_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.zspy").mkdir()
    assert recognise(tmp_path / "a.zspy") == "rsciio"
    with pytest.raises(InputError, match="is of no known format"):
        recognise(tmp_path)
