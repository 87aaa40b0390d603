"""Files written by RosettaSciIO itself, or byte by byte in the vendor's layout where it only reads."""

from __future__ import annotations

import importlib
import json
import zipfile
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

GEOMETRY = GeometrySettings(wavelength_angstrom=0.05, angular_sampling_mrad=1.0, scan_step_angstrom=0.5)


def signal(data: np.ndarray, scales: Any = (0.04, 0.05, 0.02, 0.03), **metadata: Any) -> dict[str, Any]:
    """A signal of 4D-STEM as RosettaSciIO's writers take it."""
    names = ("y", "x", "ky", "kx")[-data.ndim :]
    axes = [
        {
            "_type": "UniformDataAxis",
            "name": names[i],
            "units": "nm" if names[i] in "yx" else "1/Å",
            "navigate": names[i] in "yx",
            "is_binned": False,
            "size": size,
            "scale": scales[i],
            "offset": 0.0,
        }
        for i, size in enumerate(data.shape)
    ]
    return {
        "data": data,
        "axes": axes,
        "metadata": {
            "General": {"title": metadata.pop("title", "scan"), "original_filename": ""},
            "Signal": {"signal_type": ""},
            "Acquisition_instrument": {"TEM": metadata},
        },
        "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": False},
        "package_info": {"package": "rosettasciio", "package_version": "0"},
        "tmp_parameters": {},
        "learning_results": {},
        "models": {},
    }


def write(reader: str, path: Path, content: dict[str, Any], **options: Any) -> Path:
    importlib.import_module(f"rsciio.{reader}").file_writer(str(path), content, **options)
    return path


def test_hyperspy_file_with_its_geometry(tmp_path: Path) -> None:
    data = counts(3, 4, 6, 8)
    path = write("hspy", tmp_path / "a.hspy", signal(data, beam_energy=80.0, convergence_angle=21.0))
    assert recognise(path) == "rsciio" == recognise(path.rename(tmp_path / "b.h5"))
    m = read((tmp_path / "b.h5").rename(path))
    np.testing.assert_array_equal(m.patterns, data.reshape(12, 6, 8))
    wavelength = electron_wavelength_angstrom(80)
    assert m.geometry.wavelength_angstrom == wavelength  # type: ignore[union-attr]
    assert m.geometry.angular_sampling_mrad == pytest.approx((20 * wavelength, 30 * wavelength))  # type: ignore[union-attr]
    assert m.geometry.semi_convergence_mrad == 21.0  # type: ignore[union-attr]
    assert m.counted and m.scan_shape == (3, 4)
    np.testing.assert_allclose(m.positions[5] - m.positions[0], [0.4, 0.5])
    path.unlink()  # nothing holds it open
    part_of = write("hspy", path, signal(data, beam_energy=80.0))
    part = read(part_of, region={"rows": [1, 3]}, step=2, crop=4)
    np.testing.assert_array_equal(part.patterns, data[1:3:2, ::2, 1:5, 2:6].reshape(-1, 4, 4))


def test_scan_axes_are_found_wherever_they_are(tmp_path: Path) -> None:
    data = counts(3, 4, 6, 8)
    turned = signal(data.transpose(2, 3, 0, 1).copy(), beam_energy=80.0)
    turned_axes = (("ky", "mrad", 2), ("kx", "mrad", 3), ("y", "nm", 4), ("x", "nm", 5))
    for axis, (name, unit, scale) in zip(turned["axes"], turned_axes, strict=True):
        axis.update(name=name, units=unit, navigate=False, scale=float(scale))
    m = read(write("hspy", tmp_path / "a.hspy", turned))
    np.testing.assert_array_equal(m.patterns, data.reshape(12, 6, 8))
    assert m.geometry.angular_sampling_mrad == (2.0, 3.0)  # type: ignore[union-attr]
    np.testing.assert_allclose(m.positions[5] - m.positions[0], [40, 50])


