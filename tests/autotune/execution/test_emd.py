"""Files of arrays: by name for any HDF5 reader, and as EMD 1.0 with axes and units."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest

from autotune.execution.emd import write_emd
from autotune.objective import ArrayAxis, ArrayDescription

OBJECT = np.arange(24, dtype=np.complex64).reshape(2, 3, 4) * (1 + 2j)
ARRAYS = {"object": OBJECT, "pattern": np.ones((3, 3), np.float32), "scale": np.float32(2.5)}
AXES = (ArrayAxis("slice"), ArrayAxis("y", "angstrom", 0.3), ArrayAxis("x", "angstrom", 0.1))
DESCRIPTIONS = {"object": ArrayDescription("1", AXES), "pattern": ArrayDescription("counts", AXES)}
ATTRIBUTES = {"length_unit": "angstrom", "consistency": 0.75, "iterations": 12, "emd_group_type": "mine"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.h5"
    write_emd(path, ARRAYS, ATTRIBUTES, DESCRIPTIONS)
    return path


def test_arrays_and_attributes_are_there_by_name(path: Path) -> None:
    with h5py.File(path) as file:
        for name, array in ARRAYS.items():
            assert np.array_equal(file[name][()], array) and file[name].dtype == array.dtype
        assert (file.attrs["consistency"], file.attrs["iterations"]) == (0.75, 12)
        assert file["object"] == file["reconstruction/object/data"]  # one data set, not a copy


def test_the_header_and_the_axes_are_those_of_emd(path: Path) -> None:
    with h5py.File(path) as file:
        header = {key: file.attrs[key] for key in ("emd_group_type", "version_major", "version_minor")}
        assert header == {"emd_group_type": "file", "version_major": 1, "version_minor": 0}
        root = file["reconstruction"]
        assert (root.attrs["emd_group_type"], root.attrs["python_class"]) == ("root", "Root")
        node = root["object"]
        assert (node.attrs["emd_group_type"], node["data"].attrs["units"]) == ("array", "")
        axes = [node[f"dim{n}"] for n in range(3)]
        names = [(axis.attrs["name"], axis.attrs["units"]) for axis in axes]
        assert names == [("slice", "pixels"), ("y", "A"), ("x", "A")]
        assert [axis[()].tolist() for axis in axes] == [
            [0, 1], pytest.approx([0, 0.3, 0.6]), pytest.approx([0, 0.1, 0.2, 0.3])
        ]  # fmt: skip
        # Described with more axes than it has: it counts pixels.
        assert [root["pattern"][f"dim{n}"].attrs["units"] for n in range(2)] == ["pixels", "pixels"]
        assert "dim2" not in root["pattern"] and root["pattern/data"].attrs["units"] == "counts"


READ = """
import sys, emdfile, numpy
root = emdfile.read(sys.argv[1])
node = root.tree("object")
assert list(node.dim_units) == ["pixels", "A", "A"]
assert (node.data == numpy.arange(24).reshape(2, 3, 4) * (1 + 2j)).all()
assert root.metadata["evaluation"]["consistency"] == 0.75
"""


@pytest.mark.skipif(find_spec("emdfile") is None, reason="the reference reader of EMD 1.0 is not installed")
def test_emdfile_reads_it(path: Path) -> None:
    # In a process of its own: it walks through all modules that are loaded, and some load others when looked at.
    done = subprocess.run([sys.executable, "-P", "-c", READ, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["reconstruction", "metadatabundle"])
def test_an_array_may_be_called_as_what_emd_keeps(name: str, tmp_path: Path) -> None:
    write_emd(tmp_path / "a.h5", {name: OBJECT, "other": OBJECT}, ATTRIBUTES)
    with h5py.File(tmp_path / "a.h5") as file:
        found = file["reconstruction_" if name == "reconstruction" else name]
        assert np.array_equal(found[()], OBJECT) and file["reconstruction"].attrs["emd_group_type"] == "root"
        assert np.array_equal(file["other"][()], OBJECT)
        assert file.attrs["consistency"] == 0.75
