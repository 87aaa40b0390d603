"""Files in the layout that py4DSTEM 0.14.18 (emdfile 0.0.16) writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from autotune.objective import InputError
from objectives.diffraction.data.open.reading import open_contents
from objectives.diffraction.data.open.recognise import recognise
from objectives.diffraction.data.radiation import electron_wavelength_angstrom
from objectives.diffraction.data.settings import DataSettings, GeometrySettings
from tests.objectives.diffraction.data.files import counts, read

CALIBRATION: dict[str, Any] = {
    "Q_pixel_size": 0.05,
    "Q_pixel_units": b"A^-1",
    "R_pixel_size": 0.4,
    "R_pixel_units": b"A",
    "QR_rotation": np.deg2rad(12.0),
    "QR_rotation_degrees": 12.0,
    "QR_flip": False,
    "accelerating_voltage": 80e3,
    "convergence_semiangle_mrad": 21.0,
}


def write(path: Path, *, calibration: dict[str, Any] | None = None, cubes: int = 1) -> Path:
    """What ``py4DSTEM.save(path, datacube)`` writes."""
    with h5py.File(path, "w") as file:
        file.attrs.update(emd_group_type="file", version_major=1, version_minor=0, authoring_program="emdfile")
        root = file.create_group("datacube_root")
        root.attrs.update(emd_group_type="root", python_class="Root")
        for number in range(cubes):
            cube = root.create_group(f"datacube{number or ''}")
            cube.attrs.update(emd_group_type="array", python_class="DataCube")
            cube["data"] = counts(3, 4, 6, 8, seed=number)
            cube["data"].attrs["units"] = "pixel intensity"
            axes = [
                ("dim0", "Rx", 0.4, "A"),
                ("dim1", "Ry", 0.4, "A"),
                ("dim2", "Qx", 0.05, "A^-1"),
                ("dim3", "Qy", 0.05, "A^-1"),
            ]
            for name, label, step, unit in axes:
                cube[name] = np.array([0.0, step])
                cube[name].attrs.update(name=label, units=unit)
        group = root.create_group("metadatabundle/calibration")
        for name, value in (CALIBRATION if calibration is None else calibration).items():
            group[name] = value
    return path


def test_patterns_and_calibration(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    assert recognise(path) == "py4dstem"
    m = read(path)
    wavelength = electron_wavelength_angstrom(80)
    np.testing.assert_array_equal(m.patterns, counts(3, 4, 6, 8).reshape(12, 6, 8))
    np.testing.assert_allclose(m.positions[5] - m.positions[0], [0.4, 0.4])
    assert m.geometry.angular_sampling_mrad == pytest.approx((50 * wavelength,) * 2)  # type: ignore[union-attr]
    assert m.geometry.scan_rotation_degree == -12.0  # type: ignore[union-attr]
    assert m.geometry.semi_convergence_mrad == 21.0  # type: ignore[union-attr]


def test_rotation_has_our_sign(tmp_path: Path) -> None:
    # py4DSTEM 0.14.18: get_Qvector_from_Rvector(1, 0, 12) = (0.9781476, -0.2079117), row before column.
    rotation = read(write(tmp_path / "a.h5")).geometry.scan_rotation_degree  # type: ignore[union-attr]
    # Ours: the scan's axes in the detector's frame.
    v, (y, x) = np.deg2rad(rotation), (1.0, 0.0)
    ours = (
        np.cos(v) * y - np.sin(v) * x,
        np.sin(v) * y + np.cos(v) * x,
    )
    np.testing.assert_allclose(ours, (0.9781476, -0.2079117), atol=1e-7)


def test_flip_transposes_unless_the_study_says_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", calibration=CALIBRATION | {"QR_flip": True})
    data = counts(3, 4, 6, 8).reshape(12, 6, 8)
    np.testing.assert_array_equal(read(path).patterns, data.transpose(0, 2, 1))
    np.testing.assert_array_equal(read(path, orientation={"flip_x": True}).patterns, data[:, :, ::-1])


@pytest.mark.parametrize(
    ("unit", "size", "expected"),
    [(b"mrad", 1.5, 1.5), (b"A^-1", 0.05, 2.0878), (b"1/nm", 0.5, 2.0878), (b"\xc3\x85^-1", 0.05, 2.0878)],
)
def test_units_of_the_detector(tmp_path: Path, unit: bytes, size: float, expected: float) -> None:
    path = write(tmp_path / "a.h5", calibration=CALIBRATION | {"Q_pixel_units": unit, "Q_pixel_size": size})
    sampling = read(path).geometry.angular_sampling_mrad  # type: ignore[union-attr]
    assert sampling == pytest.approx((expected, expected), rel=1e-4)


def test_uncalibrated_pixels_are_asked_for(tmp_path: Path) -> None:
    plain = {"Q_pixel_size": 1, "Q_pixel_units": b"pixels", "R_pixel_size": 1, "R_pixel_units": b"pixels"}
    path = write(tmp_path / "a.h5", calibration=plain | {"QR_rotation": b"_None"})
    with pytest.raises(InputError) as caught:
        read(path)
    told = str(caught.value)
    assert len(caught.value.problems) == 3
    assert all(f"geometry.{n}" in told for n in ("scan_step_angstrom", "angular_sampling_mrad", "wavelength_angstrom"))
    assert "or reciprocal_sampling_per_angstrom" in told


def test_axes_serve_where_there_is_no_calibration(tmp_path: Path) -> None:
    m = read(write(tmp_path / "a.h5", calibration={}), GeometrySettings(radiation="electron", energy_kev=80))
    assert m.geometry.angular_sampling_mrad == pytest.approx((2.0878, 2.0878), rel=1e-4)  # type: ignore[union-attr]
    np.testing.assert_allclose(m.positions[5] - m.positions[0], [0.4, 0.4])


def test_what_the_study_states_wins(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    stated = read(path, GeometrySettings(angular_sampling_mrad=3.0)).geometry
    assert stated.angular_sampling_mrad == (3.0, 3.0)  # type: ignore[union-attr]
    again = read(path, GeometrySettings(reciprocal_sampling_per_angstrom=0.1)).geometry
    assert again.angular_sampling_mrad == pytest.approx((4.1757, 4.1757), rel=1e-4)  # type: ignore[union-attr]


def test_several_datacubes_and_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", cubes=2)
    with pytest.raises(InputError, match=r"data.key: is needed: .*/datacube_root/datacube/data \(3, 4, 6, 8\), /dat"):
        read(path)
    m = read(path, key="/datacube_root/datacube1/data")
    np.testing.assert_array_equal(m.patterns, counts(3, 4, 6, 8, seed=1).reshape(12, 6, 8))
    with pytest.raises(InputError, match="no numeric dataset with three or four axes; at its top level: datacube_root"):
        read(write(tmp_path / "b.h5", cubes=0))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("Q_pixel_size", b"wide", "calibration/Q_pixel_size: holds 'wide'"),
        ("R_pixel_size", -1.0, r"R_pixel_size: -1.0 is impossible"),
        ("accelerating_voltage", 0.0, "accelerating_voltage: 0.0 is impossible"),
        ("QR_flip", b"yes", "QR_flip: holds Python objects|QR_flip: holds text"),
    ],
)
def test_malformed_calibration(tmp_path: Path, name: str, value: object, words: str) -> None:
    path = write(tmp_path / "a.h5", calibration=CALIBRATION | {name: value})
    with pytest.raises(InputError, match=words), open_contents(path, DataSettings(file=path)):
        pass