def test_several_signals_need_a_key(tmp_path: Path) -> None:
    path = write("hspy", tmp_path / "a.hspy", signal(counts(3, 4, 6, 8), title="first", beam_energy=80.0))
    second = signal(counts(3, 4, 6, 8, seed=1), title="second", beam_energy=80.0)
    other = write("hspy", tmp_path / "b.hspy", second)
    with h5py.File(path, "a") as file, h5py.File(other) as source:
        source.copy("Experiments/second", file["Experiments"])
    with pytest.raises(InputError, match=r"data.key: is needed: .*first \(3, 4, 6, 8\), second \(3, 4, 6, 8\)"):
        read(path)
    np.testing.assert_array_equal(read(path, key="second").patterns, counts(3, 4, 6, 8, seed=1).reshape(12, 6, 8))
    with pytest.raises(InputError, match=r"0 signals of .* are called 'third'"):
        read(path, key="third")


def test_an_image_is_no_scan(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no list or raster of patterns \(shapes of its signals: \(6, 8\)\)"):
        read(write("hspy", tmp_path / "a.hspy", signal(counts(6, 8), scales=(1.0, 1.0))))


def test_a_zarr_store_must_not_hold_python_objects(tmp_path: Path) -> None:
    array = tmp_path / "a.zspy" / "Experiments" / "data"
    array.mkdir(parents=True)
    metadata = json.dumps({"filters": [{"id": "pickle", "protocol": 5}]})
    (array / ".zarray").write_text(metadata)
    with zipfile.ZipFile(tmp_path / "b.zspy", "w") as archive:
        archive.writestr("Experiments/data/.zarray", metadata)
    with pytest.raises(InputError, match=r"b.zspy: Experiments/data/.zarray: holds Python objects"):
        read(tmp_path / "b.zspy")
    with pytest.raises(InputError, match=r"holds Python objects \(codec 'pickle'\)"):
        read(tmp_path / "a.zspy")


def test_berkeley_emd(tmp_path: Path) -> None:
    data = counts(3, 4, 6, 8)
    path = write("emd", tmp_path / "a.emd", signal(data, beam_energy=80.0))
    m = read(path, GeometrySettings(radiation="electron", energy_kev=80))
    np.testing.assert_array_equal(m.patterns, data.reshape(12, 6, 8))
    np.testing.assert_allclose(m.positions[5] - m.positions[0], [0.4, 0.5])


def test_blockfile(tmp_path: Path) -> None:
    data = counts(3, 4, 8, 8).astype(np.uint8)
    content = signal(data)
    for axis in content["axes"]:
        axis["units"] = "nm" if axis["navigate"] else "cm"
    path = write("blockfile", tmp_path / "a.blo", content, intensity_scaling=None, navigator=np.ones((3, 4), np.uint8))
    m = read(path, GeometrySettings(wavelength_angstrom=0.05, angular_sampling_mrad=1.0))
    np.testing.assert_array_equal(m.patterns, data.reshape(12, 8, 8))
    np.testing.assert_allclose(m.positions[5] - m.positions[0], [0.4, 0.5])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="cannot be read by RosettaSciIO's reader Blockfile"):
        read(path, GEOMETRY)


def test_tvips_takes_the_shape_from_the_study(tmp_path: Path) -> None:
    data = counts(12, 8, 8)
    content = signal(data, scales=(1.0, 0.02, 0.03))
    content["axes"][0].update(navigate=True, units="", name="")
    content["metadata"]["General"] |= {"date": "2024-01-01", "time": "10:00:00"}
    path = write("tvips", tmp_path / "rec_000.tvips", content)
    m = read(path, GEOMETRY, shape=(3, 4))
    np.testing.assert_array_equal(m.patterns, data)
    assert m.scan_shape == (3, 4)


def write_mib(path: Path, data: np.ndarray, seconds_between_rows: float = 0.0) -> Path:
    """Frames of a single Medipix chip, stored from the bottom row up, each after its header of 384 bytes."""
    with path.open("wb") as stream:
        for number, pattern in enumerate(data.reshape(-1, *data.shape[-2:])):
            y, x = pattern.shape
            row = number // data.shape[1] if data.ndim == 4 else 0
            second = f"{number * 1e-4 + row * seconds_between_rows:012.9f}"
            fields = ["MQ1", f"{number + 1:06d}", "00384", "01", f"{x:04d}", f"{y:04d}", "U16", "   1x1", "01"]
            fields += [f"2024-01-01T10:00:{second}Z", "1000000ns", "12", ""]
            stream.write(",".join(fields).encode().ljust(384, b"\0"))
            stream.write(pattern[::-1].astype(">u2").tobytes())
    return path


