from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from autotune.objective import Draft, DraftsStudies, InputError
from objectives.diffraction.data.contents import Contents
from objectives.diffraction.data.formats.autotune_hdf5 import write_measurement
from objectives.diffraction.data.measurement import FarField, Measurement, NearField
from objectives.diffraction.data.open.reading import open_measurement
from objectives.diffraction.data.settings import DataSettings, GeometrySettings
from objectives.ptychography.draft.inspection import SAMPLES, inspect
from objectives.ptychography.plugin import ptychography
from tests.objectives.diffraction.data.files import counts, write_cxi, write_npz

LENS_PARAMETERS = ["camera_length", "center_offset_y", "center_offset_x", "elliptical_distortion", "defocus"]


def drafted(file: Path) -> Draft:
    draft = ptychography.draft(file, folder=file.parent)
    assert draft is not None
    return draft


def lines(draft: Draft, status: str) -> dict[str, Any]:
    """Key -> value of the lines of one status."""
    return {line.key: line.value for line in draft.lines if line.status == status}


def tuned(draft: Draft) -> dict[str, Any]:
    """Name -> range of the parameters tuned."""
    ranges = {
        key.removeprefix("parameters."): value for key, value in lines(draft, "set").items() if "parameters" in key
    }
    return {name: value for name, value in ranges.items() if isinstance(value, dict)}


def comment(draft: Draft, key: str) -> str:
    return next(line.comment for line in draft.lines if line.key == key)


def measurement(geometry: FarField | NearField, **changes: Any) -> Measurement:
    y, x = np.meshgrid(np.arange(3.0), np.arange(4.0), indexing="ij")
    made = Measurement(
        counts(12, 8, 8).astype(np.float32),
        np.stack([y.ravel(), x.ravel()], axis=1) - [1, 1.5],
        geometry,
        np.ones((8, 8), np.bool_),
        True,
        "made here",
        scan_shape=(3, 4),
    )
    return replace(made, **changes)


def disk(offset: tuple[float, float] = (0, 0), size: int = 32, radius: float = 6) -> NDArray[np.uint16]:
    """Four by four patterns of one bright disk, ``offset`` pixels (y, x) from (N//2, N//2)."""
    y, x = np.indices((size, size)) - size // 2
    pattern = np.hypot(y - offset[0], x - offset[1]) <= radius
    return np.broadcast_to(pattern * 50, (4, 4, size, size)).astype(np.uint16)


def test_the_type_says_that_it_drafts() -> None:
    assert isinstance(ptychography, DraftsStudies)
    assert {"cxi", "npz", "hdf5"} <= set(ptychography.file_formats) and "auto" not in ptychography.file_formats


def test_a_lens_probe_is_tuned_in_all_that_the_instrument_may_have_wrong(tmp_path: Path) -> None:
    draft = drafted(write_npz(tmp_path / "scan.npz", nominal_defocus_A=120.0, nominal_rotation_deg=30.0))
    ranges = tuned(draft)
    assert list(ranges) == [*LENS_PARAMETERS, "scan_rotation", "detector_blur"]
    assert ranges["detector_blur"] == {"low": 0, "high": 1}
    assert ranges["defocus"] == {"low": -180, "high": 420}
    assert ranges["scan_rotation"] == {"low": 0, "high": 60}
    assert lines(draft, "set")["budget.converged"] == 1e-4
    offered = lines(draft, "optional")
    assert offered["parameters.convergence_angle"] == {"value": 21.0, "uncertainty": 0.1}
    assert ranges["elliptical_distortion"] == {"low": -0.03, "high": 0.03}
    assert not lines(draft, "missing")
    assert lines(draft, "set")["objective.data.file"] == "scan.npz"
    stated = lines(draft, "optional")
    assert stated["objective.geometry.energy_kev"] == 60 and stated["objective.geometry.scan_step_angstrom"] == 0.5
    assert stated["objective.geometry.angular_sampling_mrad"] == [1.5, 2]
    assert "objective.geometry.scan_rotation_degree" in stated  # the file's, not an example
    assert comment(draft, "objective.geometry.scan_rotation_degree") == "stated by the file"
    assert draft.facts["patterns"] == "raster of 3 x 4, 12 of 8 x 8 pixels, uint16"
    assert abs(float(draft.facts["counts"].split()[1]) - 20 * 64) < 0.1 * 20 * 64


def test_without_nominal_values_the_ranges_are_wide(tmp_path: Path) -> None:
    draft = drafted(write_npz(tmp_path / "scan.npz"))
    assert tuned(draft)["defocus"] == {"low": -300, "high": 300}
    assert tuned(draft)["scan_rotation"] == {"low": -180, "high": 180}
    assert {"objective.geometry.defocus_angstrom", "objective.geometry.scan_rotation_degree"} <= set(
        lines(draft, "optional")
    )


