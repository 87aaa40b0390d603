from __future__ import annotations

import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.objective import InputError
from objectives.diffraction.data.formats.autotune_hdf5 import write_measurement
from objectives.diffraction.data.measurement import FarField, Measurement, NearField
from objectives.diffraction.data.settings import GeometrySettings
from tests.objectives.diffraction.data.files import counts, read

LENGTHS = st.floats(1e-3, 1e5)
PAIRS = st.tuples(LENGTHS, LENGTHS)
FAR = st.builds(
    FarField,
    LENGTHS,
    PAIRS,
    st.none() | LENGTHS,
    st.none() | st.floats(-1e5, 1e5),
    st.none() | st.floats(-180, 180),
)
NEAR = st.builds(NearField, LENGTHS, st.floats(10, 1e5), PAIRS, st.none() | st.floats(0.1, 9))


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(2, 4))
    shape = (rows * columns, draw(st.integers(1, 6)), draw(st.integers(2, 6)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    counted = draw(st.booleans())
    patterns = rng.poisson(draw(st.sampled_from([40, 4000, 1e6])), shape) if counted else rng.gamma(2.0, 9.0, shape)
    valid = rng.random(shape[1:]) < 0.8
    valid[0, 0] = True
    patterns = np.where(valid, patterns, 0).astype(np.float32)
    positions = rng.normal(0, draw(LENGTHS), (shape[0], 2))
    geometry = draw(FAR | NEAR)
    far_probe = draw(st.booleans())
    probe = (rng.normal(size=shape[1:]) + 1j * rng.normal(size=shape[1:])).astype(np.complex64)
    pixels = isinstance(geometry, FarField) and draw(st.booleans())
    return Measurement(
        patterns=patterns,
        positions=positions - positions.mean(axis=0),
        geometry=FarField(semi_convergence_mrad=geometry.semi_convergence_mrad)
        if pixels and isinstance(geometry, FarField)
        else geometry,
        valid=valid,
        counted=counted,
        source=draw(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)),
        position_unit="object pixel" if pixels else "angstrom",
        probe=probe if far_probe else None,
        scan_shape=draw(st.sampled_from([None, (rows, columns)])),
    )


@given(measurements())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_back(measurement: Measurement) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.h5"
        write_measurement(path, measurement)
        back = read(path)
    assert back.content_hash == measurement.content_hash
    np.testing.assert_array_equal(back.patterns, measurement.patterns)
    assert back.geometry == measurement.geometry
    assert back.scan_shape == measurement.scan_shape
    assert back.source == (measurement.source or "m.h5")


def simple(**changes: object) -> Measurement:
    """A small far-field raster."""
    parts: dict[str, object] = {
        "patterns": counts(6, 8, 8).astype(np.float32),
        "positions": np.array([[y, x] for y in (-0.5, 0.5) for x in (-1.0, 0.0, 1.0)]),
        "geometry": FarField(0.05, (1.0, 1.0), 20.0),
        "valid": np.ones((8, 8), bool),
        "counted": True,
        "source": "test",
        "scan_shape": (2, 3),
    }
    return Measurement(**(parts | changes))  # type: ignore[arg-type]


def test_counts_are_stored_as_small_integers(tmp_path: Path) -> None:
    write_measurement(tmp_path / "m.h5", simple())
    with h5py.File(tmp_path / "m.h5") as file:
        assert file["patterns"].dtype == np.uint8
        assert file["patterns"].compression == "gzip" and file["patterns"].shuffle
        assert file["geometry"].attrs["wavelength_angstrom"] == 0.05


def test_odd_values_on_masked_pixels_are_written_and_read_as_zero(tmp_path: Path) -> None:
    measurement = simple()
    measurement.valid[2, 2] = False
    measurement.patterns[:, 2, 2] = np.nan
    write_measurement(tmp_path / "m.h5", measurement)
    back = read(tmp_path / "m.h5")
    assert not back.patterns[:, 2, 2].any() and not back.valid[2, 2]


def test_writing_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    path.write_bytes(b"old")
    write_measurement(path, simple())
    assert read(path).content_hash == simple().content_hash
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.h5"
    write_measurement(path, simple())
    before = path.read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", full_disk)
    with pytest.raises(InputError, match="cannot be written: no space left"):
        write_measurement(path, simple(source="new"))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_writing_into_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_measurement(tmp_path / "nowhere" / "m.h5", simple())


def test_raster_step_and_crop(tmp_path: Path) -> None:
    write_measurement(tmp_path / "m.h5", simple())
    m = read(tmp_path / "m.h5", GeometrySettings(angular_sampling_mrad=2.0), step=2, crop=4)
    assert m.scan_shape == (1, 2)
    np.testing.assert_array_equal(m.patterns, simple().patterns[[0, 2], 2:6, 2:6])
    np.testing.assert_allclose(m.positions, [[0, -1], [0, 1]])
    assert isinstance(m.geometry, FarField) and m.geometry.angular_sampling_mrad == (2.0, 2.0)


def test_raster_step_skips_rows_and_columns(tmp_path: Path) -> None:
    grid = np.stack(np.meshgrid(np.arange(4.0), np.arange(3.0), indexing="ij"), axis=-1).reshape(12, 2)
    patterns = counts(12, 8, 8).astype(np.float32)
    whole = simple(patterns=patterns, positions=grid - grid.mean(axis=0), scan_shape=(4, 3))
    write_measurement(tmp_path / "m.h5", whole)
    m = read(tmp_path / "m.h5", step=2)
    assert m.scan_shape == (2, 2)
    np.testing.assert_array_equal(m.patterns, patterns[[0, 2, 6, 8]])
    np.testing.assert_allclose(m.positions, [[-1, -1], [-1, 1], [1, -1], [1, 1]])


@pytest.mark.parametrize("crop", [8, 4])
def test_all_modes_of_a_probe_are_read(crop: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    modes = (random.normal(size=(3, 8, 8)) + 1j * random.normal(size=(3, 8, 8))).astype(np.complex64)
    write_measurement(tmp_path / "several.h5", simple(probe=modes))
    several = read(tmp_path / "several.h5", crop=crop, orientation={"flip_y": True}).probe
    assert several is not None and several.shape == (3, crop, crop)
    for mode, found in zip(modes, several, strict=True):
        write_measurement(tmp_path / "one.h5", simple(probe=mode))
        np.testing.assert_array_equal(read(tmp_path / "one.h5", crop=crop, orientation={"flip_y": True}).probe, found)


def test_near_field_probe_is_cut_like_the_patterns(tmp_path: Path) -> None:
    probe = (np.arange(64) * (1 + 1j)).reshape(8, 8).astype(np.complex64)
    write_measurement(tmp_path / "m.h5", simple(geometry=NearField(1.0, 1000.0, (50.0, 50.0), 3.0), probe=probe))
    np.testing.assert_array_equal(read(tmp_path / "m.h5", crop=4).probe, probe[2:6, 2:6])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: f.attrs.pop("format"), r"objective.data.shape: is needed: .*m.h5: /patterns is a list"),
        (lambda f: f.attrs.__setitem__("format_version", 9), "has format_version 9; .* reads 1"),
        (lambda f: f.__delitem__("patterns"), "has no dataset patterns"),
        (lambda f: f.__delitem__("positions"), "has no dataset positions"),
        (lambda f: f.__delitem__("geometry"), "has no group 'geometry'"),
        (lambda f: f.attrs.__setitem__("position_unit", "mile"), "position_unit: is 'mile'"),
        (lambda f: f.attrs.__setitem__("scan_shape", [2, 4]), r"scan_shape: is \[2, 4\].* product is 6"),
        (
            lambda f: f["geometry"].attrs.__setitem__("wavelength_angstrom", -1.0),
            "wavelength_angstrom: -1.0 is",
        ),
        (
            lambda f: f["geometry"].attrs.__setitem__("regime", "mid field"),
            "regime: 'mid field' is impossible",
        ),
        (lambda f: f["geometry"].attrs.pop("wavelength_angstrom"), "geometry.wavelength_angstrom is not in"),
        (lambda f: f["positions"].__setitem__(0, np.inf), "1 positions are not finite"),
    ],
)
def test_damaged_files(tmp_path: Path, damage: object, words: str) -> None:
    path = tmp_path / "m.h5"
    write_measurement(path, simple())
    with h5py.File(path, "a") as file:
        damage(file)  # type: ignore[operator]
    with pytest.raises(InputError, match=words) as caught:
        read(path)
    assert len(caught.value.problems) == 1


def test_the_type_holds_the_largest_value_of_any_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objectives.diffraction.data.formats.autotune_hdf5._CHUNK_PIXELS", 64)  # one pattern a block
    patterns = counts(6, 8, 8).astype(np.float32)
    patterns[1, 2, 3] = 70_000
    write_measurement(tmp_path / "m.h5", simple(patterns=patterns))
    with h5py.File(tmp_path / "m.h5") as file:
        assert file["patterns"].dtype == np.uint32
    np.testing.assert_array_equal(read(tmp_path / "m.h5").patterns, patterns)
    patterns[3, 0, 0] = 0.5
    write_measurement(tmp_path / "m.h5", simple(patterns=patterns, counted=False))
    with h5py.File(tmp_path / "m.h5") as file:
        assert file["patterns"].dtype == np.float32
