from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from objectives.diffraction.data import units
from objectives.diffraction.data.geometry import lacking
from objectives.diffraction.data.radiation import electron_wavelength_angstrom, photon_wavelength_angstrom
from objectives.diffraction.data.settings import DataSettings, GeometrySettings


@pytest.mark.parametrize(
    ("energy_kev", "published"), [(60, 0.0487), (80, 0.04176), (100, 0.03701), (200, 0.02508), (300, 0.01969)]
)
def test_electron_wavelength_is_the_published_one(energy_kev: float, published: float) -> None:
    assert electron_wavelength_angstrom(energy_kev) == pytest.approx(published, abs=6e-5 if energy_kev == 60 else 6e-6)


def test_photon_wavelength_of_copper_k_alpha() -> None:
    assert photon_wavelength_angstrom(8.04778) == pytest.approx(1.54060, abs=2e-5)


@pytest.mark.parametrize("stated", [{}, {"file": "a.npz", "record": "petra_p25"}])
def test_exactly_one_of_file_and_record(stated: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="exactly one of 'file' and 'record'"):
        DataSettings(**stated)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("step", 0),
        ("step", 1.5),
        ("crop", 7),
        ("crop", 0),
        ("format", "tiff"),
        ("unknown", 1),
        ("shape", (0, 3)),
        ("shape", (2, 3, 4)),
        ("orientation", {"flip": True}),
        ("orientation", {"flip_y": 1}),
        ("region", {}),
        ("region", {"rows": (3, 3)}),
        ("region", {"rows": (-1, 3)}),
        ("negative", "abs"),
        ("key", ""),
        ("detector_axes", "middle"),
        ("mask", ""),
    ],
)
def test_impossible_data_settings_name_the_field(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        DataSettings(file="a.npz", **{field: value})


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"energy_kev": 60}, "together"),
        ({"radiation": "electron"}, "together"),
        ({"radiation": "electron", "energy_kev": 60, "wavelength_angstrom": 0.05}, "either"),
        ({"wavelength_angstrom": -1}, "greater than 0"),
        ({"angular_sampling_mrad": [1, 2, 3]}, "angular_sampling_mrad"),
        ({"angular_sampling_mrad": True}, "angular_sampling_mrad"),
        ({"defocus_angstrom": float("nan")}, "finite"),
        ({"wavelength": 1}, "wavelength"),
        ({"angular_sampling_mrad": 1, "reciprocal_sampling_per_angstrom": 0.02}, "either 'angular_sampling_mrad' or"),
    ],
)
def test_impossible_geometry_is_refused(stated: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        GeometrySettings.model_validate(stated)


def test_one_number_stands_for_both_axes() -> None:
    assert GeometrySettings.model_validate({"detector_pixel_um": 55}).detector_pixel_um == (55, 55)
    assert GeometrySettings.model_validate({"detector_pixel_um": [55, 60]}).detector_pixel_um == (55, 60)


def test_a_stated_energy_replaces_the_wavelength_below() -> None:
    base = GeometrySettings(wavelength_angstrom=1.0, defocus_angstrom=5.0)
    merged = GeometrySettings(radiation="electron", energy_kev=60).over(base)
    assert merged.wavelength == electron_wavelength_angstrom(60)
    assert merged.defocus_angstrom == 5.0


def test_energy_and_radiation_give_the_wavelength() -> None:
    settings = GeometrySettings(radiation="x-ray", energy_kev=8.04778)
    assert settings.wavelength == photon_wavelength_angstrom(8.04778)
    assert GeometrySettings(wavelength_angstrom=2.5).wavelength == 2.5
    assert GeometrySettings().wavelength is None


def test_a_stated_distance_replaces_the_angular_sampling_below() -> None:
    base = GeometrySettings(angular_sampling_mrad=1.0, detector_pixel_um=50.0)
    merged = GeometrySettings(detector_distance_mm=100.0).over(base)
    assert merged.angular_sampling_mrad is None
    assert merged.detector_pixel_um == (50.0, 50.0)


def test_data_settings_inherit_only_what_is_unsaid() -> None:
    base = DataSettings(record="siemens_star", zero_frequency="corner", step=4)
    merged = DataSettings(record="siemens_star", step=1).over(base)
    assert (merged.zero_frequency, merged.step, merged.record) == ("corner", 1, "siemens_star")
    assert "crop" not in merged.model_fields_set


def test_settings_load_no_reader() -> None:
    code = "import sys, objectives.diffraction.data.settings; print({'torch', 'h5py', 'pooch'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("convert", "unit", "factor"),
    [
        *((units.angstrom, unit, 1.0) for unit in ("A", "Å", "Å", "Angstrom", "[Å]")),
        *((units.angstrom, unit, 1e4) for unit in ("um", "µm", "μm", "micron")),
        (units.angstrom, "nm", 10.0),
        (units.angstrom, "furlong", None),
        (units.angstrom, "1/nm", None),
        *((units.per_angstrom, unit, 1.0) for unit in ("1/A", "A^-1", "Å^-1", "1 / Å", "Å⁻¹", "A**-1")),
        *((units.per_angstrom, unit, 0.1) for unit in ("1/nm", "nm^-1", "nm-1", "1 / nm")),
        (units.per_angstrom, "nm", None),
        (units.mrad, "mrad", 1.0),
        (units.mrad, "rad", 1e3),
        (units.mrad, "°", 17.453292519943297),
        (units.mrad, "", None),
        (units.kev, "eV", 1e-3),
        (units.kev, "J", 1 / 1.602176634e-16),
    ],
)
def test_units_as_files_spell_them(convert: Callable[[str], float | None], unit: str, factor: float | None) -> None:
    assert convert(unit) == (None if factor is None else pytest.approx(factor, rel=1e-12))


def test_a_spatial_frequency_needs_the_wavelength_whatever_the_unit_of_positions() -> None:
    """The draft of a study and the check of one ask by the same rule."""
    stated = GeometrySettings(reciprocal_sampling_per_angstrom=0.02)
    assert lacking(stated, near=False, pixel_positions=True) == ["wavelength_angstrom"]
    assert lacking(GeometrySettings(), near=False, pixel_positions=True) == []
    assert lacking(GeometrySettings(), near=False, pixel_positions=False) == [
        "angular_sampling_mrad",
        "wavelength_angstrom",
    ]
