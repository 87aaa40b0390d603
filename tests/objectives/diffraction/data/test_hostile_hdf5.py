"""Files that declare what they do not hold, or lead to files that are none of the measurement's."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from autotune.objective import InputError
from objectives.diffraction.data.hdf5_access import open_hdf5_file
from objectives.diffraction.data.open.reading import open_measurement
from objectives.diffraction.data.room import content_of
from objectives.diffraction.data.settings import DataSettings, GeometrySettings

GEOMETRY = GeometrySettings(
    angular_sampling_mrad=1.0, energy_kev=80.0, radiation="electron", semi_convergence_mrad=20.0, scan_step_angstrom=1.0
)
SECRET = np.arange(9 * 8 * 8, dtype=np.uint16).reshape(9, 8, 8)


def opened(path: Path, **data: object) -> object:
    return open_measurement(DataSettings(file=path, key="dp", shape=(3, 3), **data), GEOMETRY, folder=path.parent)  # type: ignore[arg-type]


def declared(path: Path, shape: tuple[int, ...], **options: object) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("dp", shape, "u2", **options)
    return path


@pytest.mark.parametrize(
    "options",
    [{"chunks": (1, 256, 256), "compression": "gzip"}, {"chunks": (1, 256, 256)}, {}],
    ids=["compressed", "chunked", "contiguous"],
)
@pytest.mark.parametrize("count", [30_000, 120_000_000], ids=["4 GB", "14 TB"])
def test_what_was_never_written_takes_no_memory(count: int, options: dict[str, object], tmp_path: Path) -> None:
    path = declared(tmp_path / "a.h5", (count, 256, 256), **options)
    assert path.stat().st_size < 5000
    tracemalloc.start()
    with pytest.raises(
        InputError, match=rf"a.h5: /?dp: declares {count} x 256 x 256 values .*, of which 0 bytes are stored"
    ):
        opened(path)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 50e6


def test_one_chunk_of_a_terabyte(tmp_path: Path) -> None:
    """HDF5 itself refuses chunks from 4 GB; what fits may be more than is free."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        whole = file.create_dataset("positions", (2_000, 2_000, 16), "f8", chunks=(1, 1, 16), compression="gzip")
        whole[0, 0] = 1
    with (
        open_hdf5_file(tmp_path / "a.h5") as file,
        pytest.raises(InputError, match=r"a.h5: /positions: declares 2000 x"),
    ):
        content_of(tmp_path / "a.h5", file["positions"])


def test_zeros_that_were_written_are_read(tmp_path: Path) -> None:
    """They compress a thousandfold, like patterns of few electrons."""
    values = np.zeros((9, 1024, 8192), np.uint16)
    values[:, 512, 4096] = 1
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("dp", data=values, chunks=(1, 1024, 8192), compression="gzip", compression_opts=9)
    assert (tmp_path / "a.h5").stat().st_size < values.nbytes / 700
    with open_hdf5_file(tmp_path / "a.h5") as file:
        assert content_of(tmp_path / "a.h5", file["dp"]).sum() == 9


def by_link(path: Path, other: Path) -> None:
    with h5py.File(path, "w") as file:
        file["dp"] = h5py.ExternalLink(str(other), "/dp")


def by_link_in_a_group(path: Path, other: Path) -> None:
    with h5py.File(path, "w") as file:
        file["entry/deep"] = h5py.ExternalLink(str(other), "/")
        file["dp"] = h5py.SoftLink("/entry/deep/dp")


def by_virtual_source(path: Path, other: Path) -> None:
    layout = h5py.VirtualLayout(SECRET.shape, SECRET.dtype)
    layout[:] = h5py.VirtualSource(str(other), "dp", SECRET.shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("dp", layout)


def by_external_storage(path: Path, other: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("dp", SECRET.shape, SECRET.dtype, external=[(str(other), 0, h5py.h5f.UNLIMITED)])


def by_another_file(path: Path, other: Path) -> None:
    by_link(path.with_name("between.h5"), other)
    by_link(path, Path("between.h5"))


WAYS = [by_link, by_link_in_a_group, by_virtual_source, by_external_storage, by_another_file]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stated", ["absolute", "relative", "by a symbolic link", "in the current folder"])
def test_what_leads_out_of_the_folder_is_refused(
    way: Callable[[Path, Path], None], stated: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans, elsewhere = tmp_path / "scans", tmp_path / "elsewhere"
    scans.mkdir()
    elsewhere.mkdir()
    secret = elsewhere / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["dp"] = SECRET
    other = {"absolute": secret, "relative": Path("../elsewhere/secret.h5"), "in the current folder": Path("secret.h5"),
             "by a symbolic link": scans / "looks_harmless.h5"}[stated]  # fmt: skip
    if stated == "by a symbolic link":
        other.symlink_to(secret)
    if stated == "in the current folder":
        monkeypatch.chdir(elsewhere)
    if stated == "relative":
        monkeypatch.chdir(scans)  # from which external storage is sought
    way(scans / "scan.h5", other)
    with pytest.raises(InputError, match="which is not below the measurement's folder; copy that file beside"):
        opened(scans / "scan.h5")


@pytest.mark.parametrize("way", WAYS)
def test_what_stays_in_the_folder_is_followed(
    way: Callable[[Path, Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    if way is by_external_storage:
        SECRET.tofile(tmp_path / "below" / "frames.h5")
    else:
        with h5py.File(tmp_path / "below" / "frames.h5", "w") as file:
            file["dp"] = SECRET
    way(tmp_path / "scan.h5", Path("below/frames.h5"))
    measurement = opened(tmp_path / "scan.h5")
    assert np.array_equal(measurement.patterns, SECRET)  # type: ignore[attr-defined]


def test_an_error_quotes_no_content(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("password")
    with pytest.raises(InputError) as caught, open_hdf5_file(tmp_path / "a.h5"):
        pass
    assert "pass" not in str(caught.value).replace(str(tmp_path), "")
