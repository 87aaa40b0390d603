from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autotune.objective import InputError
from objectives.diffraction.data.measurement import FarField, NearField
from objectives.diffraction.data.radiation import electron_wavelength_angstrom
from objectives.diffraction.data.settings import GeometrySettings
from tests.objectives.diffraction.data.files import counts, npz_arrays, read, write_npz

RNG = np.random.default_rng(3)


def test_raster_becomes_positions_in_angstrom(tmp_path: Path) -> None:
    m = read(write_npz(tmp_path / "a.npz", nominal_defocus_A=40.0, nominal_rotation_deg=-3.0))
    assert m.patterns.dtype == np.float32
    np.testing.assert_array_equal(m.patterns, npz_arrays()["data"].reshape(12, 8, 8))
    assert m.scan_shape == (3, 4)
    np.testing.assert_allclose(m.positions[[0, 1, 4]], [[-0.5, -0.75], [-0.5, -0.25], [0.0, -0.75]])
    assert m.geometry == FarField(electron_wavelength_angstrom(60), (1.5, 2.0), 21.0, 40.0, -3.0)
    assert m.counted and m.valid.all() and m.position_unit == "angstrom"


def test_study_wins_over_file(tmp_path: Path) -> None:
    geometry = GeometrySettings(
        radiation="electron",
        energy_kev=300,
        angular_sampling_mrad=3.0,
        scan_step_angstrom=2.0,
        defocus_angstrom=-9.0,
    )
    m = read(write_npz(tmp_path / "a.npz"), geometry)
    assert m.geometry == FarField(electron_wavelength_angstrom(300), (3.0, 3.0), 21.0, -9.0, None)
    np.testing.assert_allclose(m.positions[1] - m.positions[0], [0, 2.0])


def test_step_and_crop_keep_the_beam_central(tmp_path: Path) -> None:
    data = np.zeros((3, 4, 9, 8), np.float64)
    data[..., 4, 4] = np.arange(1, 13).reshape(3, 4) + 0.5
    m = read(write_npz(tmp_path / "a.npz", data=data), step=2, crop=6)
    assert m.scan_shape == (2, 2) and m.patterns.shape == (4, 6, 6)
    np.testing.assert_array_equal(m.patterns[:, 3, 3], [1.5, 3.5, 9.5, 11.5])
    np.testing.assert_allclose(np.ptp(m.positions, axis=0), [1.0, 1.0])
    assert not m.counted


def test_whole_floats_are_counted(tmp_path: Path) -> None:
    assert read(write_npz(tmp_path / "a.npz", data=counts(2, 2, 4, 4).astype(float))).counted


def _pixel_scan(path: Path, **changes: object) -> Path:
    data = np.zeros((5, 8, 8), np.uint16)
    data[:, 0, 0] = 7
    data[:, 1, 0] = 3
    probe = (RNG.normal(size=(1, 2, 8, 8)) + 1j * RNG.normal(size=(1, 2, 8, 8))).astype(np.complex64)
    np.savez(path, **({"data": data, "scan": 40 + np.arange(10.0).reshape(5, 2) ** 2, "probe": probe} | changes))
    return path


def test_corner_and_object_pixels(tmp_path: Path) -> None:
    path = _pixel_scan(tmp_path / "a.npz")
    m = read(path, zero_frequency="corner", positions="object pixel")
    assert m.position_unit == "object pixel" and m.geometry == FarField()
    np.testing.assert_array_equal(m.patterns[:, 4, 4], 7)
    np.testing.assert_array_equal(m.patterns[:, 5, 4], 3)
    np.testing.assert_allclose(m.positions.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(m.positions[1] - m.positions[0], [4, 8])
    with np.load(path) as archive:
        np.testing.assert_array_equal(m.probe, archive["probe"][0])


def test_object_pixels_become_angstrom_where_geometry_is_known(tmp_path: Path) -> None:
    geometry = GeometrySettings(wavelength_angstrom=2.0, angular_sampling_mrad=[0.5, 0.25])
    for crop in (None, 4):
        m = read(
            _pixel_scan(tmp_path / "a.npz"),
            geometry,
            zero_frequency="corner",
            positions="object pixel",
            crop=crop,
        )
        assert m.position_unit == "angstrom"
        np.testing.assert_allclose(m.positions[1] - m.positions[0], [4 * 500.0, 8 * 1000.0])


def test_crop_in_object_pixels_keeps_probe_and_positions_consistent(tmp_path: Path) -> None:
    y, x = np.indices((8, 8)) - 4.0
    smooth = np.exp(-(y**2 + (x - 1) ** 2) / 8).astype(np.complex64)
    path = _pixel_scan(tmp_path / "a.npz", probe=smooth)
    full = read(path, zero_frequency="corner", positions="object pixel")
    half = read(path, zero_frequency="corner", positions="object pixel", crop=4)
    np.testing.assert_allclose(half.positions, full.positions / 2)
    assert full.probe is not None and half.probe is not None
    far = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(full.probe), norm="ortho"))
    cropped = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(half.probe), norm="ortho"))
    np.testing.assert_allclose(cropped, far[2:6, 2:6], atol=1e-6)


def test_mask_zeroes_bad_pixels_and_forgives_their_values(tmp_path: Path) -> None:
    data = counts(3, 4, 8, 8).astype(float)
    data[..., 2, 3] = np.nan
    data[..., 5, 6] = -1
    mask = np.zeros((8, 8), np.uint8)
    mask[2, 3] = mask[5, 6] = 1
    m = read(write_npz(tmp_path / "a.npz", data=data, mask=mask))
    np.testing.assert_array_equal(m.valid, mask == 0)
    assert not m.patterns[:, ~m.valid].any() and m.counted