def test_medipix_rows_from_the_timestamps_or_the_study(tmp_path: Path) -> None:
    data = counts(3, 4, 8, 8)
    path = write_mib(tmp_path / "a.mib", data, seconds_between_rows=1.0)
    m = read(path, GEOMETRY)
    np.testing.assert_array_equal(m.patterns, data.reshape(12, 8, 8))
    assert m.scan_shape == (3, 4)
    even = write_mib(tmp_path / "b.mib", data.reshape(12, 8, 8)[:, :, :])
    assert read(even, GEOMETRY, shape=(4, 3)).scan_shape == (4, 3)
    np.testing.assert_array_equal(read(even, GEOMETRY, shape=(4, 3)).patterns, m.patterns)
    with pytest.raises(InputError, match=r"shape: \[3, 5\] is 15 positions, but .* holds 12 patterns"):
        read(even, GEOMETRY, shape=(3, 5))
    path.write_bytes(b"MQ1 and nothing else")
    with pytest.raises(InputError, match="reader QuantumDetector"):
        read(path, GEOMETRY)


EMPAD_XML = """<?xml version="1.0" ?><root>
<raw_file filename="scan_x4_y3.raw"/><pix_x>4</pix_x><pix_y>3</pix_y>
<timestamp isoformat="2024-01-01T10:00:00"/>
<iom_measurements><calibrated_pixelsize>2e-10</calibrated_pixelsize><full_scan_field_of_view>
<x>1.44e-09</x><scale_factor>0.72</scale_factor></full_scan_field_of_view></iom_measurements>
</root>"""


def write_empad(path: Path, data: np.ndarray) -> Path:
    """Patterns of 128 x 128, each followed by two rows of metadata."""
    stored = np.full((*data.shape[:-2], 130, 128), -7e30, "<f4")
    stored[..., :128, :] = data
    stored.tofile(path)
    return path


def test_empad_with_and_without_its_description(tmp_path: Path) -> None:
    data = counts(3, 4, 128, 128).astype(np.float32)
    path = write_empad(tmp_path / "scan_x4_y3.raw", data)
    with pytest.raises(InputError, match=r"data.shape: is needed: .* holds 12 patterns and no .xml"):
        read(path, GEOMETRY)
    m = read(path, GEOMETRY, shape=(3, 4), region={"rows": [1, 3]})
    np.testing.assert_array_equal(m.patterns, data[1:].reshape(8, 128, 128))
    with path.open("ab") as stream:
        stream.write(b"\0" * 100)
    with pytest.raises(InputError, match="798820 bytes, which is no multiple of the 66560 bytes"):
        read(path, GEOMETRY, shape=(3, 4))


@pytest.mark.parametrize("named", ["scan_x4_y3.raw", "acquisition_7.xml"])
def test_empad_described_by_its_xml(tmp_path: Path, named: str) -> None:
    data = counts(3, 4, 128, 128).astype(np.float32)
    write_empad(tmp_path / "scan_x4_y3.raw", data)
    (tmp_path / "acquisition_7.xml").write_text(EMPAD_XML.replace("\n", ""))
    m = read(tmp_path / named, GeometrySettings(radiation="electron", energy_kev=80))
    np.testing.assert_array_equal(m.patterns, data.reshape(12, 128, 128))
    # RosettaSciIO takes 2e-10 as 0.2 / nm per pixel; 1.44 nm / 0.72 over 4 positions = 5 angstrom.
    assert m.geometry.angular_sampling_mrad == pytest.approx((20 * electron_wavelength_angstrom(80),) * 2)  # type: ignore[union-attr]
    np.testing.assert_allclose(m.positions[5] - m.positions[0], [5, 5])


def test_formats_that_run_text_as_code_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_bytes(b"CDF\x01")
    with pytest.raises(InputError, match=r"no known format \(suffix '.nc'\)"):
        read(tmp_path / "a.nc")
    with pytest.raises(InputError, match=r"RosettaSciIO has no reader for '.nc'"):
        read(tmp_path / "a.nc", format="rsciio")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # some readers leave the file open
@pytest.mark.parametrize("suffix", [".dm3", ".dm4", ".mib", ".blo", ".xml", ".tvips", ".emd", ".ser", ".mrc"])
def test_garbage_is_an_error_of_the_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(bytes(range(256)) * 8)
    with pytest.raises(InputError, match=str(path)), open_contents(path, DataSettings(file=path)):
        pass
