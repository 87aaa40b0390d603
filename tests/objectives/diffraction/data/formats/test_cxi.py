from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from autotune.objective import InputError
from objectives.diffraction.data.measurement import FarField, NearField
from objectives.diffraction.data.settings import GeometrySettings
from tests.objectives.diffraction.data.files import DETECTOR, TRANSLATION, counts, cxi_datasets, read, write_cxi


def test_far_field_by_default(tmp_path: Path) -> None:
    m = read(write_cxi(tmp_path / "a.cxi"))
    assert isinstance(m.geometry, FarField)
    assert m.geometry.wavelength_angstrom == pytest.approx(1.23984198)
    assert m.geometry.angular_sampling_mrad == pytest.approx((0.0375, 0.025))
    np.testing.assert_array_equal(m.patterns, cxi_datasets()[f"{DETECTOR}/data"])
    assert m.counted and m.valid.all() and m.scan_shape is None


def test_near_field_when_the_study_says_so(tmp_path: Path) -> None:
    geometry = GeometrySettings(regime="near field", focus_to_sample_mm=4.0)
    m = read(write_cxi(tmp_path / "a.cxi", wavelength=None), geometry)
    assert isinstance(m.geometry, NearField)
    assert m.geometry.wavelength_angstrom == pytest.approx(1.23984198)  # from the photon energy of 10 keV
    assert m.geometry.detector_distance_mm == 2000
    assert m.geometry.detector_pixel_um == pytest.approx((75, 50))
    assert m.geometry.focus_to_sample_mm == 4.0


@pytest.mark.parametrize(
    ("basis", "row_axis", "column_axis"),
    [
        (np.array([[0, -1.0], [-1, 0], [0, 0]]), (1, 1.0), (0, 1.0)),
        (np.array([[0, -2.0, 0], [-3, 0, 0]]), (1, 1.0), (0, 1.0)),  # rows instead of columns
        (np.array([[0, 1.0], [-1, 0], [0, 0]]), (1, 1.0), (0, -1.0)),
        (np.array([[1.0, 0], [0, 1], [0, 0]]), (0, -1.0), (1, -1.0)),
        (None, (1, 1.0), (0, 1.0)),
    ],
)
def test_probe_moves_against_the_sample_along_the_detector_axes(
    tmp_path: Path,
    basis: np.ndarray | None,
    row_axis: tuple[int, float],
    column_axis: tuple[int, float],
) -> None:
    m = read(write_cxi(tmp_path / "a.cxi", basis_vectors=basis))
    t = cxi_datasets()[TRANSLATION] * 1e10
    expected = np.stack([t[:, axis] * sign for axis, sign in (row_axis, column_axis)], axis=1)
    np.testing.assert_allclose(m.positions, expected - expected.mean(axis=0), atol=1e-6)


def test_mask_bits(tmp_path: Path) -> None:
    mask = np.zeros((8, 10), np.uint32)
    mask[1, 2], mask[3, 4], mask[5, 6] = 0x8, 0x1000, 0x1004
    m = read(write_cxi(tmp_path / "a.cxi", mask=mask))
    assert np.argwhere(~m.valid).tolist() == [[1, 2], [5, 6]]
    assert not m.patterns[:, ~m.valid].any()


def test_data_at_the_alternative_place_and_by_content(tmp_path: Path) -> None:
    path = write_cxi(tmp_path / "a.h5", data=None)
    with h5py.File(path, "a") as file:
        file["/entry_1/data_1/data"] = counts(6, 8, 10)
    assert read(path).patterns.shape == (6, 8, 10)


def test_step_and_crop_while_reading(tmp_path: Path) -> None:
    path = write_cxi(tmp_path / "a.cxi")
    full, part = read(path), read(path, step=2, crop=4)
    np.testing.assert_array_equal(part.patterns, full.patterns[::2, 2:6, 3:7])
    np.testing.assert_allclose(part.positions - part.positions[0], (full.positions - full.positions[0])[::2])


def test_dead_pixels_of_hybrid_detectors_are_found(tmp_path: Path) -> None:
    data = counts(6, 8, 10).astype(np.uint32)
    data[:, 3, 3] = 2**32 - 1
    with pytest.raises(InputError, match=r"6 values are the largest number of their type \(first 4294967295"):
        read(write_cxi(tmp_path / "a.cxi", data=data))
    mask = np.zeros((8, 10), np.uint32)
    mask[3, 3] = 1
    assert read(write_cxi(tmp_path / "b.cxi", data=data, mask=mask)).patterns.max() < 100


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": None}, "has no dataset .*detector_1/data or /entry_1/data_1/data"),
        ({"data": counts(6, 8)}, r"data: has shape \(6, 8\)"),
        ({"data": np.full((6, 8, 10), b"x")}, "data: holds text"),
        ({"translation": None}, "has no dataset .*translation"),
        ({"translation": np.ones((5, 3))}, r"translation: has shape \(5, 2\).*6 patterns"),
        ({"translation": np.ones((6, 2))}, r"translation: has shape \(6, 2\); \(position, 3\)"),
        ({"distance": None}, "geometry.detector_distance_mm is not in .*a.cxi"),
        ({"x_pixel_size": None}, "geometry.detector_pixel_um is not in .*a.cxi"),
        ({"distance": -1.0}, "detector_1/distance: -1000.0 is impossible"),
        ({"wavelength": None, "energy": 0.0}, "energy: 0.0 J is impossible"),
        ({"wavelength": None, "energy": None}, "geometry.wavelength_angstrom is not in .*a.cxi"),
        ({"basis_vectors": np.ones((3, 3))}, r"basis_vectors: has shape \(3, 3\)"),
        ({"basis_vectors": np.zeros((3, 2))}, "a vector without direction"),
        ({"mask": np.ones((6, 8, 10), np.uint32)}, r"mask: has shape \(6, 8, 10\)"),
        ({"mask": np.ones((8, 10))}, "mask: holds values of type float64"),
    ],
)
def test_malformed_files(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(write_cxi(tmp_path / "a.cxi", **changes))
    assert len(caught.value.problems) == 1


def test_far_field_settings_have_no_place_in_the_near_field(tmp_path: Path) -> None:
    geometry = GeometrySettings(regime="near field", defocus_angstrom=1.0, semi_convergence_mrad=2.0)
    with pytest.raises(InputError) as caught:
        read(write_cxi(tmp_path / "a.cxi"), geometry)
    assert [problem.where for problem in caught.value.problems] == [
        "objective.geometry.semi_convergence_mrad",
        "objective.geometry.defocus_angstrom",
    ]


def test_focus_to_sample_must_lie_before_the_detector(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="3000 mm is not before the detector at 2000 mm"):
        read(write_cxi(tmp_path / "a.cxi"), GeometrySettings(regime="near field", focus_to_sample_mm=3000))


@pytest.mark.parametrize("option", [{"zero_frequency": "corner"}, {"positions": "angstrom"}])
def test_npz_options_are_refused(tmp_path: Path, option: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"is for \.npz files"):
        read(write_cxi(tmp_path / "a.cxi"), **option)