def test_near_field_from_the_study(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, data=counts(3, 8, 8), positions=np.arange(6.0).reshape(3, 2))
    geometry = GeometrySettings(
        regime="near field",
        wavelength_angstrom=1.0,
        detector_distance_mm=1000,
        detector_pixel_um=50,
        focus_to_sample_mm=3,
    )
    assert read(path, geometry).geometry == NearField(1.0, 1000, (50, 50), 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": None}, "has no array 'data'"),
        ({"data": counts(12, 8, 8)}, r"objective.data.shape: is needed: .*12 patterns without positions"),
        ({"data": counts(8, 8)}, r"has shape \(8, 8\)"),
        ({"data": counts(3, 4, 0, 8)}, r"has shape \(3, 4, 0, 8\)"),
        ({"data": np.full((3, 4, 8, 8), "x")}, "data: holds text"),
        ({"data": np.ones((3, 4, 8, 8), complex)}, "data: holds complex values"),
        ({"data": np.array([{"a": 1}], dtype=object)}, "data: holds Python objects"),
        ({"positions": counts(11, 2)}, r"positions: has shape \(11, 2\).*12 patterns"),
        ({"positions": np.full((12, 2), np.nan)}, "12 positions are not finite"),
        ({"positions": np.ones((12, 2))}, r"all 12 positions equal \[1.0, 1.0\]"),
        ({"positions": np.full((12, 2), "left")}, "positions: holds text"),
        ({"energy_eV": -5.0}, r"energy_eV: -0.005 is impossible"),
        ({"energy_eV": np.array([1.0, 2.0])}, "one number is expected"),
        ({"angular_sampling_mrad": np.array([1.0, 0.0])}, "angular_sampling_mrad: 0.0 is impossible"),
        ({"mask": np.ones((4, 4))}, r"mask: has shape \(4, 4\)"),
        ({"mask": np.ones((8, 8))}, "marks every used pixel as bad"),
        ({"probe": np.ones((4, 4), complex)}, r"probe: has shape \(4, 4\)"),
        ({"probe": np.ones((8, 7), complex)}, r"probe: has shape \(8, 7\)"),
        ({"probe": np.zeros((8, 8), complex)}, "probe: is zero everywhere"),
        ({"nominal_step_A": None}, "geometry.scan_step_angstrom is not in .*a.npz; state it in the study"),
        ({"energy_eV": None}, "geometry.wavelength_angstrom is not in .*a.npz; state it in the study"),
        ({"angular_sampling_mrad": None}, "objective.geometry.angular_sampling_mrad: 1.02"),
    ],
)
def test_malformed_arrays(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(write_npz(tmp_path / "a.npz", **changes))
    assert len(caught.value.problems) == 1
    assert str(tmp_path / "a.npz") in str(caught.value)


def test_a_probe_of_a_padded_window_keeps_what_the_detector_sees(tmp_path: Path) -> None:
    """As reconstructions store it: the same field on finer pixels, so its spectrum reaches further."""
    seen = RNG.normal(size=(8, 8)) + 1j * RNG.normal(size=(8, 8))
    fields = [
        np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(spectrum), norm="ortho")) for spectrum in (seen, np.pad(seen, 2))
    ]
    probes = [read(write_npz(tmp_path / f"{len(field)}.npz", probe=field)).probe for field in fields]
    assert probes[0] is not None and probes[1] is not None
    np.testing.assert_allclose(probes[1], probes[0], atol=1e-6)


def test_options_without_effect_are_refused(tmp_path: Path) -> None:
    listed = write_npz(tmp_path / "a.npz", positions=np.arange(24.0).reshape(12, 2))
    with pytest.raises(InputError, match=r"scan_step_angstrom: has no effect.*'positions'"):
        read(listed, GeometrySettings(scan_step_angstrom=1.0))
    with pytest.raises(InputError, match=r"data\.positions: has no effect"):
        read(write_npz(tmp_path / "b.npz"), positions="object pixel")
    with pytest.raises(InputError, match=r"geometry\.focus_to_sample_mm: has no meaning in the far field"):
        read(listed, GeometrySettings(focus_to_sample_mm=1.0))
    with pytest.raises(InputError, match="which also give it"):
        read(listed, GeometrySettings(angular_sampling_mrad=1, detector_distance_mm=1, detector_pixel_um=1))
    with pytest.raises(InputError, match=r"data\.crop: 10 exceeds"):
        read(listed, crop=10)
    with pytest.raises(InputError, match=r"lower objective\.data\.step \(5\)"):
        read(write_npz(tmp_path / "c.npz"), step=5)
    with pytest.raises(InputError, match="'object pixel' has no fixed length in the near field"):
        near = GeometrySettings(regime="near field", detector_distance_mm=1, detector_pixel_um=1)
        read(listed, near, positions="object pixel")


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    data = counts(3, 4, 8, 8).astype(float)
    data[1, 2, 3, 4] = np.nan
    data[0, 0, 0, 0] = -2
    path = write_npz(tmp_path / "a.npz", data=data, energy_eV=None, nominal_step_A=None)
    with pytest.raises(InputError) as caught:
        read(path)
    told = str(caught.value)
    assert len(caught.value.problems) == 4
    assert "1 values are NaN or infinite (first nan in pattern 6 at used pixel (3, 4))" in told
    assert "1 values are negative (first -2.0 in pattern 0 at used pixel (0, 0))" in told
    assert "geometry.wavelength_angstrom" in told and "geometry.scan_step_angstrom" in told
