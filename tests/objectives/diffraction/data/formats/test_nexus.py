from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from autotune.objective import InputError
from objectives.diffraction.data.open.recognise import recognise
from objectives.diffraction.data.radiation import photon_wavelength_angstrom
from objectives.diffraction.data.settings import GeometrySettings
from tests.objectives.diffraction.data.files import counts, read

RNG = np.random.default_rng(2)
TRANSLATION = RNG.uniform(-5, 5, (6, 3))

CLASSES = {
    "entry": "NXentry",
    "entry/instrument": "NXinstrument",
    "entry/instrument/det": "NXdetector",
    "entry/instrument/source": "NXsource",
    "entry/instrument/beam": "NXbeam",
    "entry/sample": "NXsample",
    "entry/sample/geometry": "NXgeometry",
    "entry/sample/transformations": "NXtransformations",
    "entry/data": "NXdata",
}


def write(path: Path, **changes: Any) -> Path:
    """An NXentry of six patterns; a change is {name: (value, unit) or None}."""
    mask = np.zeros((8, 10), np.uint32)
    mask[1, 2] = 2
    datasets: dict[str, Any] = {
        "entry/instrument/det/data": (counts(6, 8, 10), None),
        "entry/instrument/det/distance": (1500.0, "mm"),
        "entry/instrument/det/x_pixel_size": (50.0, "um"),
        "entry/instrument/det/y_pixel_size": (75e-6, "m"),
        "entry/instrument/det/pixel_mask": (mask, None),
        "entry/instrument/beam/incident_energy": (10.0, "keV"),
        "entry/sample/geometry/translation": (TRANSLATION, "um"),
    }
    datasets |= {name.replace("__", "/"): value for name, value in changes.items()}
    with h5py.File(path, "w") as file:
        for name, kind in CLASSES.items():
            file.create_group(name).attrs["NX_class"] = kind
        for name, dataset in datasets.items():
            if dataset is not None:
                file[name], unit = dataset
                if unit is not None:
                    file[name].attrs["units"] = unit
    return path


def test_patterns_geometry_mask_and_positions_with_units(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nxs")
    assert recognise(path) == "nexus" == recognise(write(tmp_path / "a.h5"))
    m = read(path)
    mask = np.zeros((8, 10), bool)
    mask[1, 2] = True
    np.testing.assert_array_equal(m.patterns, np.where(mask, 0, counts(6, 8, 10)))
    np.testing.assert_array_equal(~m.valid, mask)
    assert m.geometry.wavelength_angstrom == pytest.approx(photon_wavelength_angstrom(10))
    assert m.geometry.angular_sampling_mrad == pytest.approx((0.05, 50 / 1500))  # type: ignore[union-attr]
    moved = TRANSLATION[:, [1, 0]] * 1e4
    np.testing.assert_allclose(m.positions, moved - moved.mean(axis=0))


@pytest.mark.parametrize(
    "energy",
    [(10e3, "eV"), (1.602176634e-15, "J"), (1.602176634e-15, None), (10e3, None)],
)
def test_energies(tmp_path: Path, energy: Any) -> None:
    path = write(tmp_path / "a.nxs", entry__instrument__beam__incident_energy=energy)
    assert read(path).geometry.wavelength_angstrom == pytest.approx(photon_wavelength_angstrom(10), rel=1e-6)


def test_wavelength_of_electrons_and_stated_wavelengths(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nxs", entry__instrument__source__probe=("electron", None))
    assert read(path).geometry.wavelength_angstrom == pytest.approx(0.12205, abs=1e-5)  # 10 keV
    path = write(tmp_path / "b.nxs", entry__instrument__beam__incident_wavelength=(0.2, "nm"))
    assert read(path).geometry.wavelength_angstrom == pytest.approx(2.0)


def test_near_field(tmp_path: Path) -> None:
    geometry = read(write(tmp_path / "a.nxs"), GeometrySettings(regime="near field")).geometry
    assert geometry.detector_distance_mm == pytest.approx(1500)  # type: ignore[union-attr]
    assert geometry.detector_pixel_um == pytest.approx((75, 50))  # type: ignore[union-attr]


@pytest.mark.parametrize("group", ["entry__sample__transformations", "entry__data"])
def test_axes_among_transformations_or_data(tmp_path: Path, group: str) -> None:
    axes = {f"{group}__sample_x": (TRANSLATION[:, 0], "mm"), f"{group}__sample_y": (TRANSLATION[:, 1], "mm")}
    m = read(write(tmp_path / "a.nxs", entry__sample__geometry__translation=None, **axes))
    moved = TRANSLATION[:, [1, 0]] * 1e7
    np.testing.assert_allclose(m.positions, moved - moved.mean(axis=0))


def test_a_raster_with_one_value_per_row_and_column(tmp_path: Path) -> None:
    m = read(
        write(
            tmp_path / "a.nxs",
            entry__sample__geometry__translation=None,
            entry__instrument__det__data=(counts(2, 3, 8, 10), None),
            entry__data__y_set=(np.array([0.0, 2.0]), "nm"),
            entry__data__x_set=(np.array([0.0, 3.0, 6.0]), "nm"),
        )
    )
    assert m.scan_shape == (2, 3)
    np.testing.assert_allclose(m.positions[4] - m.positions[0], [20, 30])


def test_signal_of_a_data_group(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nxs", entry__instrument__det__data=None, entry__data__stack=(counts(6, 8, 10), None))
    with h5py.File(path, "a") as file:
        file["entry/data"].attrs["signal"] = "stack"
    assert read(path).patterns.shape == (6, 8, 10)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"entry__instrument__det__data": None}, "no numeric dataset with three or four axes"),
        ({"entry__instrument__det__distance": (1.0, "parsec")}, "distance: has the unit 'parsec'"),
        ({"entry__instrument__det__distance": (-1.0, "m")}, r"distance: -1000.0 is impossible"),
        ({"entry__instrument__beam__incident_energy": (-1.0, "eV")}, "incident_energy: -1.0 eV is impossible"),
        ({"entry__instrument__beam__incident_energy": (1.0, "hartree")}, "incident_energy: 1.0 hartree is impossible"),
        ({"entry__instrument__beam__incident_energy": None}, "geometry.wavelength_angstrom is not in"),
        ({"entry__instrument__det__x_pixel_size": None}, "geometry.detector_pixel_um is not in"),
        ({"entry__sample__geometry__translation": (np.ones((6, 5)), "m")}, r"translation: has shape \(6, 5\)"),
        ({"entry__sample__geometry__translation": (np.eye(5, 3), "m")}, r"translation: has shape \(5, 2\).*6 patterns"),
        ({"entry__sample__geometry__translation": None}, r"data.shape: is needed"),
        ({"entry__instrument__det__pixel_mask": (np.zeros((4, 4), int), None)}, r"mask: has shape \(4, 4\)"),
    ],
)
def test_malformed(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(write(tmp_path / "a.nxs", **changes))
    assert len(caught.value.problems) == 1


def test_positions_that_do_not_fit(tmp_path: Path) -> None:
    axes = {f"entry__data__{axis}": (np.arange(5.0), "mm") for axis in "xy"}
    with pytest.raises(InputError, match=r"/entry/data/y \(5,\) and /entry/data/x \(5,\) do not fit .*\(6,\)"):
        read(write(tmp_path / "a.nxs", entry__sample__geometry__translation=None, **axes))