def test_without_an_aperture_only_the_rotation_is_tuned(tmp_path: Path) -> None:
    draft = drafted(write_npz(tmp_path / "scan.npz", semiangle_mrad=None))
    assert list(tuned(draft)) == ["scan_rotation"]
    assert "objective.geometry.semi_convergence_mrad" in lines(draft, "optional")


GAPS: list[Mapping[str, None]] = [
    {"angular_sampling_mrad": None},
    {"energy_eV": None},
    {"nominal_step_A": None},
    {"angular_sampling_mrad": None, "energy_eV": None, "nominal_step_A": None},
]


@pytest.mark.parametrize("gap", GAPS, ids=lambda gap: "+".join(gap))
def test_what_is_missing_is_what_the_reader_asks_for(tmp_path: Path, gap: Mapping[str, None]) -> None:
    file = write_npz(tmp_path / "scan.npz", **gap)
    _agree(file, drafted(file))
    assert list(tuned(drafted(file))) == [
        *LENS_PARAMETERS,
        "scan_rotation",
        "detector_blur",
    ]  # once the gaps are filled


@pytest.mark.parametrize("gap", ["distance", "x_pixel_size", "energy", "wavelength"])
def test_what_is_missing_in_a_cxi_file(tmp_path: Path, gap: str) -> None:
    file = write_cxi(
        tmp_path / "scan.cxi", **({"energy": None, "wavelength": None} if gap == "energy" else {gap: None})
    )
    if gap == "wavelength":  # follows from the energy
        assert not lines(drafted(file), "missing")
    else:
        _agree(file, drafted(file))


def _agree(file: Path, draft: Draft) -> None:
    """The missing lines name what opening the file asks for, and with their examples it opens."""
    missing = lines(draft, "missing")
    data = DataSettings(file=file)
    with pytest.raises(InputError) as caught:
        open_measurement(data, GeometrySettings(), folder=file.parent)
    asked = re.findall(r"geometry\.(\w+) is not in", str(caught.value))
    assert asked and len(asked) == len(caught.value.problems)
    assert sorted(missing) == sorted(f"objective.geometry.{name}" for name in asked)
    filled = GeometrySettings(**{name: missing[f"objective.geometry.{name}"] for name in asked})
    open_measurement(data, filled, folder=file.parent)


def test_patterns_stored_at_the_corner_are_read_so(tmp_path: Path) -> None:
    centred = write_npz(tmp_path / "centre.npz", data=disk())
    shifted = write_npz(tmp_path / "corner.npz", data=np.fft.ifftshift(disk((0, 5)), axes=(-2, -1)))
    noisy = write_npz(tmp_path / "noisy.npz", data=np.fft.ifftshift(disk() + np.uint16(5), axes=(-2, -1)))
    assert lines(drafted(noisy), "set")["objective.data.zero_frequency"] == "corner"
    assert "objective.data.zero_frequency" not in lines(drafted(centred), "set")
    draft = drafted(shifted)
    assert lines(draft, "set")["objective.data.zero_frequency"] == "corner"
    assert "brightest around pixel (0, 0)" in comment(draft, "objective.data.zero_frequency")
    assert tuned(draft)["center_offset_x"] == {"low": 2, "high": 8}  # measured after the shift
    assert "+0.0, +5.0 pixel" in draft.facts["beam"]


def test_a_ring_is_not_taken_for_a_corner(tmp_path: Path) -> None:
    """Dark in the centre and at the corner: nothing says that the pattern is stored shifted."""
    y, x = np.indices((32, 32)) - 16
    ring = np.broadcast_to((np.abs(np.hypot(y, x) - 9) < 2) * 50, (4, 4, 32, 32)).astype(np.uint16)
    assert "objective.data.zero_frequency" not in lines(drafted(write_npz(tmp_path / "a.npz", data=ring)), "set")


def test_a_beam_far_from_the_centre_moves_the_range(tmp_path: Path) -> None:
    draft = drafted(write_npz(tmp_path / "scan.npz", data=disk((-6, 2))))
    assert tuned(draft)["center_offset_y"] == {"low": -9, "high": -3}
    assert tuned(draft)["center_offset_x"] == {"low": -3, "high": 3}
    assert "centre of mass lies at -6.0" in comment(draft, "parameters.center_offset_y")


