"""Only what is asked for is read, turned and cut as asked, and little else is in memory."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autotune.objective import InputError
from objectives.diffraction.data.contents import Contents
from objectives.diffraction.data.frames import LazyFrames, Slices
from objectives.diffraction.data.pattern_turns import orient_probe, stored_window
from objectives.diffraction.data.patterns import load_patterns
from objectives.diffraction.data.selection import blocks, select
from objectives.diffraction.data.settings import DataSettings, GeometrySettings, Orientation, Region
from tests.objectives.diffraction.data.files import counts, npz_arrays, read, write_cxi, write_npz

ORIENTATIONS = st.builds(Orientation, flip_y=st.booleans(), flip_x=st.booleans(), transpose=st.booleans())


class Counting(LazyFrames):
    """An array that counts the elements read of it, and how often each chunk was touched."""

    def __init__(self, array: np.ndarray, chunks: tuple[int, ...] | None = None) -> None:
        super().__init__(array.shape, array.dtype)
        self.array, self.chunks = array, chunks
        self.elements = 0
        self.touched: dict[tuple[int, ...], int] = {}

    def block(self, index: Slices) -> np.ndarray:
        block = self.array[index]
        self.elements += block.size
        if self.chunks:
            per_axis = [
                sorted({i // chunk for i in range(part.start, part.stop, part.step)})
                for part, chunk in zip(index, self.chunks, strict=True)
            ]
            for chunk in np.stack(np.meshgrid(*per_axis, indexing="ij"), -1).reshape(-1, len(per_axis)).tolist():
                self.touched[tuple(chunk)] = self.touched.get(tuple(chunk), 0) + 1
        return block


def contents_of(frames: Any, **parts: Any) -> Contents:
    return Contents(path=Path("a.h5"), frames=frames, frames_name="data", geometry=GeometrySettings(), **parts)


def load(contents: Contents, **data: Any) -> np.ndarray:
    selection = select(contents, DataSettings(file="a.h5", **data))
    bad = np.zeros(selection.crop, bool)
    return load_patterns(contents, selection, bad)[0]


@st.composite
def cuts(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any]]:
    scan = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    size = draw(st.integers(2, 7)), draw(st.integers(2, 7))
    pairs = [sorted((draw(st.integers(0, n - 1)), draw(st.integers(1, n)))) for n in scan]
    region = Region(rows=pairs[0], columns=pairs[1]) if all(a < b for a, b in pairs) and draw(st.booleans()) else None
    crop = draw(st.sampled_from([None, *range(2, min(size) + 1, 2)]))
    data = {"region": region, "step": draw(st.integers(1, 3)), "crop": crop, "orientation": draw(ORIENTATIONS)}
    return 1.0 + np.arange(math.prod(scan + size)).reshape(scan + size), data


@given(cuts(), st.booleans(), st.tuples(*[st.integers(1, 4)] * 2), st.integers(1, 2000))
@settings(max_examples=300, deadline=None)
def test_every_cut_is_that_of_numpy(
    cut: tuple[np.ndarray, dict[str, Any]], listed: bool, chunks: tuple[int, int], block_bytes: int
) -> None:
    array, data = cut
    region, step, crop, turn = (data[name] for name in ("region", "step", "crop", "orientation"))
    rows = region.rows if region and region.rows else (0, array.shape[0])
    columns = region.columns if region and region.columns else (0, array.shape[1])
    expected = array[rows[0] : rows[1] : step, columns[0] : columns[1] : step]
    expected = expected[:, :, :: -1 if turn.flip_y else 1, :: -1 if turn.flip_x else 1]
    expected = expected.transpose(0, 1, 3, 2) if turn.transpose else expected
    y, x = (slice(n // 2 - (crop or n) // 2, n // 2 - (crop or n) // 2 + (crop or n)) for n in expected.shape[2:])
    expected = expected[:, :, y, x]
    if listed:
        source = contents_of(Counting(array.reshape(-1, *array.shape[2:])), scan_shape=array.shape[:2])
    else:
        source = contents_of(Counting(array, (*chunks, *array.shape[2:])))
    if expected.shape[0] * expected.shape[1] < 2:
        with pytest.raises(InputError, match="1 pattern is used"):
            load(source, **data)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("objectives.diffraction.data.selection._BLOCK_BYTES", block_bytes)
        patterns = load(source, **data)
    np.testing.assert_array_equal(patterns, expected.reshape(-1, *expected.shape[2:]))
    assert source.frames.elements == expected.size  # type: ignore[attr-defined]


def test_only_the_region_is_read_and_no_chunk_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objectives.diffraction.data.selection._BLOCK_BYTES", 40_000)
    frames = Counting(np.ones((64, 64, 16, 16), np.uint16), (8, 4, 16, 16))
    load(contents_of(frames), region=Region(rows=(5, 37), columns=(10, 30)), crop=8)
    assert frames.elements == 32 * 20 * 8 * 8
    assert set(frames.touched.values()) == {1}
    whole = Counting(np.ones((64, 64, 16, 16), np.uint16), (8, 4, 16, 16))
    load(contents_of(whole))
    assert set(whole.touched.values()) == {1} and len(whole.touched) == 8 * 16


def test_a_chunk_across_the_whole_scan_is_not_one_block() -> None:
    frames = Counting(np.broadcast_to(np.uint16(1), (64, 64, 128, 128)), (64, 64, 4, 4))
    selection = select(contents_of(frames), DataSettings(file="a.h5"))
    sizes = [len(range(*r.indices(64))) * len(range(*c.indices(64))) for (r, c), _ in blocks(selection, frames)]
    assert sum(sizes) == 64 * 64 and max(sizes) * 128 * 128 * 4 <= 64 * 2**20


@given(st.tuples(st.integers(2, 9), st.integers(2, 9)), ORIENTATIONS, st.data())
def test_window_of_the_stored_pattern_is_inside_it(
    size: tuple[int, int], turn: Orientation, data: st.DataObject
) -> None:
    turned = size[::-1] if turn.transpose else size
    crop = tuple(data.draw(st.integers(1, n)) for n in turned)
    for part, n in zip(stored_window(size, crop, turn), size, strict=True):  # type: ignore[arg-type]
        assert 0 <= part.start < part.stop <= n


@given(st.tuples(st.integers(2, 7), st.integers(2, 7)), ORIENTATIONS)
def test_a_turned_probe_stays_centred(size: tuple[int, int], turn: Orientation) -> None:
    probe = np.zeros(size, np.complex64)
    probe[size[0] // 2, size[1] // 2] = 1
    turned = orient_probe(probe, turn)
    assert turned[turned.shape[0] // 2, turned.shape[1] // 2] == 1


def test_orientation_turns_patterns_masks_and_geometry_alike(tmp_path: Path) -> None:
    data = counts(3, 4, 6, 8)
    mask = np.zeros((6, 8), np.uint8)
    mask[0, 1] = 1
    path = write_npz(tmp_path / "a.npz", data=data, mask=mask)
    m = read(path, orientation={"flip_y": True, "transpose": True})
    np.testing.assert_array_equal(np.argwhere(~m.valid), [[1, 5]])
    expected = np.where(mask, 0, data)[:, :, ::-1].transpose(0, 1, 3, 2).reshape(12, 8, 6)
    np.testing.assert_array_equal(m.patterns, expected)
    assert m.geometry.angular_sampling_mrad == (2.0, 1.5)  # type: ignore[union-attr]
    stated = read(path, GeometrySettings(angular_sampling_mrad=(1.0, 3.0)), orientation={"transpose": True})
    assert stated.geometry.angular_sampling_mrad == (1.0, 3.0)  # type: ignore[union-attr]


def test_masks_of_the_study(tmp_path: Path) -> None:
    stated, own = np.zeros((8, 8), np.int16), np.zeros((8, 8), np.uint8)
    stated[1, 2], own[3, 4] = -1, 1
    path = write_npz(tmp_path / "a.npz", mask=own)
    np.save(tmp_path / "bad.npy", stated)
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        file["entry/mask"], file["other"] = stated, np.zeros((2, 2))
    for name in ("bad.npy", "bad.h5::/entry/mask"):
        m = read(path, mask=name, orientation={"transpose": True})
        assert sorted(np.argwhere(~m.valid).tolist()) == [[2, 1], [4, 3]]
    with pytest.raises(InputError, match=r"2 two-dimensional datasets: /entry/mask \(8, 8\), /other .*bad.h5::/entry"):
        read(path, mask="bad.h5")
    with pytest.raises(InputError, match="has no dataset '/wrong'"):
        read(path, mask="bad.h5::/wrong")
    with pytest.raises(InputError, match=r"/other: has shape \(2, 2\); the detector's shape \(8, 8\)"):
        read(path, mask="bad.h5::/other")
    with pytest.raises(InputError, match=r"objective.data.mask: there is no file .*nowhere.npy"):
        read(path, mask="nowhere.npy")
    (tmp_path / "text.npy").write_text("1 2 3")
    with pytest.raises(InputError, match=r"text.npy: cannot be read as .npy"):
        read(path, mask="text.npy")
    np.save(tmp_path / "text2.npy", np.full((8, 8), "x"))
    with pytest.raises(InputError, match="holds text"):
        read(path, mask="text2.npy")


def test_negative_values_are_refused_or_clipped(tmp_path: Path) -> None:
    data = counts(3, 4, 8, 8).astype(np.float32)
    data[1, 2, 3, 4] = -2.5
    path = write_npz(tmp_path / "a.npz", data=data)
    with pytest.raises(InputError, match=r"1 values are negative \(first -2.5 .*objective.data.negative: clip"):
        read(path)
    np.testing.assert_array_equal(read(path, negative="clip").patterns, data.clip(0).reshape(12, 8, 8))
    data[0, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="1 values are NaN"):
        read(write_npz(tmp_path / "b.npz", data=data), negative="clip")


def test_region_and_shape_only_where_they_mean_something(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"region.columns: \[1, 5\] exceeds the 4 columns"):
        read(path, region={"columns": [1, 5]})
    with pytest.raises(InputError, match=r"region: has no effect: .* list of positions"):
        read(write_cxi(tmp_path / "a.cxi"), region={"rows": [0, 2]})
    with pytest.raises(InputError, match=r"shape: has no effect: .*lists its positions in '/entry_1/sample_1"):
        read(tmp_path / "a.cxi", shape=(2, 3))
    with pytest.raises(InputError, match=r"shape: has no effect: .*data already has shape \(3, 4, 8, 8\)"):
        read(path, shape=(3, 4))
    for option in ({"key": "x"}, {"detector_axes": "first"}):
        with pytest.raises(InputError, match=f"data.{next(iter(option))}: .* is npz, which says so itself"):
            read(path, **option)
    m = read(path, region={"rows": [1, 3]}, step=1)
    np.testing.assert_array_equal(m.patterns, npz_arrays()["data"][1:3].reshape(8, 8, 8))
    assert m.scan_shape == (2, 4)


def test_opening_needs_little_more_memory_than_the_patterns(tmp_path: Path) -> None:
    data = np.random.default_rng(0).poisson(5, (48, 48, 64, 64)).astype(np.uint16)
    geometry = GeometrySettings(wavelength_angstrom=0.03, angular_sampling_mrad=1.0, scan_step_angstrom=1.0)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=data, chunks=(8, 8, 16, 16))
    np.savez(tmp_path / "a.npz", data=data)
    np.save(tmp_path / "a.npy", data)
    budget = 1.15 * data.size * 4 + 8 * 2**20
    del data
    read(write_npz(tmp_path / "small.npz"))  # imports do not count
    for name in ("a.h5", "a.npz", "a.npy"):
        tracemalloc.start()
        measurement = read(tmp_path / name, geometry)
        _, opening = tracemalloc.get_traced_memory()
        assert len(measurement.content_hash) == 64 and measurement.shot_noise_ceiling is not None
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert opening < budget and peak < budget, (name, opening / budget, peak / budget)


def test_hash_and_ceiling_do_not_depend_on_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    m = read(write_npz(tmp_path / "a.npz"))
    values = m.patterns.astype(np.float64)
    monkeypatch.setattr("objectives.diffraction.data.measurement._BLOCK_BYTES", 1000)
    again = read(tmp_path / "a.npz")
    assert again.content_hash == m.content_hash
    assert again.shot_noise_ceiling == pytest.approx(1 - np.sqrt(values.sum()) / np.linalg.norm(values), rel=1e-12)


@given(step=st.integers(1, 3), rows=st.integers(2, 5))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_compressed_archives_are_read_in_any_order(tmp_path: Path, step: int, rows: int) -> None:
    data = counts(5, 7, 4, 6)
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **npz_arrays(data=data))
    m = read(path, region={"rows": [0, rows]}, step=step)
    np.testing.assert_array_equal(m.patterns, data[:rows:step, ::step].reshape(-1, 4, 6))