def test_positions_without_any_geometry_are_taken_for_object_pixels(tmp_path: Path) -> None:
    positions = np.stack(np.meshgrid(np.arange(3) * 2.0, np.arange(4) * 2.0, indexing="ij"), axis=-1).reshape(-1, 2)
    bare = {"angular_sampling_mrad": None, "energy_eV": None, "semiangle_mrad": None, "nominal_step_A": None}
    file = write_npz(tmp_path / "scan.npz", data=counts(12, 8, 8), positions=positions, **bare)
    draft = drafted(file)
    assert lines(draft, "set")["objective.data.positions"] == "object pixel" and not lines(draft, "missing")
    assert "a guess" in comment(draft, "objective.data.positions")
    assert draft.facts["positions"] == "listed, typically 2 object pixel apart"
    scaled = drafted(write_npz(tmp_path / "b.npz", data=counts(12, 8, 8), positions=positions))
    assert "objective.data.positions" not in lines(scaled, "set")
    # The nominal step would be refused beside listed positions.
    assert "objective.geometry.scan_step_angstrom" not in lines(scaled, "optional")


def test_near_field(tmp_path: Path) -> None:
    geometry = NearField(0.98, 1120.0, (55.0, 55.0), 3.5)
    write_measurement(tmp_path / "a.h5", measurement(geometry))
    draft = drafted(tmp_path / "a.h5")
    assert tuned(draft)["focus_to_sample"] == {"low": 2.45, "high": 4.55}
    assert list(tuned(draft)) == ["focus_to_sample", "scan_rotation"] and not lines(draft, "missing")

    write_measurement(tmp_path / "b.h5", measurement(replace(geometry, focus_to_sample_mm=None)))
    draft = drafted(tmp_path / "b.h5")
    assert list(lines(draft, "missing")) == ["parameters.focus_to_sample"]
    assert list(tuned(draft)) == ["scan_rotation"]


def test_an_archive_with_a_focus_is_near_field(tmp_path: Path) -> None:
    changes = {"angular_sampling_mrad": None, "semiangle_mrad": None, "energy_eV": None, "wavelength_angstrom": 0.98}
    file = write_npz(tmp_path / "a.npz", detector_distance_mm=1120.0, focus_to_sample_mm=3.5, **changes)
    draft = drafted(file)
    assert lines(draft, "set")["objective.geometry.regime"] == "near field"
    assert list(lines(draft, "missing")) == ["objective.geometry.detector_pixel_um"]
    assert "parameters.position_step" not in lines(draft, "optional")


def test_a_file_that_leaves_the_regime_open(tmp_path: Path) -> None:
    draft = drafted(write_cxi(tmp_path / "scan.cxi"))
    assert lines(draft, "optional")["objective.geometry.regime"] == "near field"
    assert "parameters.focus_to_sample" in lines(draft, "optional")
    assert draft.facts["regime"] == "not stated by the file; far field is assumed"


def test_free_probe_of_our_own_file(tmp_path: Path) -> None:
    made = measurement(FarField(1.0, (0.05, 0.05)), probe=np.ones((8, 8), np.complex64))
    write_measurement(tmp_path / "a.h5", made)
    draft = drafted(tmp_path / "a.h5")
    assert list(tuned(draft)) == ["scan_rotation"] and "probe" in draft.facts
    offered = lines(draft, "optional")
    assert (offered["parameters.position_step"], offered["parameters.position_range"]) == (1.0, 6.0)
    assert "objective.geometry.semi_convergence_mrad" not in lines(draft, "optional")  # photons: no such lens


def test_masked_pixels_are_counted_and_not_looked_at(tmp_path: Path) -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[0, :3] = 1
    data = counts(3, 4, 8, 8)
    data[:, :, 0, :3] = 60000
    draft = drafted(write_npz(tmp_path / "scan.npz", data=data, mask=mask))
    assert draft.facts["masked pixels"] == "3"
    assert abs(float(draft.facts["counts"].split()[1]) - 20 * 61) < 0.1 * 20 * 61


def test_values_that_are_no_counts(tmp_path: Path) -> None:
    data = counts(3, 4, 8, 8) * 1.5
    data[0, 0, 1, 1] = -2.5
    draft = drafted(write_npz(tmp_path / "scan.npz", data=data))
    assert "not counted quanta" in draft.facts["counts"] and draft.facts["negative values"] == "down to -2.5"
    assert lines(draft, "set")["objective.data.negative"] == "clip"


class Frames:
    """Patterns that note how many of them are read."""

    shape = (100, 100, 8, 8)
    dtype = np.dtype(np.uint16)

    def __init__(self) -> None:
        self.read = 0

    def __getitem__(self, index: Any) -> Any:
        row, column = index
        self.read += 1
        return counts(8, 8, seed=row * 100 + column)


def test_a_few_patterns_are_read_and_no_more(tmp_path: Path) -> None:
    frames = Frames()
    inspection = inspect(Contents(tmp_path / "a.h5", frames, "data", GeometrySettings()))
    assert frames.read == SAMPLES == len(inspection.samples)
    assert inspection.count == 10_000


def test_a_large_file_is_told_with_its_size(tmp_path: Path) -> None:
    path = tmp_path / "scan.cxi"
    write_cxi(path, data=None, translation=np.random.default_rng(0).uniform(-1e-5, 1e-5, (4096, 3)))
    packed = zlib.compress(np.full((512, 512), 7, np.uint16).tobytes())
    with h5py.File(path, "a") as file:
        name = "/entry_1/instrument_1/detector_1/data"
        patterns = file.create_dataset(name, (4096, 512, 512), np.uint16, chunks=(1, 512, 512), compression="gzip")
        for frame in range(4096):
            patterns.id.write_direct_chunk((frame, 0, 0), packed)
    assert drafted(path).facts["memory"].startswith("4.0 GiB as float32")


def test_files_of_other_kinds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no measurement")
    assert ptychography.draft(tmp_path / "notes.txt", folder=tmp_path) is None


@pytest.mark.parametrize("data", [counts(8, 8), np.array([["a"]]), np.ones((3, 4, 8, 8), complex)])
def test_what_is_no_pattern_is_refused(tmp_path: Path, data: NDArray[Any]) -> None:
    file = write_npz(tmp_path / "scan.npz", data=data)
    with pytest.raises(InputError, match=re.escape(str(file))):
        ptychography.draft(file, folder=tmp_path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    file = write_cxi(tmp_path / "scan.cxi")
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(InputError, match="cannot be read as HDF5"):
        ptychography.draft(file, folder=tmp_path)


def test_a_list_of_patterns_asks_for_its_raster(tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", counts(12, 8, 8))
    draft = drafted(tmp_path / "scan.npy")
    missing = lines(draft, "missing")
    assert missing["objective.data.shape"] == [3, 4]
    assert "is a list of 12 patterns" in comment(draft, "objective.data.shape")
    assert set(missing) == {"objective.data.shape"} | {
        f"objective.geometry.{name}" for name in ("wavelength_angstrom", "angular_sampling_mrad", "scan_step_angstrom")
    }
    assert draft.facts["patterns"] == "raster of 3 x 4 (an example), 12 of 8 x 8 pixels, uint16"
    data = DataSettings(file=tmp_path / "scan.npy", shape=missing.pop("objective.data.shape"))
    stated = GeometrySettings(**{key.rsplit(".", 1)[1]: value for key, value in missing.items()})
    assert open_measurement(data, stated, folder=tmp_path).scan_shape == (3, 4)


def test_several_datasets_ask_for_one(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["first"] = counts(3, 4, 8, 8)
        file["second"] = counts(3, 4, 8, 8)
    draft = drafted(tmp_path / "scan.h5")
    assert lines(draft, "missing")["objective.data.key"] in ("/first", "/second")
    assert "3, 4, 8, 8" in comment(draft, "objective.data.key")


def test_what_no_example_answers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scan.raw").write_bytes(bytes(1001))
    with pytest.raises(InputError, match=r"scan\.raw"):
        ptychography.draft(tmp_path / "scan.raw", folder=tmp_path)


def test_paths_are_relative_to_the_study_where_they_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "studies").mkdir()
    file = write_npz(tmp_path / "data" / "scan.npz")

    def path(file: Path, folder: Path) -> Any:
        draft = ptychography.draft(file, folder=folder)
        assert draft is not None
        return lines(draft, "set")["objective.data.file"]

    assert path(file, tmp_path) == "data/scan.npz"
    assert path(file, tmp_path / "studies") == "../data/scan.npz"
    assert path(file, Path("/")) == str(file)
    monkeypatch.chdir(tmp_path / "data")
    assert path(Path("scan.npz"), Path()) == "scan.npz"
    (tmp_path / "link").symlink_to(tmp_path / "data", target_is_directory=True)
    assert path(file, tmp_path / "link") == "scan.npz"
    odd = write_npz(tmp_path / "data" / "~scan.npz")
    assert path(odd, tmp_path / "data") == str(odd)  # a study's ~ is the home folder


def test_a_file_of_zeros_is_drafted_all_the_same(tmp_path: Path) -> None:
    """A scan may be blank where it is sampled; whether it is blank throughout, the check tells."""
    np.save(tmp_path / "blank.npy", np.zeros((5, 5, 16, 16), np.uint16))
    assert {"objective.geometry.wavelength_angstrom"} <= set(lines(drafted(tmp_path / "blank.npy"), "missing"))
